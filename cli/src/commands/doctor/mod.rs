//! `dm doctor`.

mod render;

use std::path::{Path, PathBuf};

use clap::Args;
use dm_config::Loaded;
use dm_core::error::{Error, Exit, Result};
use dm_engine::EngineSettings;
use dm_host::state::StateDir;
use dm_images::{Catalog, ImageError, ImageSettings};

use super::context::{Context, Project, engine_settings, is_outside_project};
use crate::doctor::bundle::{self, BundleError, BundleFile};
use crate::doctor::{self, Finding, NeededImage, Status, Subject};
use dm_core::mask::{self, Masker};

/// Check this machine.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Also write a bundle: a file with all that is needed to help, passwords and
    /// tokens masked [default: dm-bundle-TIME.tar.zst in this folder].
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    #[expect(clippy::option_option, reason = "absent, without a value, with one")]
    bundle: Option<Option<PathBuf>>,
}

pub async fn run(context: &Context, arguments: Arguments) -> Result<Exit> {
    let (project, mut findings) = match context.project() {
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
    let subject = subject(project.as_ref(), &mut findings);
    let mut examination = doctor::examine(&subject).await;
    examination.findings.splice(0..0, findings);
    let findings = &examination.findings;
    if context.printer.is_json() {
        context
            .printer
            .document(render::SCHEMA, &render::Document::new(findings))?;
    } else {
        context
            .printer
            .data(&render::render(findings, &context.printer.out()))?;
    }
    if let Some(path) = arguments.bundle {
        let path = path.unwrap_or_else(|| bundle::default_name(chrono::Utc::now()));
        let loaded = project.as_ref().map(|project| &project.loaded);
        let masker = masker(loaded);
        let mut files = bundle::gather(&examination, &subject.project, &masker).await;
        files.extend(loaded.and_then(configuration_file));
        bundle::write(&path, &files, &masker)?;
        context.printer.done(&format!(
            "wrote {}; look through it before you pass it on",
            path.display()
        ));
    }
    let has_error = examination
        .findings
        .iter()
        .any(|finding| finding.status == Status::Error);
    Ok(if has_error {
        Exit::Found
    } else {
        Exit::Success
    })
}

/// Where the bundle about the last failure of an instance lies: the next one takes
/// its place, so that they don't pile up.
#[must_use]
pub fn failure_bundle(project: &Project) -> PathBuf {
    project.state.path().join(format!(
        "{}.{}.failure.tar.zst",
        project.instance.project, project.instance.name
    ))
}

/// Writes a bundle about something that failed.
///
/// # Errors
/// Where it can't be written.
pub async fn bundle_failure(project: &Project, path: &Path) -> Result<(), BundleError> {
    let mut findings = configuration(&project.loaded);
    let subject = subject(Some(project), &mut findings);
    let mut examination = doctor::examine(&subject).await;
    examination.findings.splice(0..0, findings);
    let masker = masker(Some(&project.loaded));
    let mut files = bundle::gather(&examination, &subject.project, &masker).await;
    files.extend(configuration_file(&project.loaded));
    bundle::write(path, &files, &masker)
}

fn configuration(loaded: &Loaded) -> Vec<Finding> {
    match loaded.check_files() {
        Ok(()) => vec![Finding::ok(
            "configuration",
            format!("{} is right", loaded.root.join(dm_config::FILE).display()),
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
pub fn masker(loaded: Option<&Loaded>) -> Masker {
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
