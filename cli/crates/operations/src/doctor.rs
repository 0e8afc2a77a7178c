//! Checks the machine and writes diagnostics bundles.

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

/// The result of the checks of this machine.
pub struct DoctorRun {
    report: DoctorReport,
    project: Option<Project>,
    /// The project id, empty without a project.
    project_id: String,
}

/// Checks this machine, and the project if there is one.
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
    let (mut report, project_id) = run_checks(project.as_ref(), findings).await;
    for finding in &mut report.findings {
        for suggestion in &mut finding.next {
            *suggestion = session.complete_hint(suggestion);
        }
    }
    DoctorRun {
        report,
        project,
        project_id,
    }
}

impl DoctorRun {
    /// Returns the findings in the order of presentation.
    #[must_use]
    pub fn findings(&self) -> &[DoctorFinding] {
        &self.report.findings
    }

    /// Writes a diagnostics bundle with masked secrets.
    ///
    /// # Errors
    /// Returns [`BundleError`] if the bundle cannot be written.
    pub async fn write_bundle(&self, path: &Path) -> Result<(), BundleError> {
        let loaded = self.project.as_ref().map(|project| &project.loaded);
        write_bundle_file(path, &self.report, &self.project_id, loaded).await
    }
}

/// Returns the path of the bundle about the last failure of an instance. The next failure
/// overwrites it, so that bundles do not accumulate.
#[must_use]
pub(crate) fn failure_bundle_path(project: &Project) -> PathBuf {
    project.state.path().join(format!(
        "{}.{}.failure.tar.zst",
        project.instance.project, project.instance.name
    ))
}

/// Writes a diagnostics bundle after a failure.
///
/// # Errors
/// Returns [`BundleError`] if the bundle cannot be written.
pub(crate) async fn write_failure_bundle(
    project: &Project,
    path: &Path,
) -> Result<(), BundleError> {
    let findings = check_configuration(&project.loaded);
    let (report, project_id) = run_checks(Some(project), findings).await;
    write_bundle_file(path, &report, &project_id, Some(&project.loaded)).await
}

/// Checks the machine and appends the findings to the given ones. Returns the project id as
/// well.
async fn run_checks(
    project: Option<&Project>,
    mut findings: Vec<DoctorFinding>,
) -> (DoctorReport, String) {
    let input = doctor_input(project, &mut findings);
    let mut report = dm_doctor::run_checks(&input).await;
    report.findings.splice(0..0, findings);
    (report, input.project)
}

async fn write_bundle_file(
    path: &Path,
    report: &DoctorReport,
    project_id: &str,
    loaded: Option<&LoadedConfig>,
) -> Result<(), BundleError> {
    let masker = secret_masker(loaded);
    let mut files = bundle::collect_files(report, project_id, &masker).await;
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
    let mut suggestions = error.suggestions();
    if suggestions.is_empty() {
        suggestions.push("dm config check".into());
    }
    DoctorFinding::error(name, error.error_chain().join(": "), suggestions)
}

/// Returns the input of the checks. A part that cannot be determined becomes a finding.
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
        // The base image is needed only to build the others.
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

/// Returns a masker for the secrets of the configuration.
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
    let known_secrets = secrets
        .chain(values)
        .filter_map(|entry| entry.value.as_str());
    let names = variables().filter_map(|entry| Some(entry.key.rsplit_once('.')?.1));
    Masker::new(known_secrets).with_variables(names)
}

/// Returns whether a key is an environment variable of a service. It is unknown which of them are
/// secrets, so bundles mask all of them.
fn is_environment_variable(key: &str) -> bool {
    key.starts_with("services.") && key.contains(".environment.")
}

/// Returns the effective configuration with its origins and masked secrets.
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::test_support;

    /// Loads a configuration with environment variables whose names say nothing about secrets.
    fn loaded_with_variables(directory: &Path) -> LoadedConfig {
        let tables = "[services.order.environment]\n\
            LICENSE_KEY = \"hunter2\"\n\
            PACE_MS = \"0\"\n\
            [postgres]\n\
            port = 5433\n";
        test_support::project_with(directory, tables, &[]).loaded
    }

    #[test]
    fn secret_masker_masks_environment_variables_of_services() {
        let directory = tempfile::tempdir().unwrap();
        let masker = secret_masker(Some(&loaded_with_variables(directory.path())));
        assert_eq!(
            masker.mask_text("the license hunter2 has 0 seats"),
            "the license *** has 0 seats"
        );
        // As the engine describes a container.
        let mut description = json!({ "Env": ["LICENSE_KEY=hunter2", "PACE_MS=0", "PORT=8093"] });
        masker.mask_json(&mut description);
        assert_eq!(
            description,
            json!({ "Env": ["LICENSE_KEY=***", "PACE_MS=***", "PORT=8093"] })
        );
    }

    #[test]
    fn configuration_file_masks_environment_variables_of_services() {
        let directory = tempfile::tempdir().unwrap();
        let file = configuration_file(&loaded_with_variables(directory.path())).unwrap();
        assert_eq!(file.name, "config.json");
        let entries: Vec<Value> = serde_json::from_str(&file.text).unwrap();
        let value = |key: &str| {
            let entry = entries.iter().find(|entry| entry["key"] == key);
            entry.unwrap_or_else(|| panic!("no {key}: {}", file.text))["value"].clone()
        };
        assert_eq!(value("services.order.environment.LICENSE_KEY"), mask::MASK);
        assert_eq!(value("services.order.environment.PACE_MS"), mask::MASK);
        assert_eq!(value("postgres.port"), 5433);
        assert!(!file.text.contains("hunter2"), "{}", file.text);
    }
}
