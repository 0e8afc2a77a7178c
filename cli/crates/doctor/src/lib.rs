//! `dm doctor`: what is found out about this machine.

pub mod bundle;
mod checks;
mod finding;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;

pub use finding::{Finding, Status};

use dm_engine::{Engine, EngineError, EngineSettings};
use dm_host::state::StateDir;

/// How long one check may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// An image that the stack needs, under any of these references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeededImage {
    /// What it is called, e.g. `postgres`.
    pub name: String,
    /// References, any of which will do.
    pub references: Vec<String>,
}

/// What is to be examined.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What the configuration says of the engine.
    pub engine: EngineSettings,
    /// The project's identity, empty without a project.
    pub project: String,
    /// The instance.
    pub instance: String,
    /// Its ports by component.
    pub ports: BTreeMap<String, u16>,
    /// The images that it needs.
    pub images: Vec<NeededImage>,
    /// Where the state lies.
    pub state: Option<StateDir>,
}

/// What came of the examination.
#[derive(Debug)]
pub struct Examination {
    /// What was found, in the order in which one reads it.
    pub findings: Vec<Finding>,
    /// The engine, if one answers.
    pub engine: Option<Engine>,
}

/// Examines the machine: everything at once, each check for a bounded time.
pub async fn examine(subject: &Subject) -> Examination {
    let connected = match timeout(PATIENCE, Engine::connect(&subject.engine)).await {
        Ok(connected) => connected,
        Err(_) => Err(EngineError::NotFound {
            tried: vec![format!("no answer within {} s", PATIENCE.as_secs())],
            next: vec!["dm engine status".into()],
        }),
    };
    let engine = connected.as_ref().ok();
    let (storage, memory, clock, images, ports, names, leftovers) = tokio::join!(
        bounded("engine storage", checks::engine::storage(engine)),
        bounded("memory", checks::machine::memory(engine)),
        bounded("clock", checks::machine::clock(engine)),
        bounded("images", checks::engine::images(engine, &subject.images)),
        bounded("ports", checks::ports::ports(engine, subject)),
        bounded("names", checks::machine::names()),
        bounded("leftovers", checks::leftovers::leftovers(engine)),
    );
    let mut findings = checks::engine::found(&connected);
    findings.extend(checks::machine::state(subject.state.as_ref()));
    for more in [storage, memory, clock, names, images, ports, leftovers] {
        findings.extend(more);
    }
    Examination {
        findings,
        engine: connected.ok(),
    }
}

async fn bounded(name: &str, check: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
    timeout(PATIENCE, check).await.unwrap_or_else(|_| {
        vec![Finding::warning(
            name,
            format!(
                "could not complete the check within {} s",
                PATIENCE.as_secs()
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
        let found = bounded("clock", std::future::pending()).await;
        assert_eq!(found[0].status, Status::Warning);
        assert_eq!(found[0].detail, "could not complete the check within 10 s");
    }

    #[tokio::test]
    async fn without_an_engine_the_rest_is_examined_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let subject = Subject {
            engine: EngineSettings {
                host: Some(format!("unix://{}/x.sock", dir.path().display())),
            },
            project: String::new(),
            instance: "default".into(),
            ports: BTreeMap::new(),
            images: vec![NeededImage {
                name: "postgres".into(),
                references: vec!["x".into()],
            }],
            state: None,
        };
        let examination = examine(&subject).await;
        assert!(examination.engine.is_none());
        let status = |name: &str| {
            let mut findings = examination.findings.iter();
            findings
                .find(|finding| finding.name == name)
                .unwrap()
                .status
        };
        assert_eq!(status("engine"), Status::Error);
        assert_eq!(status("images"), Status::Skipped);
        assert_eq!(status("localhost"), Status::Ok);
    }
}
