//! Programs that build images, installed with consent if they are missing.

use std::path::PathBuf;
use std::sync::Arc;

use dm_host::consent::Consent;
use dm_host::packages::{self, Package};
use dm_host::process::find_program;
use dm_images::{BASE_IMAGE, ImageProgress, ProgressUpdate, ToolProvider};
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// Installs missing programs from packages of the distribution.
#[derive(Clone)]
pub(crate) struct HostTools {
    consent: Arc<Consent>,
    progress: Arc<dyn ImageProgress>,
    cancel: CancellationToken,
    /// Held during an installation. Builds run concurrently, and two of them could otherwise ask
    /// and install at the same time.
    installation: Arc<Mutex<()>>,
}

impl HostTools {
    /// Tools that are installed with this consent. The installation is reported as progress of
    /// the base image.
    #[must_use]
    pub(crate) fn new(
        consent: Arc<Consent>,
        progress: Arc<dyn ImageProgress>,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            consent,
            progress,
            cancel,
            installation: Arc::default(),
        }
    }
}

impl ToolProvider for HostTools {
    fn ensure_tool<'a>(&'a self, tool: &'a str) -> BoxFuture<'a, Result<PathBuf, String>> {
        Box::pin(async move {
            let known = [Package::MMDEBSTRAP, Package::DEBOOTSTRAP, Package::MAVEN];
            let Some(package) = known.into_iter().find(|package| package.program == tool) else {
                return find_program(tool).ok_or_else(|| "it is not in PATH".to_owned());
            };
            // A program can be in PATH before its package is completely installed.
            let _guard = self.installation.lock().await;
            if let Some(path) = find_program(tool) {
                return Ok(path);
            }
            // After an interrupt during another installation, nothing is asked.
            if self.cancel.is_cancelled() {
                return Err("the installation was interrupted".to_owned());
            }
            let progress = |line: &str| {
                self.progress.on_progress(
                    BASE_IMAGE,
                    ProgressUpdate::new("installing").with_detail(line),
                );
            };
            packages::ensure_installed(&[package], &self.consent, &self.cancel, &progress)
                .await
                .map_err(|error| error.to_string())?;
            find_program(tool).ok_or_else(|| "it was installed, but is not in PATH".to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use dm_images::NoImageProgress;
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn ensure_tool_waits_for_another_installation_if_it_could_install_the_program() {
        let tools = HostTools::new(
            Arc::new(Consent::Refused { by: "the test" }),
            Arc::new(NoImageProgress),
            CancellationToken::new(),
        );
        let other = tools.clone();
        let guard = other.installation.lock().await;
        let mut maven = tools.ensure_tool("mvn");
        assert!((&mut maven).now_or_never().is_none());
        assert!(tools.ensure_tool("sh").await.unwrap().ends_with("sh"));
        let missing = tools.ensure_tool("no-such-program-anywhere").await;
        assert_eq!(missing.unwrap_err(), "it is not in PATH");
        drop(guard);
        assert_eq!(maven.await.is_ok(), find_program("mvn").is_some());
    }
}
