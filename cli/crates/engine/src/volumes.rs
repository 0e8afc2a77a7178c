//! Named volumes, which contain the data of an instance.

use std::collections::{BTreeMap, HashMap};

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{ListVolumesOptionsBuilder, RemoveVolumeOptions};

use super::containers::{ignore_absent, label_filter};
use super::{Engine, EngineError};

impl Engine {
    /// Lists the names of all volumes that carry these labels.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses the call.
    pub async fn list_volumes(&self, labels: &[(&str, &str)]) -> Result<Vec<String>, EngineError> {
        let filters = HashMap::from([("label".to_owned(), label_filter(labels))]);
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let response = self
            .docker()
            .list_volumes(Some(options))
            .await
            .map_err(EngineError::api("list volumes"))?;
        Ok(response
            .volumes
            .unwrap_or_default()
            .into_iter()
            .map(|volume| volume.name)
            .collect())
    }

    /// Creates the volume unless it exists.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses the call.
    pub async fn ensure_volume(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), EngineError> {
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(labels.clone().into_iter().collect()),
            ..VolumeCreateRequest::default()
        };
        // The engine returns the existing volume if the name is taken.
        self.docker()
            .create_volume(request)
            .await
            .map(drop)
            .map_err(EngineError::api(format!("create volume {name}")))
    }

    /// Removes a volume and its data. Has no effect if it is missing.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses, e.g. because a container uses it.
    pub async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        ignore_absent(
            self.docker()
                .remove_volume(name, None::<RemoveVolumeOptions>)
                .await,
        )
        .map_err(EngineError::api(format!("remove volume {name}")))
    }
}
