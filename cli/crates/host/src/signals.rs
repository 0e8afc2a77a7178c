//! Interrupts: Ctrl-C, and the signals that service managers and CI send.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The time after the first interrupt in which another one counts as a duplicate: programs
/// like `timeout` signal a process and then its process group.
const DUPLICATE_SIGNAL_WINDOW: Duration = Duration::from_millis(150);

/// Listens for interrupts of the current process.
#[derive(Debug)]
pub struct Interrupts {
    graceful: CancellationToken,
    forced: CancellationToken,
}

impl Interrupts {
    /// Starts to listen. If `graceful` is not set, the first interrupt is already forced.
    ///
    /// Must be called inside the runtime. A signal for which no listener can be installed keeps
    /// its default effect, which ends the process.
    #[must_use]
    pub fn listen(graceful: bool) -> Self {
        let interrupts = Self {
            graceful: CancellationToken::new(),
            forced: CancellationToken::new(),
        };
        let first_interrupt: Arc<OnceLock<Instant>> = Arc::default();
        for kind in [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ] {
            let Ok(mut stream) = signal(kind) else {
                continue;
            };
            let (graceful_token, forced_token) =
                (interrupts.graceful.clone(), interrupts.forced.clone());
            let first_interrupt = first_interrupt.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    let is_duplicate = first_interrupt.get_or_init(Instant::now).elapsed()
                        < DUPLICATE_SIGNAL_WINDOW;
                    if !graceful || (graceful_token.is_cancelled() && !is_duplicate) {
                        forced_token.cancel();
                    }
                    graceful_token.cancel();
                }
            });
        }
        interrupts
    }

    /// Returns a token that the first interrupt cancels.
    #[must_use]
    pub fn cancellation_token(&self) -> CancellationToken {
        self.graceful.clone()
    }

    /// Waits for a forced interrupt.
    pub async fn wait_for_forced(&self) {
        self.forced.cancelled().await;
    }
}
