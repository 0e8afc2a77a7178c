//! Backups that are made by themselves: `dm`, in a container of the stack.

use std::num::NonZeroU16;
use std::time::Duration;

use super::{Component, ComponentError, PortWish, Ports, Probe, Site, container, postgres};
use crate::config;
use crate::engine::spec::ContainerSpec;

/// The component's name.
pub const NAME: &str = "backup";

/// How long it has to run to be taken as running: nobody asks it for anything.
const MOMENT: Duration = Duration::from_millis(300);

/// The one that makes backups whenever they are due.
#[derive(Debug, Clone)]
pub struct Schedule {
    every: Duration,
    keep: NonZeroU16,
}

impl Schedule {
    /// The schedule of a configuration that has one.
    #[must_use]
    pub fn new(config: &config::Backup) -> Option<Self> {
        Some(Self {
            every: config.every?.get(),
            keep: config.keep,
        })
    }
}

impl Component for Schedule {
    fn name(&self) -> &'static str {
        NAME
    }

    fn image(&self) -> &'static str {
        // There already, and it runs what it is told to.
        postgres::NAME
    }

    fn is_dm(&self) -> bool {
        true
    }

    fn ports(&self) -> Vec<PortWish> {
        Vec::new()
    }

    fn specify(&self, site: &Site<'_>) -> Result<ContainerSpec, ComponentError> {
        let mut spec = container(self, site);
        spec.command = vec![
            "backup".to_owned(),
            "schedule".to_owned(),
            "--every".to_owned(),
            humantime::format_duration(self.every).to_string(),
            "--keep".to_owned(),
            self.keep.to_string(),
        ];
        // A backup that is being made ends first.
        spec.stop_timeout = 30;
        Ok(spec)
    }

    fn probe(&self, _ports: &Ports) -> Probe {
        Box::pin(async {
            tokio::time::sleep(MOMENT).await;
            Ok(())
        })
    }

    fn addresses(&self, _ports: &Ports) -> Vec<String> {
        Vec::new()
    }

    fn wait_timeout(&self) -> Option<Duration> {
        None
    }
}
