//! `dm doctor`: what is found out about this machine.

pub mod bundle;
mod checks;
mod finding;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;

pub use finding::{CheckStatus, DoctorFinding};

use dm_engine::{Engine, EngineError, EngineSettings};
use dm_host::state::StateDir;

/// How long one check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// An image that the stack needs, under any of these references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredImage {
    /// What it is called, e.g. `postgres`.
    pub name: String,
    /// References, any of which will do.
    pub references: Vec<String>,
}

/// What is to be examined.
#[derive(Debug, Clone)]
pub struct DoctorInput {
    /// What the configuration says of the engine.
    pub engine: EngineSettings,
    /// The project's identity, empty without a project.
    pub project: String,
    /// The instance.
    pub instance: String,
    /// Its ports by component.
    pub ports: BTreeMap<String, u16>,
    /// The images that it needs.
    pub images: Vec<RequiredImage>,
    /// Where the state lies.
    pub state: Option<StateDir>,
}

/// What came of the examination.
#[derive(Debug)]
pub struct DoctorReport {
    /// What was found, in the order in which one reads it.
    pub findings: Vec<DoctorFinding>,
    /// The engine, if one answers.
    pub engine: Option<Engine>,
}

/// Examines the machine: everything at once, each check for a bounded time.
pub async fn run_checks(subject: &DoctorInput) -> DoctorReport {
    let connected = match timeout(CHECK_TIMEOUT, Engine::connect(&subject.engine)).await {
        Ok(connected) => connected,
        Err(_) => Err(EngineError::NotFound {
            tried: vec![format!("no answer within {} s", CHECK_TIMEOUT.as_secs())],
            next: vec!["dm engine status".into()],
        }),
    };
    let engine = connected.as_ref().ok();
    let (storage, memory, clock, images, ports, names, leftovers) = tokio::join!(
        run_with_timeout("engine storage", checks::engine::check_storage(engine)),
        run_with_timeout("memory", checks::machine::check_memory(engine)),
        run_with_timeout("clock", checks::machine::check_clock(engine)),
        run_with_timeout(
            "images",
            checks::engine::check_images(engine, &subject.images)
        ),
        run_with_timeout("ports", checks::ports::check_ports(engine, subject)),
        run_with_timeout("names", checks::machine::check_name_resolution()),
        run_with_timeout("leftovers", checks::leftovers::check_leftovers(engine)),
    );
    let mut findings = checks::engine::check_connection(&connected);
    findings.extend(checks::machine::check_state_dir(subject.state.as_ref()));
    for more in [storage, memory, clock, names, images, ports, leftovers] {
        findings.extend(more);
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
    async fn a_check_that_hangs_is_given_up_and_told() {
        let found = run_with_timeout("clock", std::future::pending()).await;
        assert_eq!(found[0].status, CheckStatus::Warning);
        assert_eq!(found[0].detail, "could not complete the check within 10 s");
    }

    #[tokio::test]
    async fn without_an_engine_the_rest_is_examined_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let subject = DoctorInput {
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
        let examination = run_checks(&subject).await;
        assert!(examination.engine.is_none());
        let status = |name: &str| {
            let mut findings = examination.findings.iter();
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
