//! Pulling: progress over all layers, limits, and what a failure means.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dm_engine::images::TransferEvent;
use dm_engine::{Engine, EngineError};
use futures_util::{Stream, StreamExt};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::error::{EnginePullMessage, ImageError, PullFailure};
use super::progress::{ImageProgress, ProgressUpdate};
use super::reference::RegistryReference;
use super::settings::ImageSettings;

/// How long a pull that has begun may stand still.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// What is known of the registries in this run: one that does not answer is asked
/// once, not once for every image.
#[derive(Debug, Default)]
pub(super) struct RegistryStates(Mutex<HashMap<String, Arc<Mutex<RegistryState>>>>);

#[derive(Debug, Default, Clone, PartialEq, Eq)]
enum RegistryState {
    #[default]
    Unknown,
    Reachable,
    Down(PullFailure, String),
}

impl RegistryStates {
    async fn registry_state(&self, registry: &str) -> Arc<Mutex<RegistryState>> {
        let mut known = self.0.lock().await;
        Arc::clone(known.entry(registry.to_owned()).or_default())
    }
}

/// What a pull works with.
pub(super) struct ImagePuller<'a> {
    pub engine: &'a Engine,
    pub settings: &'a ImageSettings,
    pub registries: &'a RegistryStates,
    pub progress: &'a dyn ImageProgress,
    pub cancel: &'a CancellationToken,
}

impl ImagePuller<'_> {
    /// Pulls an image for a component.
    pub(super) async fn pull(
        &self,
        name: &str,
        reference: &RegistryReference,
    ) -> Result<(), ImageError> {
        let failed = |refusal, detail| ImageError::Pull {
            name: name.to_owned(),
            reference: reference.to_string(),
            refusal,
            source: Box::new(EnginePullMessage(detail)),
        };
        let verdict = self.registries.registry_state(reference.registry()).await;
        let mut verdict = verdict.lock().await;
        if let RegistryState::Down(refusal, detail) = &*verdict {
            return Err(failed(refusal.clone(), detail.clone()));
        }
        self.progress.on_progress(
            name,
            ProgressUpdate::new("pulling").with_detail(reference.to_string()),
        );
        let login = self.settings.credentials.as_ref();
        let login = login.filter(|login| reference.is_in_registry(&login.registry));
        let mut events = self.engine.pull_image(&reference.to_string(), login);
        // Others that want the same registry wait for its first answer, not longer.
        let first = self
            .next_event(&mut events, self.settings.pull_timeout)
            .await;
        *verdict = match &first {
            Err(PullError::Failed(refusal, detail)) if is_registry_failure(refusal) => {
                RegistryState::Down(refusal.clone(), detail.clone())
            }
            Err(PullError::Cancelled) => RegistryState::Unknown,
            _ => RegistryState::Reachable,
        };
        drop(verdict);
        let mut layers = LayerProgress::default();
        let mut next = first;
        loop {
            match next {
                Ok(Some(event)) => {
                    layers.apply(event);
                    self.progress.on_progress(name, layers.progress_update());
                }
                Ok(None) => return Ok(()),
                Err(PullError::Cancelled) => return Err(ImageError::Cancelled),
                Err(PullError::Failed(refusal, detail)) => return Err(failed(refusal, detail)),
                Err(PullError::Engine(error)) => return Err(error.into()),
            }
            next = self.next_event(&mut events, STALL_TIMEOUT).await;
        }
    }

    async fn next_event(
        &self,
        events: &mut (impl Stream<Item = Result<TransferEvent, EngineError>> + Unpin),
        limit: Duration,
    ) -> Result<Option<TransferEvent>, PullError> {
        let event = tokio::select! {
            () = self.cancel.cancelled() => return Err(PullError::Cancelled),
            event = tokio::time::timeout(limit, events.next()) => event,
        };
        match event {
            Ok(None) => Ok(None),
            Ok(Some(Ok(event))) => Ok(Some(event)),
            Ok(Some(Err(error))) => Err(match error.engine_message() {
                Some(text) => PullError::Failed(classify_message(text, limit), text.to_owned()),
                None => PullError::Engine(error),
            }),
            Err(_) => Err(PullError::Failed(
                PullFailure::TimedOut { after: limit },
                "the pull was aborted".into(),
            )),
        }
    }
}

enum PullError {
    Cancelled,
    Failed(PullFailure, String),
    Engine(EngineError),
}

/// True where other images of the same registry would fare no better.
const fn is_registry_failure(refusal: &PullFailure) -> bool {
    matches!(
        refusal,
        PullFailure::Unreachable | PullFailure::TimedOut { .. } | PullFailure::Tls
    )
}

/// What a message of the engine means. Engines report all of it as text; the
/// texts are those of Docker's and Podman's registry clients and of Go's network
/// and TLS packages.
fn classify_message(message: &str, limit: Duration) -> PullFailure {
    let message = message.to_ascii_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    if says(&["no space left on device"]) {
        PullFailure::DiskFull
    } else if says(&["toomanyrequests", "too many requests", "rate limit"]) {
        PullFailure::RateLimited
    } else if says(&[
        "x509:",
        "tls: ",
        "server gave http response to https client",
        "certificate",
    ]) {
        PullFailure::Tls
    } else if says(&[
        "client.timeout exceeded",
        "deadline exceeded",
        "i/o timeout",
        "handshake timeout",
        "timeout awaiting",
    ]) {
        PullFailure::TimedOut { after: limit }
    } else if says(&[
        "connection refused",
        "no such host",
        "no route to host",
        "network is unreachable",
        "server misbehaving",
        "connection reset",
        "proxyconnect",
        "502 bad gateway",
        "503 service unavailable",
        ": eof",
    ]) {
        PullFailure::Unreachable
    } else if says(&[
        "does not exist",
        "manifest unknown",
        "name unknown",
        "not found",
        "repository name not known",
    ]) {
        // Before the credentials: an unknown repository "may require docker login".
        PullFailure::NotFound
    } else if says(&[
        "unauthorized",
        "authentication required",
        "no basic auth credentials",
        "denied",
        "forbidden",
        "incorrect username or password",
    ]) {
        PullFailure::Unauthorized
    } else {
        PullFailure::Other
    }
}

/// How far the layers of one image are, all together.
#[derive(Debug, Default)]
struct LayerProgress {
    layers: HashMap<String, (u64, u64)>,
    last_status: String,
}

impl LayerProgress {
    fn apply(&mut self, event: TransferEvent) {
        let Some(layer) = event.layer else {
            return;
        };
        // Extraction counts the same bytes again; only the download is summed up.
        match (event.status.as_str(), event.total) {
            ("Downloading", Some(total)) => {
                let done = event.current.unwrap_or_default().min(total);
                self.layers.insert(layer, (done, total));
            }
            ("Download complete" | "Pull complete", _) => {
                if let Some((done, total)) = self.layers.get_mut(&layer) {
                    *done = *total;
                }
            }
            _ => {}
        }
        self.last_status = event.status;
    }

    fn progress_update(&self) -> ProgressUpdate {
        let (done, total) = self
            .layers
            .values()
            .fold((0, 0), |(done, all), (current, total)| {
                (done + current, all + total)
            });
        let update = ProgressUpdate::new("pulling");
        let update = if self.last_status.is_empty() {
            update
        } else {
            update.with_detail(self.last_status.to_lowercase())
        };
        if total == 0 {
            update
        } else {
            update.with_bytes(done, Some(total))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_engines_are_understood() {
        let limit = Duration::from_secs(5);
        let timed_out = PullFailure::TimedOut { after: limit };
        for (message, expected) in [
            (
                "manifest for 127.0.0.1:5000/x:17 not found: manifest unknown: manifest unknown",
                PullFailure::NotFound,
            ),
            (
                "pull access denied for x, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
                PullFailure::NotFound,
            ),
            (
                "Head \"http://127.0.0.1:5000/v2/x/manifests/1\": no basic auth credentials",
                PullFailure::Unauthorized,
            ),
            (
                "Head \"http://127.0.0.1:5000/v2/x/manifests/1\": unauthorized: authentication required",
                PullFailure::Unauthorized,
            ),
            (
                "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
                PullFailure::Unreachable,
            ),
            (
                "Get \"https://nowhere.invalid/v2/\": dial tcp: lookup nowhere.invalid on 10.0.0.1:53: no such host",
                PullFailure::Unreachable,
            ),
            (
                "Get \"https://10.1.1.1/v2/\": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
                timed_out.clone(),
            ),
            (
                "Get \"https://10.1.1.1/v2/\": dial tcp 10.1.1.1:443: i/o timeout",
                timed_out,
            ),
            (
                "Get \"https://r/v2/\": x509: certificate signed by unknown authority",
                PullFailure::Tls,
            ),
            (
                "Get \"https://r/v2/\": http: server gave HTTP response to HTTPS client",
                PullFailure::Tls,
            ),
            (
                "toomanyrequests: You have reached your pull rate limit",
                PullFailure::RateLimited,
            ),
            (
                "write /var/lib/docker/tmp/GetImageBlob1: no space left on device",
                PullFailure::DiskFull,
            ),
            ("something new", PullFailure::Other),
        ] {
            assert_eq!(classify_message(message, limit), expected, "{message}");
        }
    }

    #[test]
    fn layers_add_up_and_extraction_does_not_count_twice() {
        let event = |layer: &str, status: &str, current, total| TransferEvent {
            layer: Some(layer.into()),
            status: status.into(),
            current,
            total,
        };
        let mut layers = LayerProgress::default();
        layers.apply(event("a", "Downloading", Some(10), Some(100)));
        layers.apply(event("b", "Downloading", Some(50), Some(50)));
        layers.apply(event("a", "Download complete", None, None));
        layers.apply(event("b", "Extracting", Some(5), Some(50)));
        let update = layers.progress_update();
        assert_eq!((update.current, update.total), (Some(150), Some(150)));
        assert_eq!(update.detail.as_deref(), Some("extracting"));
    }
}
