//! Networks: one an instance.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    EndpointSettings, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest,
};
use bollard::query_parameters::ListNetworksOptionsBuilder;

use super::containers::{ignore_absent, label_filter};
use super::{Engine, EngineError};

impl Engine {
    /// The names of all networks that carry these labels.
    ///
    /// # Errors
    /// [`EngineError::Api`] where the engine refuses.
    pub async fn list_networks(&self, wanted: &[(&str, &str)]) -> Result<Vec<String>, EngineError> {
        let filters = HashMap::from([("label".to_owned(), label_filter(wanted))]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let found = self
            .docker()
            .list_networks(Some(options))
            .await
            .map_err(EngineError::api("list networks"))?;
        Ok(found
            .into_iter()
            .filter_map(|network| network.name)
            .collect())
    }

    /// Makes the network unless it is there.
    ///
    /// # Errors
    /// [`EngineError::Api`] where the engine refuses, e.g. all address pools are used up.
    pub async fn ensure_network(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), EngineError> {
        if self.docker().inspect_network(name, None).await.is_ok() {
            return Ok(());
        }
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            labels: Some(labels.clone().into_iter().collect()),
            ..NetworkCreateRequest::default()
        };
        self.docker()
            .create_network(request)
            .await
            .map(drop)
            .map_err(EngineError::api(format!("create network {name}")))
    }

    /// Takes a container off a network, without a word to whom it is connected with.
    ///
    /// # Errors
    /// [`EngineError::Api`] where the engine refuses, e.g. it isn't on it.
    pub async fn disconnect_network(
        &self,
        container: &str,
        network: &str,
    ) -> Result<(), EngineError> {
        let request = NetworkDisconnectRequest {
            container: container.to_owned(),
            force: Some(true),
        };
        self.docker()
            .disconnect_network(network, request)
            .await
            .map_err(EngineError::api(format!(
                "disconnect container {container} from network {network}"
            )))
    }

    /// Puts a container on a network, where it is known by a name.
    ///
    /// # Errors
    /// [`EngineError::Api`] where the engine refuses.
    pub async fn connect_network(
        &self,
        container: &str,
        network: &str,
        alias: &str,
    ) -> Result<(), EngineError> {
        let request = NetworkConnectRequest {
            container: container.to_owned(),
            endpoint_config: Some(EndpointSettings {
                aliases: Some(vec![alias.to_owned()]),
                ..EndpointSettings::default()
            }),
        };
        self.docker()
            .connect_network(network, request)
            .await
            .map_err(EngineError::api(format!(
                "connect container {container} to network {network}"
            )))
    }

    /// Removes a network. One that is gone already is fine.
    ///
    /// # Errors
    /// [`EngineError::Api`] where the engine refuses, e.g. a foreign container is on it.
    pub async fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        ignore_absent(self.docker().remove_network(name).await)
            .map_err(EngineError::api(format!("remove network {name}")))
    }

    /// The names of the containers that are on a network, whoever's they are.
    ///
    /// # Errors
    /// [`EngineError::Api`] where there is no such network.
    pub async fn network_members(&self, name: &str) -> Result<Vec<String>, EngineError> {
        let network = self
            .docker()
            .inspect_network(name, None)
            .await
            .map_err(EngineError::api(format!("inspect network {name}")))?;
        let containers = network.containers.unwrap_or_default();
        Ok(containers
            .into_values()
            .filter_map(|container| container.name)
            .collect())
    }
}
