//! The process that listens on a port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use serde::Serialize;

use crate::process;

/// The process that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortOwner {
    /// Its process id.
    pub pid: u32,
    /// Its short name, e.g. `postgres`.
    pub name: String,
    /// Its command line, or its path if the system does not provide the command line.
    pub command: String,
}

impl PortOwner {
    /// Returns whether the process is the engine's proxy for a container's published port, so
    /// that only the engine knows the container.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn is_engine_proxy(&self) -> bool {
        matches!(
            self.name.as_str(),
            "docker-proxy" | "rootlessport" | "rootlesskit" | "com.docker.backend" | "conmon"
        )
    }
}

impl std::fmt::Display for PortOwner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// Returns whether a container's port can be published on 127.0.0.1:`port`.
///
/// A port that only root may bind counts as free if no process listens there, because the
/// engine binds it.
#[must_use]
pub fn is_free(port: u16) -> bool {
    let is_taken = |address: Ipv4Addr| {
        TcpListener::bind((address, port))
            .is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
    };
    if is_taken(Ipv4Addr::LOCALHOST) {
        return false;
    }
    // Linux refuses the loopback address if a process listens on all addresses. The BSDs
    // and macOS do not, so both addresses are tried there.
    cfg!(target_os = "linux") || !is_taken(Ipv4Addr::UNSPECIFIED)
}

/// Returns the process that prevents 127.0.0.1:`port` from being bound. Returns `None` if there
/// is no such process, or if it belongs to another user and `dm` does not run as root.
#[must_use]
pub fn find_port_owner(port: u16) -> Option<PortOwner> {
    let listeners = listeners::get_all().ok()?;
    let listener = listeners.into_iter().find(|listener| {
        listener.protocol == listeners::Protocol::TCP
            && listener.state == listeners::SocketState::Listen
            && blocks_loopback(listener.socket, port)
    })?;
    let process = listener.process;
    let command =
        process::command_line(process.pid).map_or(process.path, |arguments| arguments.join(" "));
    Some(PortOwner {
        pid: process.pid,
        name: process.name,
        command,
    })
}

fn blocks_loopback(socket: SocketAddr, port: u16) -> bool {
    let address = match socket.ip() {
        IpAddr::V6(address) => address
            .to_ipv4_mapped()
            .map_or(IpAddr::V6(address), IpAddr::V4),
        address @ IpAddr::V4(_) => address,
    };
    socket.port() == port && (address.is_unspecified() || address == Ipv4Addr::LOCALHOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn find_port_owner_finds_the_listening_process() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            assert!(!is_free(port), "{address}");
            let owner = find_port_owner(port).unwrap();
            assert_eq!(owner.pid, std::process::id(), "{address}");
            assert!(!owner.name.is_empty() && !owner.command.is_empty());
            assert!(!owner.is_engine_proxy());
            drop(listener);
            assert!(becomes_free(port), "{address}");
        }
    }

    /// Waits until the port is free. A parallel test that starts a process holds a copy of the
    /// socket from its fork until its exec.
    fn becomes_free(port: u16) -> bool {
        (0..500).any(|_| {
            let free = is_free(port);
            if !free {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            free
        })
    }

    #[test]
    fn blocks_loopback_ignores_other_addresses_and_ports() {
        assert!(blocks_loopback(
            "[::ffff:127.0.0.1]:80".parse().unwrap(),
            80
        ));
        assert!(!blocks_loopback("[::1]:80".parse().unwrap(), 80));
        assert!(!blocks_loopback("192.0.2.7:80".parse().unwrap(), 80));
        assert!(!blocks_loopback("127.0.0.1:81".parse().unwrap(), 80));
    }
}
