//! The addresses of the stack's servers: on this machine or on the stack's network.

use super::{HostPorts, host_port};

/// The location of a client, which determines a server's address.
#[derive(Debug, Clone, Copy)]
pub enum ClientLocation<'a> {
    /// On this machine: the client uses the server's published port.
    Host(&'a HostPorts),
    /// In a container on the stack's network: the client uses the server's name.
    StackNetwork,
}

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl ClientLocation<'_> {
    /// Returns the address of a component. `host` is the name of this machine in the component's
    /// protocol, `published` the name of the port in allocations, and `port` the port in the
    /// container.
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
    fn server_address_depends_on_the_client_location() {
        let ports = HostPorts::from([("keycloak".to_owned(), 18080)]);
        let address = |location: ClientLocation<'_>| {
            location
                .server_address("keycloak", "localhost", "keycloak", 8080)
                .to_string()
        };
        assert_eq!(address(ClientLocation::Host(&ports)), "localhost:18080");
        assert_eq!(address(ClientLocation::StackNetwork), "keycloak:8080");
    }
}
