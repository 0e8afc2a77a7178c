//! `dm doctor`: checks this machine and the engine.

pub mod bundle;
mod checks;
mod finding;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;

pub use finding::{CheckStatus, DoctorFinding};

use dm_engine::{Engine, EngineError, EngineSettings};
use dm_host::state::StateDir;

/// The timeout of one check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// An image that the stack requires, under any of these references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredImage {
    /// Its name, e.g. `postgres`.
    pub name: String,
    /// References, any of which is sufficient.
    pub references: Vec<String>,
}

/// The input of the checks.
#[derive(Debug, Clone)]
pub struct DoctorInput {
    /// The engine settings of the configuration.
    pub engine: EngineSettings,
    /// The identity of the project, empty without a project.
    pub project: String,
    /// The instance.
    pub instance: String,
    /// Its ports by component.
    pub ports: BTreeMap<String, u16>,
    /// The images that it requires.
    pub images: Vec<RequiredImage>,
    /// The state directory.
    pub state: Option<StateDir>,
}

/// The result of the checks.
#[derive(Debug)]
pub struct DoctorReport {
    /// The findings, in display order.
    pub findings: Vec<DoctorFinding>,
    /// The engine, if one answers.
    pub engine: Option<Engine>,
}

/// Runs all checks concurrently, each with a timeout.
pub async fn run_checks(input: &DoctorInput) -> DoctorReport {
    let connected = match timeout(CHECK_TIMEOUT, Engine::connect(&input.engine)).await {
        Ok(connected) => connected,
        Err(_) => Err(EngineError::NotFound {
            tried: vec![format!("no answer within {} s", CHECK_TIMEOUT.as_secs())],
            suggestions: vec!["dm engine status".into()],
        }),
    };
    let engine = connected.as_ref().ok();
    let (storage, memory, clock, images, ports, names, leftovers) = tokio::join!(
        run_with_timeout("engine storage", checks::engine::check_storage(engine)),
        run_with_timeout("memory", checks::machine::check_memory(engine)),
        run_with_timeout("clock", checks::machine::check_clock(engine)),
        run_with_timeout(
            "images",
            checks::engine::check_images(engine, &input.images)
        ),
        run_with_timeout("ports", checks::ports::check_ports(engine, input)),
        run_with_timeout("name resolution", checks::machine::check_name_resolution()),
        run_with_timeout(
            checks::leftovers::NAME,
            checks::leftovers::check_leftovers(engine)
        ),
    );
    let mut findings = checks::engine::check_connection(&connected);
    findings.extend(checks::machine::check_state_dir(input.state.as_ref()));
    for group in [storage, memory, clock, names, images, ports, leftovers] {
        findings.extend(group);
    }
    DoctorReport {
        findings,
        engine: connected.ok(),
    }
}

async fn run_with_timeout(
    name: &str,
    check: impl Future<Output = Vec<DoctorFinding>>,
) -> Vec<DoctorFinding> {
    timeout(CHECK_TIMEOUT, check).await.unwrap_or_else(|_| {
        vec![DoctorFinding::warning(
            name,
            format!(
                "could not complete the check within {} s",
                CHECK_TIMEOUT.as_secs()
            ),
            ["check the load of this machine and of the engine"],
        )]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn check_that_hangs_yields_a_timeout_warning() {
        let findings = run_with_timeout("clock", std::future::pending()).await;
        assert_eq!(findings[0].status, CheckStatus::Warning);
        assert_eq!(
            findings[0].detail,
            "could not complete the check within 10 s"
        );
    }

    #[tokio::test]
    async fn run_checks_without_an_engine_still_checks_the_machine() {
        let dir = tempfile::tempdir().unwrap();
        let input = DoctorInput {
            engine: EngineSettings {
                host: Some(format!("unix://{}/x.sock", dir.path().display())),
            },
            project: String::new(),
            instance: "default".into(),
            ports: BTreeMap::new(),
            images: vec![RequiredImage {
                name: "postgres".into(),
                references: vec!["x".into()],
            }],
            state: None,
        };
        let report = run_checks(&input).await;
        assert!(report.engine.is_none());
        let status = |name: &str| {
            let mut findings = report.findings.iter();
            findings
                .find(|finding| finding.name == name)
                .unwrap()
                .status
        };
        assert_eq!(status("engine"), CheckStatus::Error);
        assert_eq!(status("images"), CheckStatus::Skipped);
        assert_eq!(status("localhost"), CheckStatus::Ok);
    }
}
