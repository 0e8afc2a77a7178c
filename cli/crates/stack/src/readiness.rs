//! Waits for a container until its probe succeeds, it exits, or the deadline passes.

use std::future::Future;
use std::time::Duration;

use dm_components::{Misconfiguration, ProbeError};
use dm_engine::containers::ContainerExit;
use dm_engine::{Engine, EngineError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The interval and the timeout of probes: the values of `timeouts.probe_interval` and
/// `timeouts.probe_timeout` (defaults: `cli/crates/config/src/defaults.toml`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeTiming {
    /// The pause between two probes.
    pub interval: Duration,
    /// The timeout of one probe.
    pub timeout: Duration,
}

/// The reason why a container did not become ready.
#[derive(Debug)]
pub(crate) enum NotReady {
    /// Its process ended.
    Exited(ContainerExit),
    /// It is misconfigured: waiting does not help.
    Misconfigured(Misconfiguration),
    /// The deadline passed.
    TimedOut,
    /// The run was cancelled.
    Cancelled,
    /// The engine stopped responding.
    Engine(EngineError),
}

/// Waits until `probe` succeeds.
///
/// The first probe runs at once, the next ones after `timing.interval` each. A
/// probe is cancelled after `timing.timeout`, so that a single stuck connection
/// cannot outlast the deadline. The engine is watched at the same time: an exit
/// is noticed when it happens and not at the deadline. `on_probe_failure`
/// receives the result of each failed probe.
///
/// # Errors
/// Returns the [`NotReady`] reason that occurs first.
pub(crate) async fn wait_until_ready<P, F>(
    engine: &Engine,
    container: &str,
    probe: P,
    timing: ProbeTiming,
    deadline: Instant,
    cancel: &CancellationToken,
    mut on_probe_failure: impl FnMut(&str),
) -> Result<(), NotReady>
where
    P: Fn() -> F,
    F: Future<Output = Result<(), ProbeError>>,
{
    let probing = async {
        loop {
            let answer = match tokio::time::timeout(timing.timeout, probe()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(ProbeError::Misconfigured(misconfiguration))) => {
                    return Err(NotReady::Misconfigured(misconfiguration));
                }
                Ok(Err(ProbeError::NotReady(answer))) => answer,
                Err(_) => format!("no answer within {:.1} s", timing.timeout.as_secs_f64()),
            };
            on_probe_failure(&answer);
            tokio::time::sleep(timing.interval).await;
        }
    };
    tokio::select! {
        // In this order: a container that has exited never counts as ready because
        // another process responds on its port.
        biased;
        () = cancel.cancelled() => Err(NotReady::Cancelled),
        result = engine.wait_for_exit(container) => match result {
            Ok(exit) => Err(NotReady::Exited(exit)),
            Err(error) => Err(NotReady::Engine(error)),
        },
        result = probing => result,
        () = tokio::time::sleep_until(deadline) => Err(NotReady::TimedOut),
    }
}
