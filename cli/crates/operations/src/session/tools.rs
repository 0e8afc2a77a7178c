//! Programs that images are made with, installed where there is consent.

use std::path::PathBuf;
use std::sync::Arc;

use dm_host::consent::Consent;
use dm_host::packages::{self, Package};
use dm_host::process::program;
use dm_images::{BASE, Progress, Tools, Update};
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

/// Installs what is missing from the distribution's packages.
#[derive(Clone)]
pub(crate) struct HostTools {
    consent: Arc<Consent>,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
}

impl HostTools {
    /// Tools that are installed with this consent; what is told of it goes to
    /// the progress of the base image.
    #[must_use]
    pub(crate) fn new(
        consent: Arc<Consent>,
        progress: Arc<dyn Progress>,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            consent,
            progress,
            cancel,
        }
    }
}

impl Tools for HostTools {
    fn ensure<'a>(&'a self, tool: &'a str) -> BoxFuture<'a, Result<PathBuf, String>> {
        Box::pin(async move {
            if let Some(path) = program(tool) {
                return Ok(path);
            }
            let known = [Package::MMDEBSTRAP, Package::DEBOOTSTRAP, Package::MAVEN];
            let package = known
                .into_iter()
                .find(|package| package.program == tool)
                .ok_or_else(|| "it is not in PATH".to_owned())?;
            let progress = |line: &str| {
                self.progress
                    .working(BASE, Update::doing("installing").with(line));
            };
            packages::ensure(&[package], &self.consent, &self.cancel, &progress)
                .await
                .map_err(|error| error.to_string())?;
            program(tool).ok_or_else(|| "it was installed, but is not in PATH".to_owned())
        })
    }
}
