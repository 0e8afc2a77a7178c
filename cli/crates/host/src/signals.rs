//! Interrupts: Ctrl-C, and the signal that service managers and CI send.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How soon after the first interrupt another one is the same one: programs such
/// as `timeout` signal a process and then its group, which it is in.
const DUPLICATE_SIGNAL_WINDOW: Duration = Duration::from_millis(150);

/// Listens for interrupts of this process.
#[derive(Debug)]
pub struct Interrupts {
    graceful: CancellationToken,
    forced: CancellationToken,
}

impl Interrupts {
    /// Listens from now on. Where `graceful` is not set the first interrupt
    /// counts as the last.
    ///
    /// Must be called inside the runtime. A signal that can't be listened for
    /// keeps its usual effect, which is to end the process.
    #[must_use]
    pub fn listen(graceful: bool) -> Self {
        let interrupts = Self {
            graceful: CancellationToken::new(),
            forced: CancellationToken::new(),
        };
        let began: Arc<OnceLock<Instant>> = Arc::default();
        for kind in [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ] {
            let Ok(mut stream) = signal(kind) else {
                continue;
            };
            let (first, last) = (interrupts.graceful.clone(), interrupts.forced.clone());
            let began = began.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    let echoed =
                        began.get_or_init(Instant::now).elapsed() < DUPLICATE_SIGNAL_WINDOW;
                    if !graceful || (first.is_cancelled() && !echoed) {
                        last.cancel();
                    }
                    first.cancel();
                }
            });
        }
        interrupts
    }

    /// Cancelled by the first interrupt.
    #[must_use]
    pub fn cancellation_token(&self) -> CancellationToken {
        self.graceful.clone()
    }

    /// Returns once the person has insisted.
    pub async fn wait_for_forced(&self) {
        self.forced.cancelled().await;
    }
}
