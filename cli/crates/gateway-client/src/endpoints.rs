//! The addresses of a stack.

use dm_components::service::{GATEWAY, base_url};
use dm_components::{HostPorts, keycloak};

/// The addresses of a stack, and the data for signing in.
#[derive(Debug, Clone)]
pub struct StackEndpoints {
    /// The base URL of the gateway.
    pub gateway_url: String,
    /// The base URL of Keycloak.
    pub keycloak_url: String,
    /// The realm of the users.
    pub realm: String,
    /// The password of all users.
    pub password: String,
    /// The base URLs of the services, by name.
    pub service_urls: Vec<(&'static str, String)>,
    /// The secret that the gateway sends to the services, for requests that bypass the gateway.
    /// Empty if no request does.
    pub gateway_secret: String,
}

impl StackEndpoints {
    /// Returns the endpoints of the stack at these ports. All users have this password.
    #[must_use]
    pub fn new(
        ports: &HostPorts,
        realm: &str,
        password: &str,
        services: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        Self {
            gateway_url: base_url(GATEWAY, ports),
            keycloak_url: keycloak::base_url(ports),
            realm: realm.to_owned(),
            password: password.to_owned(),
            service_urls: services
                .into_iter()
                .map(|name| (name, base_url(name, ports)))
                .collect(),
            gateway_secret: String::new(),
        }
    }

    /// Sets the secret for requests that bypass the gateway.
    #[must_use]
    pub fn with_gateway_secret(self, gateway_secret: String) -> Self {
        Self {
            gateway_secret,
            ..self
        }
    }
}
