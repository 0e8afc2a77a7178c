//! Where the stack's servers are reached: from this machine, or from their own network.

use super::{Ports, host_port};

/// From where a server is reached.
#[derive(Debug, Clone, Copy)]
pub enum Reach<'a> {
    /// From this machine, by the port that the server publishes.
    Published(&'a Ports),
    /// From a container on the stack's network, by the server's name.
    Network,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Reach<'_> {
    /// Where a component listens. `host` is this machine as the component's own protocol
    /// should call it, `published` the name of the port in allocations, and `port` the port
    /// in the container.
    pub(super) fn address(
        self,
        component: &str,
        host: &str,
        published: &str,
        port: u16,
    ) -> Address {
        match self {
            Self::Published(ports) => Address {
                host: host.to_owned(),
                port: host_port(ports, published),
            },
            Self::Network => Address {
                host: component.to_owned(),
                port,
            },
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_another_address_on_its_network() {
        let ports = Ports::from([("keycloak".to_owned(), 18080)]);
        let at = |reach: Reach<'_>| {
            reach
                .address("keycloak", "localhost", "keycloak", 8080)
                .to_string()
        };
        assert_eq!(at(Reach::Published(&ports)), "localhost:18080");
        assert_eq!(at(Reach::Network), "keycloak:8080");
    }
}
