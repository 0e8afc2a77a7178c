//! The smoke test: the business flow from a lead to a notification, over HTTP, by
//! real people who sign in through Keycloak's pages.
//!
//! ```text
//! call       one request with a trace id of its own, and what was expected of it
//! person     a browser: cookies, and the way through the login page
//! scenario   the steps
//! report     what came out, as values; junit: as a file
//! ```
//!
//! Nothing is cleaned up afterwards, and nothing needs to be: every run makes its
//! own lead, order and expense and looks for those alone.

#![expect(
    clippy::result_large_err,
    reason = "a fault is made once a run, and ends it"
)]

mod call;
pub mod junit;
mod person;
pub mod report;
mod scenario;

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::components::service::{GATEWAY, base_url};
use crate::components::{Ports, keycloak};
use report::{Outcome, Step};
use scenario::{STEPS, World};

/// How long something that flows through events may take to be seen. The contract
/// says 15 s for the slowest of them.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long the answer to one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);

/// Where the stack is.
#[derive(Debug, Clone)]
pub struct Site {
    gateway: String,
    keycloak: String,
    realm: String,
    password: String,
    services: Vec<(&'static str, String)>,
}

impl Site {
    /// The stack at these ports, whose people all have this password.
    #[must_use]
    pub fn new(
        ports: &Ports,
        realm: &str,
        password: &str,
        services: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        Self {
            gateway: base_url(GATEWAY, ports),
            keycloak: keycloak::base_url(ports),
            realm: realm.to_owned(),
            password: password.to_owned(),
            services: services
                .into_iter()
                .map(|name| (name, base_url(name, ports)))
                .collect(),
        }
    }
}

/// Runs the scenario once. Each step is told as soon as it ended; those after one
/// that failed are skipped, since they build on it.
pub async fn run(
    site: &Site,
    cancel: &CancellationToken,
    mut told: impl FnMut(&Step),
) -> Vec<Step> {
    let mut world = World::new(site.clone());
    let mut steps = Vec::new();
    let mut failed = false;
    for definition in STEPS {
        let began = Instant::now();
        let outcome = if failed || cancel.is_cancelled() {
            Outcome::Skipped
        } else {
            tokio::select! {
                () = cancel.cancelled() => Outcome::Skipped,
                result = definition.run(&mut world) => match result {
                    Ok(()) => Outcome::Passed,
                    Err(fault) => Outcome::Failed(fault),
                },
            }
        };
        failed |= matches!(outcome, Outcome::Failed(_));
        let step = Step {
            service: definition.service,
            name: definition.name,
            took: began.elapsed(),
            outcome,
        };
        told(&step);
        steps.push(step);
    }
    steps
}
