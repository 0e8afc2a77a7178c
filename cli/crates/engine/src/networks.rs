//! Networks: one per instance.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    EndpointSettings, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest,
};
use bollard::query_parameters::ListNetworksOptionsBuilder;

use super::containers::{ignore_absent, label_filter};
use super::{Engine, EngineError};

impl Engine {
    /// Lists the names of all networks that carry these labels.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses the call.
    pub async fn list_networks(&self, labels: &[(&str, &str)]) -> Result<Vec<String>, EngineError> {
        let filters = HashMap::from([("label".to_owned(), label_filter(labels))]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let networks = self
            .docker()
            .list_networks(Some(options))
            .await
            .map_err(EngineError::api("list networks"))?;
        Ok(networks
            .into_iter()
            .filter_map(|network| network.name)
            .collect())
    }

    /// Creates the network unless it exists.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses, e.g. because all address pools are
    /// used.
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

    /// Disconnects a container from a network. Its connections are not closed gracefully.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses, e.g. because the container is not
    /// connected.
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

    /// Connects a container to a network under an alias.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses the call.
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

    /// Removes a network. Has no effect if it is missing.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the engine refuses, e.g. because a foreign container is
    /// connected.
    pub async fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        ignore_absent(self.docker().remove_network(name).await)
            .map_err(EngineError::api(format!("remove network {name}")))
    }

    /// Returns the names of all containers on a network, including foreign ones.
    ///
    /// # Errors
    /// Returns [`EngineError::Api`] if the network does not exist.
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
