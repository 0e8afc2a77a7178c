//! Where the stack's servers are reached: from this machine, or from their own network.

use super::{HostPorts, host_port};

/// From where a server is reached.
#[derive(Debug, Clone, Copy)]
pub enum ClientLocation<'a> {
    /// From this machine, by the port that the server publishes.
    Host(&'a HostPorts),
    /// From a container on the stack's network, by the server's name.
    StackNetwork,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl ClientLocation<'_> {
    /// Where a component listens. `host` is this machine as the component's own protocol
    /// should call it, `published` the name of the port in allocations, and `port` the port
    /// in the container.
    pub(super) fn server_address(
        self,
        component: &str,
        host: &str,
        published: &str,
        port: u16,
    ) -> ServerAddress {
        match self {
            Self::Host(ports) => ServerAddress {
                host: host.to_owned(),
                port: host_port(ports, published),
            },
            Self::StackNetwork => ServerAddress {
                host: component.to_owned(),
                port,
            },
        }
    }
}

impl std::fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_another_address_on_its_network() {
        let ports = HostPorts::from([("keycloak".to_owned(), 18080)]);
        let at = |reach: ClientLocation<'_>| {
            reach
                .server_address("keycloak", "localhost", "keycloak", 8080)
                .to_string()
        };
        assert_eq!(at(ClientLocation::Host(&ports)), "localhost:18080");
        assert_eq!(at(ClientLocation::StackNetwork), "keycloak:8080");
    }
}
