//! Where the stack is.

use dm_components::service::{GATEWAY, base_url};
use dm_components::{Ports, keycloak};

/// The addresses of a stack, and how its people sign in.
#[derive(Debug, Clone)]
pub struct Site {
    /// The gateway.
    pub gateway: String,
    /// Keycloak.
    pub keycloak: String,
    /// The realm of its people.
    pub realm: String,
    /// The password that they all have.
    pub password: String,
    /// The services by name.
    pub services: Vec<(&'static str, String)>,
    /// What the gateway shows to the services, for who asks them without it; empty where
    /// nobody does.
    pub gateway_secret: String,
}

impl Site {
    /// The stack at these ports, whose people all have this password.
    #[must_use]
    pub fn new(
        ports: &Ports,
        realm: &str,
        password: &str,
        services: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        Self {
            gateway: base_url(GATEWAY, ports),
            keycloak: keycloak::base_url(ports),
            realm: realm.to_owned(),
            password: password.to_owned(),
            services: services
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
