//! Programs that build images, installed with consent if they are missing.

use std::path::PathBuf;
use std::sync::Arc;

use dm_host::consent::Consent;
use dm_host::packages::{self, Package};
use dm_host::process::find_program;
use dm_images::{BASE_IMAGE, ImageProgress, ProgressUpdate, ToolProvider};
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

/// Installs missing programs from packages of the distribution.
#[derive(Clone)]
pub(crate) struct HostTools {
    consent: Arc<Consent>,
    progress: Arc<dyn ImageProgress>,
    cancel: CancellationToken,
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
        }
    }
}

impl ToolProvider for HostTools {
    fn ensure_tool<'a>(&'a self, tool: &'a str) -> BoxFuture<'a, Result<PathBuf, String>> {
        Box::pin(async move {
            if let Some(path) = find_program(tool) {
                return Ok(path);
            }
            let known = [Package::MMDEBSTRAP, Package::DEBOOTSTRAP, Package::MAVEN];
            let package = known
                .into_iter()
                .find(|package| package.program == tool)
                .ok_or_else(|| "it is not in PATH".to_owned())?;
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
