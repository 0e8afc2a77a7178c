//! Named volumes: where the data of an instance lives.

use std::collections::{BTreeMap, HashMap};

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{ListVolumesOptionsBuilder, RemoveVolumeOptions};

use super::containers::{ignore_absent, label_filter};
use super::{Engine, EngineError};

impl Engine {
    /// The names of all volumes that carry these labels.
    ///
    /// # Errors
    /// [`EngineError::Api`] where the engine refuses.
    pub async fn list_volumes(&self, wanted: &[(&str, &str)]) -> Result<Vec<String>, EngineError> {
        let filters = HashMap::from([("label".to_owned(), label_filter(wanted))]);
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let found = self
            .docker()
            .list_volumes(Some(options))
            .await
            .map_err(EngineError::api("list volumes"))?;
        Ok(found
            .volumes
            .unwrap_or_default()
            .into_iter()
            .map(|volume| volume.name)
            .collect())
    }

    /// Makes the volume unless it is there.
    ///
    /// # Errors
    /// [`EngineError::Api`] where the engine refuses.
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
        // The engine answers with the existing volume where the name is taken.
        self.docker()
            .create_volume(request)
            .await
            .map(drop)
            .map_err(EngineError::api(format!("create volume {name}")))
    }

    /// Removes a volume and the data in it. One that is gone already is fine.
    ///
    /// # Errors
    /// [`EngineError::Api`] where the engine refuses, e.g. a container still uses it.
    pub async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        ignore_absent(
            self.docker()
                .remove_volume(name, None::<RemoveVolumeOptions>)
                .await,
        )
        .map_err(EngineError::api(format!("remove volume {name}")))
    }
}
