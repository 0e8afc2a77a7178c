//! Where the stack is.

use dm_components::service::{GATEWAY, base_url};
use dm_components::{HostPorts, keycloak};

/// The addresses of a stack, and how its people sign in.
#[derive(Debug, Clone)]
pub struct StackEndpoints {
    /// The gateway.
    pub gateway_url: String,
    /// Keycloak.
    pub keycloak_url: String,
    /// The realm of its people.
    pub realm: String,
    /// The password that they all have.
    pub password: String,
    /// The services by name.
    pub service_urls: Vec<(&'static str, String)>,
    /// What the gateway shows to the services, for who asks them without it; empty where
    /// nobody does.
    pub gateway_secret: String,
}

impl StackEndpoints {
    /// The stack at these ports, whose people all have this password.
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

    /// The same for who asks the services themselves.
    #[must_use]
    pub fn with_gateway_secret(self, gateway_secret: String) -> Self {
        Self {
            gateway_secret,
            ..self
        }
    }
}
