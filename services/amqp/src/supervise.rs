//! Sessions that are set up again when they break.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Backoff;

/// The first pause before a session is set up again.
const INITIAL_DELAY: Duration = Duration::from_millis(100);
/// The longest one.
const MAX_DELAY: Duration = Duration::from_secs(2);
/// A session that lasted longer than this was sound: the pauses begin anew.
const STABLE_DURATION: Duration = Duration::from_secs(10);

/// Runs one session after the other until one ends in good order, or it is asked to stop.
/// Each that breaks is followed by a pause; `broken` hears of it before that.
pub async fn supervise<F, E>(
    stop: &CancellationToken,
    mut session: impl FnMut() -> F,
    mut on_error: impl FnMut(E),
) where
    F: Future<Output = Result<(), E>>,
{
    let mut backoff = Backoff::new(INITIAL_DELAY, MAX_DELAY);
    while !stop.is_cancelled() {
        let began = Instant::now();
        match session().await {
            Ok(()) => return,
            Err(error) => on_error(error),
        }
        if began.elapsed() > STABLE_DURATION {
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
    async fn what_breaks_is_set_up_again_until_it_ends_in_good_order() {
        let (mut sessions, mut faults) = (0, Vec::new());
        let session = || {
            sessions += 1;
            std::future::ready(if sessions < 4 { Err(sessions) } else { Ok(()) })
        };
        supervise(&CancellationToken::new(), session, |fault| {
            faults.push(fault);
        })
        .await;
        assert_eq!(faults, [1, 2, 3]);
        assert_eq!(sessions, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_was_sound_is_followed_by_a_short_pause() {
        let stop = CancellationToken::new();
        let mut began = Vec::new();
        let session = || {
            began.push(Instant::now());
            let (count, stop) = (began.len(), stop.clone());
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
        assert_eq!(began.len(), 12, "none begins after it is asked to stop");
        assert!(began[9] - began[8] >= MAX_DELAY / 2);
        assert!(began[10] - began[9] - STABLE_DURATION * 2 <= INITIAL_DELAY);
    }
}
