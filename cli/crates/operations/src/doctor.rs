//! The machine is examined, and what is found is bundled for whoever is to help.

use std::path::{Path, PathBuf};

use dm_config::LoadedConfig;
use dm_core::error::{Error, Result};
use dm_core::mask::{self, Masker};
use dm_doctor::bundle::{self, BundleError, BundleFile};
use dm_doctor::{DoctorFinding, DoctorInput, DoctorReport, RequiredImage};
use dm_engine::EngineSettings;
use dm_host::state::StateDir;
use dm_images::{Catalog, ImageError, ImageSettings};

use crate::session::{Project, Session, engine_settings, is_outside_project};

/// What was found on this machine.
pub struct DoctorRun {
    report: DoctorReport,
    project: Option<Project>,
    /// The project's identity, empty without a project.
    project_id: String,
}

/// Examines this machine, and the project where there is one.
pub async fn examine(session: &Session) -> DoctorRun {
    let (project, findings) = match session.project() {
        Ok(project) => {
            let findings = check_configuration(&project.loaded);
            (Some(project), findings)
        }
        Err(error) if is_outside_project(&error) => {
            let finding = DoctorFinding::skipped("configuration", error.error_chain().join(": "));
            (None, vec![finding])
        }
        Err(error) => (None, vec![error_finding("configuration", &error)]),
    };
    let (examination, identity) = run_checks(project.as_ref(), findings).await;
    DoctorRun {
        report: examination,
        project,
        project_id: identity,
    }
}

impl DoctorRun {
    /// What was found, in the order in which one reads it.
    #[must_use]
    pub fn findings(&self) -> &[DoctorFinding] {
        &self.report.findings
    }

    /// Writes a bundle of all that is needed to help, with secrets masked.
    ///
    /// # Errors
    /// Where it can't be written.
    pub async fn write_bundle(&self, path: &Path) -> Result<(), BundleError> {
        let loaded = self.project.as_ref().map(|project| &project.loaded);
        write_bundle_file(path, &self.report, &self.project_id, loaded).await
    }
}

/// Where the bundle about the last failure of an instance lies: the next one takes
/// its place, so that they don't pile up.
#[must_use]
pub(crate) fn failure_bundle_path(project: &Project) -> PathBuf {
    project.state.path().join(format!(
        "{}.{}.failure.tar.zst",
        project.instance.project, project.instance.name
    ))
}

/// Writes a bundle about something that failed.
///
/// # Errors
/// Where it can't be written.
pub(crate) async fn write_failure_bundle(
    project: &Project,
    path: &Path,
) -> Result<(), BundleError> {
    let findings = check_configuration(&project.loaded);
    let (examination, identity) = run_checks(Some(project), findings).await;
    write_bundle_file(path, &examination, &identity, Some(&project.loaded)).await
}

/// Examines the machine, whose findings go behind those that there are. Answers the project's
/// identity as well.
async fn run_checks(
    project: Option<&Project>,
    mut findings: Vec<DoctorFinding>,
) -> (DoctorReport, String) {
    let subject = doctor_input(project, &mut findings);
    let mut examination = dm_doctor::run_checks(&subject).await;
    examination.findings.splice(0..0, findings);
    (examination, subject.project)
}

async fn write_bundle_file(
    path: &Path,
    examination: &DoctorReport,
    identity: &str,
    loaded: Option<&LoadedConfig>,
) -> Result<(), BundleError> {
    let masker = secret_masker(loaded);
    let mut files = bundle::collect_files(examination, identity, &masker).await;
    files.extend(loaded.and_then(configuration_file));
    bundle::write_bundle(path, &files, &masker)
}

fn check_configuration(loaded: &LoadedConfig) -> Vec<DoctorFinding> {
    match loaded.check_files() {
        Ok(()) => vec![DoctorFinding::ok(
            "configuration",
            format!(
                "{} is valid",
                loaded.root.join(dm_config::CONFIG_FILE).display()
            ),
        )],
        Err(error) => vec![error_finding("configuration", &error.into())],
    }
}

fn error_finding(name: &str, error: &Error) -> DoctorFinding {
    let mut next = error.suggestions();
    if next.is_empty() {
        next.push("dm config check".into());
    }
    DoctorFinding::error(name, error.error_chain().join(": "), next)
}

/// What is to be examined; what can't be found out about it becomes a finding.
fn doctor_input(project: Option<&Project>, findings: &mut Vec<DoctorFinding>) -> DoctorInput {
    let Some(project) = project else {
        return DoctorInput {
            engine: EngineSettings::default(),
            project: String::new(),
            instance: String::new(),
            ports: std::collections::BTreeMap::new(),
            images: Vec::new(),
            state: StateDir::open().ok(),
        };
    };
    let ports = project.ports().unwrap_or_else(|error| {
        findings.push(error_finding("recorded ports", &error));
        std::collections::BTreeMap::new()
    });
    let images = needed_images(&project.loaded).unwrap_or_else(|error| {
        findings.push(error_finding("image settings", &error.into()));
        Vec::new()
    });
    DoctorInput {
        engine: engine_settings(project.config()),
        project: project.instance.project.clone(),
        instance: project.instance.name.clone(),
        ports,
        images,
        state: Some(project.state.clone()),
    }
}

fn needed_images(loaded: &LoadedConfig) -> Result<Vec<RequiredImage>, ImageError> {
    let settings = ImageSettings::from_config(&loaded.config, &loaded.root)?;
    let catalog = Catalog::from_settings(&settings)?;
    catalog
        .specs()
        // The base is needed only to build the others.
        .filter(|spec| spec.recipe.base.is_some())
        .map(|spec| {
            let name = spec.recipe.name.clone();
            let local = catalog.local_reference(&name)?;
            Ok(RequiredImage {
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
pub(crate) fn secret_masker(loaded: Option<&LoadedConfig>) -> Masker {
    let entries = loaded
        .and_then(|loaded| loaded.effective_values(None, true).ok())
        .unwrap_or_default();
    let secrets = entries.iter().filter(|entry| entry.secret);
    let variables = || {
        entries
            .iter()
            .filter(|entry| is_environment_variable(&entry.key))
    };
    let values =
        variables().filter(|entry| entry.value.as_str().is_some_and(mask::may_be_secret_value));
    let known = secrets
        .chain(values)
        .filter_map(|entry| entry.value.as_str());
    let names = variables().filter_map(|entry| Some(entry.key.rsplit_once('.')?.1));
    Masker::new(known).with_variables(names)
}

/// Whether a key is a variable of a service's environment. Nobody says which of them are
/// secrets, so that in a bundle all of them are.
fn is_environment_variable(key: &str) -> bool {
    key.starts_with("services.") && key.contains(".environment.")
}

/// The effective configuration with its origins, secrets masked.
fn configuration_file(loaded: &LoadedConfig) -> Option<BundleFile> {
    let mut entries = loaded.effective_values(None, false).ok()?;
    for entry in entries
        .iter_mut()
        .filter(|entry| is_environment_variable(&entry.key))
    {
        entry.value = mask::MASK.into();
    }
    Some(BundleFile {
        name: "config.json".into(),
        text: serde_json::to_string_pretty(&entries).ok()?,
    })
}
