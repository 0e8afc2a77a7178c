//! Waiting for a container: until its probe answers, it ends, or time is up.

use std::future::Future;
use std::time::Duration;

use dm_components::{Misconfiguration, ProbeError};
use dm_engine::containers::ContainerExit;
use dm_engine::{Engine, EngineError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often and how long to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeTiming {
    /// The pause between two probes.
    pub interval: Duration,
    /// The time that one probe may take.
    pub timeout: Duration,
}

/// Why a container did not become ready.
#[derive(Debug)]
pub(crate) enum NotReady {
    /// Its process ended.
    Exited(ContainerExit),
    /// It answers, and waiting is no use.
    Refused(Misconfiguration),
    /// The deadline passed.
    TimedOut,
    /// The run was cancelled.
    Cancelled,
    /// The engine doesn't answer any more.
    Engine(EngineError),
}

/// Waits until `probe` succeeds.
///
/// The probe is asked at once and then every `pace.poll`; one that hangs is given
/// up after `pace.probe`, so that a single stuck connection can't outlast the
/// deadline. The engine is asked at the same time whether the container ended:
/// an exit is seen when it happens and not when the time is up. `told` gets what
/// each failed probe said.
///
/// # Errors
/// [`NotReady`], whichever happens first.
pub(crate) async fn wait_until_ready<P, F>(
    engine: &Engine,
    container: &str,
    probe: P,
    pace: ProbeTiming,
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
            let answer = match tokio::time::timeout(pace.timeout, probe()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(ProbeError::Misconfigured(refused))) => {
                    return Err(NotReady::Refused(refused));
                }
                Ok(Err(ProbeError::NotReady(answer))) => answer,
                Err(_) => format!("no answer within {:.1} s", pace.timeout.as_secs_f64()),
            };
            on_probe_failure(&answer);
            tokio::time::sleep(pace.interval).await;
        }
    };
    tokio::select! {
        // In this order: a container that ended is never taken as ready because
        // something else answers on its port.
        biased;
        () = cancel.cancelled() => Err(NotReady::Cancelled),
        ended = engine.wait_for_exit(container) => match ended {
            Ok(ended) => Err(NotReady::Exited(ended)),
            Err(error) => Err(NotReady::Engine(error)),
        },
        probed = probing => probed,
        () = tokio::time::sleep_until(deadline) => Err(NotReady::TimedOut),
    }
}
