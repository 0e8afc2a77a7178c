//! The machine is examined, and what is found is bundled for whoever is to help.

use std::path::{Path, PathBuf};

use dm_config::Loaded;
use dm_core::error::{Error, Result};
use dm_core::mask::{self, Masker};
use dm_doctor::bundle::{self, BundleError, BundleFile};
use dm_doctor::{Examination, Finding, NeededImage, Subject};
use dm_engine::EngineSettings;
use dm_host::state::StateDir;
use dm_images::{Catalog, ImageError, ImageSettings};

use crate::session::{Project, Session, engine_settings, is_outside_project};

/// What was found on this machine.
pub struct Examined {
    examination: Examination,
    project: Option<Project>,
    /// The project's identity, empty without a project.
    identity: String,
}

/// Examines this machine, and the project where there is one.
pub async fn examine(session: &Session) -> Examined {
    let (project, findings) = match session.project() {
        Ok(project) => {
            let findings = configuration(&project.loaded);
            (Some(project), findings)
        }
        Err(error) if is_outside_project(&error) => {
            let finding = Finding::skipped("configuration", error.chain().join(": "));
            (None, vec![finding])
        }
        Err(error) => (None, vec![broken("configuration", &error)]),
    };
    let (examination, identity) = examined(project.as_ref(), findings).await;
    Examined {
        examination,
        project,
        identity,
    }
}

impl Examined {
    /// What was found, in the order in which one reads it.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.examination.findings
    }

    /// Writes a bundle of all that is needed to help, with secrets masked.
    ///
    /// # Errors
    /// Where it can't be written.
    pub async fn bundle(&self, path: &Path) -> Result<(), BundleError> {
        let loaded = self.project.as_ref().map(|project| &project.loaded);
        write(path, &self.examination, &self.identity, loaded).await
    }
}

/// Where the bundle about the last failure of an instance lies: the next one takes
/// its place, so that they don't pile up.
#[must_use]
pub(crate) fn failure_bundle(project: &Project) -> PathBuf {
    project.state.path().join(format!(
        "{}.{}.failure.tar.zst",
        project.instance.project, project.instance.name
    ))
}

/// Writes a bundle about something that failed.
///
/// # Errors
/// Where it can't be written.
pub(crate) async fn bundle_failure(project: &Project, path: &Path) -> Result<(), BundleError> {
    let findings = configuration(&project.loaded);
    let (examination, identity) = examined(Some(project), findings).await;
    write(path, &examination, &identity, Some(&project.loaded)).await
}

/// Examines the machine, whose findings go behind those that there are. Answers the project's
/// identity as well.
async fn examined(project: Option<&Project>, mut findings: Vec<Finding>) -> (Examination, String) {
    let subject = subject(project, &mut findings);
    let mut examination = dm_doctor::examine(&subject).await;
    examination.findings.splice(0..0, findings);
    (examination, subject.project)
}

async fn write(
    path: &Path,
    examination: &Examination,
    identity: &str,
    loaded: Option<&Loaded>,
) -> Result<(), BundleError> {
    let masker = masker(loaded);
    let mut files = bundle::gather(examination, identity, &masker).await;
    files.extend(loaded.and_then(configuration_file));
    bundle::write(path, &files, &masker)
}

fn configuration(loaded: &Loaded) -> Vec<Finding> {
    match loaded.check_files() {
        Ok(()) => vec![Finding::ok(
            "configuration",
            format!("{} is valid", loaded.root.join(dm_config::FILE).display()),
        )],
        Err(error) => vec![broken("configuration", &error.into())],
    }
}

fn broken(name: &str, error: &Error) -> Finding {
    let mut next = error.next();
    if next.is_empty() {
        next.push("dm config check".into());
    }
    Finding::error(name, error.chain().join(": "), next)
}

/// What is to be examined; what can't be found out about it becomes a finding.
fn subject(project: Option<&Project>, findings: &mut Vec<Finding>) -> Subject {
    let Some(project) = project else {
        return Subject {
            engine: EngineSettings::default(),
            project: String::new(),
            instance: String::new(),
            ports: std::collections::BTreeMap::new(),
            images: Vec::new(),
            state: StateDir::open().ok(),
        };
    };
    let ports = project.ports().unwrap_or_else(|error| {
        findings.push(broken("recorded ports", &error));
        std::collections::BTreeMap::new()
    });
    let images = needed_images(&project.loaded).unwrap_or_else(|error| {
        findings.push(broken("image settings", &error.into()));
        Vec::new()
    });
    Subject {
        engine: engine_settings(project.config()),
        project: project.instance.project.clone(),
        instance: project.instance.name.clone(),
        ports,
        images,
        state: Some(project.state.clone()),
    }
}

fn needed_images(loaded: &Loaded) -> Result<Vec<NeededImage>, ImageError> {
    let settings = ImageSettings::from_config(&loaded.config, &loaded.root)?;
    let catalog = Catalog::of_stack(&settings)?;
    catalog
        .specs()
        // The base is needed only to build the others.
        .filter(|spec| spec.recipe.base.is_some())
        .map(|spec| {
            let name = spec.recipe.name.clone();
            let local = catalog.local_reference(&name)?;
            Ok(NeededImage {
                references: std::iter::once(local)
                    .chain(spec.official.clone())
                    .collect(),
                name,
            })
        })
        .collect()
}

/// A masker that knows the configuration's secrets.
#[must_use]
pub(crate) fn masker(loaded: Option<&Loaded>) -> Masker {
    let entries = loaded
        .and_then(|loaded| loaded.show(None, true).ok())
        .unwrap_or_default();
    let secrets = entries.iter().filter(|entry| entry.secret);
    let variables = || entries.iter().filter(|entry| is_variable(&entry.key));
    let values = variables().filter(|entry| entry.value.as_str().is_some_and(mask::may_be_secret));
    let known = secrets
        .chain(values)
        .filter_map(|entry| entry.value.as_str());
    let names = variables().filter_map(|entry| Some(entry.key.rsplit_once('.')?.1));
    Masker::new(known).with_variables(names)
}

/// Whether a key is a variable of a service's environment. Nobody says which of them are
/// secrets, so that in a bundle all of them are.
fn is_variable(key: &str) -> bool {
    key.starts_with("services.") && key.contains(".environment.")
}

/// The effective configuration with its origins, secrets masked.
fn configuration_file(loaded: &Loaded) -> Option<BundleFile> {
    let mut entries = loaded.show(None, false).ok()?;
    for entry in entries.iter_mut().filter(|entry| is_variable(&entry.key)) {
        entry.value = mask::MASK.into();
    }
    Some(BundleFile {
        name: "config.json".into(),
        text: serde_json::to_string_pretty(&entries).ok()?,
    })
}
