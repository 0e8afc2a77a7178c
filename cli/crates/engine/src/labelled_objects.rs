//! The objects on the engine that `dm` created for any project, and the engine's own
//! descriptions of them.

use std::collections::HashMap;

use bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptionsBuilder, ListNetworksOptionsBuilder,
    ListVolumesOptionsBuilder,
};
use dm_core::labels::{self, INSTANCE, PROJECT, ROOT};
use serde::Serialize;
use serde_json::Value;

use super::{Engine, EngineError};

/// The kind of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineObjectKind {
    /// A container.
    Container,
    /// A network.
    Network,
    /// A volume.
    Volume,
}

/// An object that `dm` created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LabelledObject {
    /// Its kind.
    pub kind: EngineObjectKind,
    /// Its name.
    pub name: String,
    /// Its project.
    pub project: String,
    /// Its instance.
    pub instance: String,
    /// The directory of the project, if the label exists.
    pub root: Option<String>,
}

fn to_labelled_object(
    kind: EngineObjectKind,
    name: String,
    labels: Option<&HashMap<String, String>>,
) -> Option<LabelledObject> {
    let label = |label| labels::value(labels, label).map(str::to_owned);
    Some(LabelledObject {
        kind,
        name,
        project: label(PROJECT)?,
        instance: label(INSTANCE).unwrap_or_default(),
        root: label(ROOT),
    })
}

fn project_label_filter() -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![PROJECT.to_owned()])])
}

impl Engine {
    /// Lists the containers, networks and volumes that `dm` created for any project.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses the call.
    pub async fn list_labelled_objects(&self) -> Result<Vec<LabelledObject>, EngineError> {
        let filter = project_label_filter();
        let containers = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filter);
        let networks = ListNetworksOptionsBuilder::new().filters(&filter);
        let volumes = ListVolumesOptionsBuilder::new().filters(&filter);
        let docker = self.docker();
        let (containers, networks, volumes) = tokio::try_join!(
            docker.list_containers(Some(containers.build())),
            docker.list_networks(Some(networks.build())),
            docker.list_volumes(Some(volumes.build())),
        )
        .map_err(EngineError::api("list the objects of dm"))?;
        let containers = containers.into_iter().filter_map(|container| {
            let name = container.names?.into_iter().next()?;
            let name = name.trim_start_matches('/').to_owned();
            to_labelled_object(EngineObjectKind::Container, name, container.labels.as_ref())
        });
        let networks = networks.into_iter().filter_map(|network| {
            to_labelled_object(
                EngineObjectKind::Network,
                network.name?,
                network.labels.as_ref(),
            )
        });
        let volumes = volumes.volumes.unwrap_or_default().into_iter();
        let volumes = volumes.filter_map(|volume| {
            to_labelled_object(EngineObjectKind::Volume, volume.name, Some(&volume.labels))
        });
        Ok(containers.chain(networks).chain(volumes).collect())
    }

    /// Returns the engine's description of an object.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses the call, e.g. because the object does
    /// not exist.
    pub async fn inspect_json(
        &self,
        kind: EngineObjectKind,
        name: &str,
    ) -> Result<Value, EngineError> {
        let docker = self.docker();
        let inspect_error = || EngineError::api(format!("inspect {name}"));
        let json = match kind {
            EngineObjectKind::Container => serde_json::to_value(
                docker
                    .inspect_container(name, None::<InspectContainerOptions>)
                    .await
                    .map_err(inspect_error())?,
            ),
            EngineObjectKind::Network => serde_json::to_value(
                docker
                    .inspect_network(name, None)
                    .await
                    .map_err(inspect_error())?,
            ),
            EngineObjectKind::Volume => {
                serde_json::to_value(docker.inspect_volume(name).await.map_err(inspect_error())?)
            }
        };
        // Values that were read from JSON can always be written as JSON.
        Ok(json.unwrap_or(Value::Null))
    }

    /// Returns the engine's description of itself.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses the call.
    pub async fn info_json(&self) -> Result<Value, EngineError> {
        let info = self.docker().info().await;
        let info = info.map_err(EngineError::api("query the engine"))?;
        Ok(serde_json::to_value(info).unwrap_or(Value::Null))
    }
}
