//! Waiting for a container: until its probe answers, it ends, or time is up.

use std::future::Future;
use std::time::Duration;

use dm_components::{Refused, Unready};
use dm_engine::containers::Ended;
use dm_engine::{Engine, EngineError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often and how long to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The pause between two probes.
    pub poll: Duration,
    /// The time that one probe may take.
    pub probe: Duration,
}

/// Why a container did not become ready.
#[derive(Debug)]
pub(crate) enum NotReady {
    /// Its process ended.
    Ended(Ended),
    /// It answers, and waiting is no use.
    Refused(Refused),
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
pub(crate) async fn wait<P, F>(
    engine: &Engine,
    container: &str,
    probe: P,
    pace: Pace,
    deadline: Instant,
    cancel: &CancellationToken,
    mut told: impl FnMut(&str),
) -> Result<(), NotReady>
where
    P: Fn() -> F,
    F: Future<Output = Result<(), Unready>>,
{
    let probing = async {
        loop {
            let answer = match tokio::time::timeout(pace.probe, probe()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(Unready::Refused(refused))) => return Err(NotReady::Refused(refused)),
                Ok(Err(Unready::Yet(answer))) => answer,
                Err(_) => format!("no answer within {:.1} s", pace.probe.as_secs_f64()),
            };
            told(&answer);
            tokio::time::sleep(pace.poll).await;
        }
    };
    tokio::select! {
        // In this order: a container that ended is never taken as ready because
        // something else answers on its port.
        biased;
        () = cancel.cancelled() => Err(NotReady::Cancelled),
        ended = engine.ended(container) => match ended {
            Ok(ended) => Err(NotReady::Ended(ended)),
            Err(error) => Err(NotReady::Engine(error)),
        },
        probed = probing => probed,
        () = tokio::time::sleep_until(deadline) => Err(NotReady::TimedOut),
    }
}
