//! Restarting sessions that fail.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Backoff;

/// The delay before the first restart of a session.
const INITIAL_DELAY: Duration = Duration::from_millis(100);
/// The maximum delay.
const MAX_DELAY: Duration = Duration::from_secs(2);
/// A session that lasted longer than this was stable: the delays start again.
const STABLE_DURATION: Duration = Duration::from_secs(10);

/// Runs one session after the other until one returns `Ok` or `stop` is cancelled. After a
/// failed session it calls `on_error` and waits for a delay.
pub async fn supervise<F, E>(
    stop: &CancellationToken,
    mut session: impl FnMut() -> F,
    mut on_error: impl FnMut(E),
) where
    F: Future<Output = Result<(), E>>,
{
    let mut backoff = Backoff::new(INITIAL_DELAY, MAX_DELAY);
    while !stop.is_cancelled() {
        let started_at = Instant::now();
        match session().await {
            Ok(()) => return,
            Err(error) => on_error(error),
        }
        if started_at.elapsed() > STABLE_DURATION {
            backoff.reset();
        }
        if !backoff.wait(stop).await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn supervise_restarts_failed_sessions_until_one_succeeds() {
        let (mut sessions, mut errors) = (0, Vec::new());
        let session = || {
            sessions += 1;
            std::future::ready(if sessions < 4 { Err(sessions) } else { Ok(()) })
        };
        supervise(&CancellationToken::new(), session, |error| {
            errors.push(error);
        })
        .await;
        assert_eq!(errors, [1, 2, 3]);
        assert_eq!(sessions, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn delay_is_reset_after_a_stable_session() {
        let stop = CancellationToken::new();
        let mut started = Vec::new();
        let session = || {
            started.push(Instant::now());
            let (count, stop) = (started.len(), stop.clone());
            async move {
                if count == 12 {
                    stop.cancel();
                }
                if count == 10 {
                    tokio::time::sleep(STABLE_DURATION * 2).await;
                }
                Err::<(), ()>(())
            }
        };
        supervise(&stop, session, |()| ()).await;
        assert_eq!(
            started.len(),
            12,
            "no session starts after the cancellation"
        );
        assert!(started[9] - started[8] >= MAX_DELAY / 2);
        assert!(started[10] - started[9] - STABLE_DURATION * 2 <= INITIAL_DELAY);
    }
}
