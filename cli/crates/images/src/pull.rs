//! Pulls images: progress over all layers, timeouts, and the classification of failures.

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

/// How long a pull that has begun may stall.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The states of the registries in this run: an unreachable registry is queried once, not
/// once per image.
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
        let mut states = self.0.lock().await;
        Arc::clone(states.entry(registry.to_owned()).or_default())
    }
}

/// Pulls images from registries.
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
        let failed = |failure, detail| ImageError::Pull {
            name: name.to_owned(),
            reference: reference.to_string(),
            failure,
            source: Box::new(EnginePullMessage(detail)),
        };
        let state = self.registries.registry_state(reference.registry()).await;
        let mut state = state.lock().await;
        if let RegistryState::Down(failure, detail) = &*state {
            return Err(failed(failure.clone(), detail.clone()));
        }
        self.progress.on_progress(
            name,
            ProgressUpdate::new("pulling").with_detail(reference.to_string()),
        );
        let login = self.settings.credentials.as_ref();
        let login = login.filter(|login| reference.is_in_registry(&login.registry));
        let mut events = self.engine.pull_image(&reference.to_string(), login);
        // Other pulls from the same registry only wait for its first answer.
        let first = self
            .next_event(&mut events, self.settings.pull_timeout)
            .await;
        *state = match &first {
            Err(PullError::Failed(failure, detail)) if is_registry_failure(failure) => {
                RegistryState::Down(failure.clone(), detail.clone())
            }
            Err(PullError::Cancelled) => RegistryState::Unknown,
            _ => RegistryState::Reachable,
        };
        drop(state);
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
                Err(PullError::Failed(failure, detail)) => return Err(failed(failure, detail)),
                Err(PullError::Engine(error)) => return Err(error.into()),
            }
            next = self.next_event(&mut events, STALL_TIMEOUT).await;
        }
    }

    async fn next_event(
        &self,
        events: &mut (impl Stream<Item = Result<TransferEvent, EngineError>> + Unpin),
        timeout: Duration,
    ) -> Result<Option<TransferEvent>, PullError> {
        let event = tokio::select! {
            () = self.cancel.cancelled() => return Err(PullError::Cancelled),
            event = tokio::time::timeout(timeout, events.next()) => event,
        };
        match event {
            Ok(None) => Ok(None),
            Ok(Some(Ok(event))) => Ok(Some(event)),
            Ok(Some(Err(error))) => Err(match error.engine_message() {
                Some(text) => PullError::Failed(classify_message(text, timeout), text.to_owned()),
                None => PullError::Engine(error),
            }),
            Err(_) => Err(PullError::Failed(
                PullFailure::TimedOut { after: timeout },
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

/// Returns whether other images of the same registry would fail in the same way.
const fn is_registry_failure(failure: &PullFailure) -> bool {
    matches!(
        failure,
        PullFailure::Unreachable | PullFailure::TimedOut { .. } | PullFailure::Tls
    )
}

/// Classifies a message of the engine. Engines report failures only as text; the texts
/// are those of Docker's and Podman's registry clients and of Go's network and TLS packages.
fn classify_message(message: &str, timeout: Duration) -> PullFailure {
    let message = message.to_ascii_lowercase();
    let contains_any = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    if contains_any(&["no space left on device"]) {
        PullFailure::DiskFull
    } else if contains_any(&["toomanyrequests", "too many requests", "rate limit"]) {
        PullFailure::RateLimited
    } else if contains_any(&[
        "x509:",
        "tls: ",
        "server gave http response to https client",
        "certificate",
    ]) {
        PullFailure::Tls
    } else if contains_any(&[
        "client.timeout exceeded",
        "deadline exceeded",
        "i/o timeout",
        "handshake timeout",
        "timeout awaiting",
    ]) {
        PullFailure::TimedOut { after: timeout }
    } else if contains_any(&[
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
    } else if contains_any(&[
        "does not exist",
        "manifest unknown",
        "name unknown",
        "not found",
        "repository name not known",
    ]) {
        // Before the credentials: an unknown repository "may require docker login".
        PullFailure::NotFound
    } else if contains_any(&[
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

/// The total progress of the layers of one image.
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
        // Extraction counts the same bytes again; only downloads are added up.
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
    fn classify_message_recognises_messages_of_engines() {
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
    fn layer_progress_sums_downloads_and_ignores_extraction() {
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
