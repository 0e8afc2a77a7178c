//! Images of services that a newer binary has replaced. During development, every change of
//! a service leaves one.

use chrono::{TimeDelta, Utc};
use dm_core::labels;

use super::ImageStore;
use crate::derived::{LABEL_DERIVED_FROM, SCRATCH};
use crate::error::ImageError;
use crate::services::{self, ServiceImages};

/// A younger image may belong to another run, which has not recorded it yet.
const MIN_AGE: TimeDelta = TimeDelta::minutes(10);

impl ImageStore {
    /// Removes the services' images that no record names, that no container uses and that are older
    /// than `MIN_AGE`.
    pub(super) async fn remove_stale_service_images(
        &self,
        services: &ServiceImages,
    ) -> Result<(), ImageError> {
        let recorded = services::all_recorded_references(&self.dirs.state_dir);
        let removable_before = Utc::now() - MIN_AGE;
        for image in self
            .engine
            .list_images_with_label(labels::COMPONENT)
            .await?
        {
            let component = image.labels.get(labels::COMPONENT).map(String::as_str);
            let is_service = component.is_some_and(|name| services.names().contains(&name))
                && image
                    .labels
                    .get(LABEL_DERIVED_FROM)
                    .is_some_and(|base| base == SCRATCH);
            if !is_service || image.created > removable_before {
                continue;
            }
            for reference in &image.references {
                if !recorded.contains(reference) {
                    // The engine keeps an image that a container uses.
                    self.engine.remove_image(reference).await?;
                }
            }
        }
        Ok(())
    }
}
