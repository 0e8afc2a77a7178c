//! The machine's networks: its routes, and free address ranges for containers.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// An IPv4 route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpRoute {
    /// The interface.
    pub interface: String,
    /// The destination network. `0.0.0.0/0` is the default route.
    pub destination: Ipv4Net,
    /// The next hop, if any.
    pub gateway: Option<Ipv4Addr>,
}

/// Returns all IPv4 routes of the main table.
///
/// # Errors
/// Returns [`std::io::Error`] if the routing table cannot be read.
#[cfg(target_os = "linux")]
pub fn routes() -> std::io::Result<Vec<IpRoute>> {
    let entries = procfs::net::route().map_err(std::io::Error::other)?;
    Ok(entries
        .into_iter()
        .filter_map(|entry| {
            Some(IpRoute {
                interface: entry.iface,
                destination: Ipv4Net::with_netmask(entry.destination, entry.mask).ok()?,
                gateway: (!entry.gateway.is_unspecified()).then_some(entry.gateway),
            })
        })
        .collect())
}

/// Returns all IPv4 routes. Supported on Linux only, where `dm` starts engines itself.
///
/// # Errors
/// Always returns [`std::io::ErrorKind::Unsupported`].
#[cfg(not(target_os = "linux"))]
pub(crate) fn routes() -> std::io::Result<Vec<IpRoute>> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Returns the default routes among `routes`.
#[must_use]
pub fn default_routes(routes: &[IpRoute]) -> Vec<IpRoute> {
    routes
        .iter()
        .filter(|route| route.destination.prefix_len() == 0)
        .cloned()
        .collect()
}

/// Returns the MTU of the uplink in bytes, or `None` if there is no uplink.
#[must_use]
pub fn uplink_mtu(routes: &[IpRoute]) -> Option<u32> {
    default_routes(routes)
        .iter()
        .filter_map(|route| {
            let path = format!("/sys/class/net/{}/mtu", route.interface);
            std::fs::read_to_string(path).ok()?.trim().parse().ok()
        })
        .min()
}

/// The address ranges of an engine's networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRanges {
    /// The address and network of the default bridge.
    pub bridge: Ipv4Net,
    /// The pool of further networks: 256 networks of /24.
    pub pool: Ipv4Net,
}

/// Returns the networks in the order in which they are tried: first the usual networks of
/// engines, then the other private ranges.
fn candidate_networks() -> impl Iterator<Item = Ipv4Net> {
    let block = |a, b| Ipv4Net::new_assert(Ipv4Addr::new(a, b, 0, 0), 16);
    (17..=31)
        .map(move |second| block(172, second))
        .chain((0..=255).rev().map(move |second| block(10, second)))
        .chain([block(192, 168), block(172, 16)])
}

/// Returns ranges that overlap no route and contain no resolver. Routes of the interface
/// `own_bridge`, which the engine takes over, are ignored. Returns `None` if no private range is
/// free.
#[must_use]
pub fn find_free_ranges(
    routes: &[IpRoute],
    resolvers: &[IpAddr],
    own_bridge: &str,
) -> Option<AddressRanges> {
    let is_free = |block: &Ipv4Net| {
        let overlaps_route = routes
            .iter()
            .filter(|route| route.destination.prefix_len() > 0 && route.interface != own_bridge)
            .any(|route| networks_overlap(&route.destination, block));
        let hides_gateway = routes
            .iter()
            .filter_map(|route| route.gateway)
            .any(|gateway| block.contains(&gateway));
        let hides_resolver = resolvers
            .iter()
            .any(|resolver| matches!(resolver, IpAddr::V4(address) if block.contains(address)));
        !overlaps_route && !hides_gateway && !hides_resolver
    };
    let mut free = candidate_networks().filter(is_free);
    let first = free.next()?;
    let pool = free.next()?;
    let [a, b, ..] = first.network().octets();
    let bridge = Ipv4Net::new(Ipv4Addr::new(a, b, 0, 1), 24).ok()?;
    Some(AddressRanges { bridge, pool })
}

fn networks_overlap(a: &Ipv4Net, b: &Ipv4Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// Returns the name servers in a `resolv.conf`.
#[must_use]
pub fn parse_nameservers(resolv_conf: &str) -> Vec<IpAddr> {
    resolv_conf
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next()? == "nameserver").then(|| words.next()?.parse().ok())?
        })
        .collect()
}

/// The files in which local resolvers on a loopback address record the upstream name servers.
const UPSTREAM_RESOLV_CONFS: [&str; 4] = [
    "/run/systemd/resolve/resolv.conf",
    "/run/NetworkManager/no-stub-resolv.conf",
    "/run/resolvconf/resolv.conf",
    "/run/dnsmasq/resolv.conf",
];

/// Returns the name servers that containers need explicitly: none if the machine's name servers
/// are reachable from a container, otherwise the upstream servers of the local resolver.
///
/// # Errors
/// Returns the loopback servers, which containers cannot reach, if their upstream servers are
/// unknown. The engine then uses public name servers.
pub fn container_resolvers() -> Result<Vec<IpAddr>, Vec<IpAddr>> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    select_resolvers(
        read("/etc/resolv.conf"),
        UPSTREAM_RESOLV_CONFS.into_iter().filter_map(read),
    )
}

fn select_resolvers(
    main: Option<String>,
    upstream: impl Iterator<Item = String>,
) -> Result<Vec<IpAddr>, Vec<IpAddr>> {
    let usable = |text: &str| -> Vec<IpAddr> {
        let mut servers = parse_nameservers(text);
        servers.retain(|server| !server.is_loopback());
        servers
    };
    let main = main.unwrap_or_default();
    let configured = parse_nameservers(&main);
    if configured.is_empty() || !usable(&main).is_empty() {
        return Ok(Vec::new());
    }
    upstream
        .map(|text| usable(&text))
        .find(|servers| !servers.is_empty())
        .ok_or(configured)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn route(interface: &str, destination: &str) -> IpRoute {
        IpRoute {
            interface: interface.into(),
            destination: destination.parse().unwrap(),
            gateway: None,
        }
    }

    #[test]
    fn find_free_ranges_prefers_the_usual_ranges_of_engines() {
        let routes = [route("eth0", "0.0.0.0/0"), route("eth0", "192.0.2.0/24")];
        let ranges = find_free_ranges(&routes, &[], "docker0").unwrap();
        assert_eq!(ranges.bridge.to_string(), "172.17.0.1/24");
        assert_eq!(ranges.pool.to_string(), "172.18.0.0/16");
    }

    #[test]
    fn find_free_ranges_avoids_used_ranges_except_the_own_bridge() {
        let routes = [
            route("docker0", "172.17.0.0/24"),
            route("br-1", "172.18.5.0/24"),
            route("tun0", "172.16.0.0/13"),
        ];
        let resolver = "172.24.0.53".parse().unwrap();
        let ranges = find_free_ranges(&routes[..2], &[resolver], "docker0").unwrap();
        assert_eq!(ranges.bridge.to_string(), "172.17.0.1/24");
        assert_eq!(ranges.pool.to_string(), "172.19.0.0/16");
        let ranges = find_free_ranges(&routes, &[resolver], "docker0").unwrap();
        assert_eq!(ranges.bridge.to_string(), "172.25.0.1/24");
    }

    #[test]
    fn find_free_ranges_is_none_if_all_private_ranges_are_used() {
        let all = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"].map(|net| route("vpn", net));
        assert_eq!(find_free_ranges(&all, &[], "docker0"), None);
    }

    #[test]
    fn select_resolvers_replaces_loopback_by_upstream_servers() {
        let main = |text: &str| Some(text.to_owned());
        let stub = "# x\nnameserver 127.0.0.53\noptions edns0\n";
        assert_eq!(
            select_resolvers(main("nameserver 192.0.2.1"), std::iter::empty()),
            Ok(vec![])
        );
        assert_eq!(select_resolvers(None, std::iter::empty()), Ok(vec![]));
        let upstream = ["nameserver 127.0.0.1", "nameserver 192.0.2.9"].map(String::from);
        assert_eq!(
            select_resolvers(main(stub), upstream.into_iter()),
            Ok(vec!["192.0.2.9".parse().unwrap()])
        );
        assert_eq!(
            select_resolvers(main(stub), std::iter::empty()),
            Err(vec!["127.0.0.53".parse().unwrap()])
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn routes_of_this_machine_are_readable() {
        let routes = routes().unwrap();
        if !default_routes(&routes).is_empty() {
            assert!(uplink_mtu(&routes).unwrap() >= 576);
        }
    }

    proptest! {
        /// For any routes, the chosen ranges overlap neither a route nor each other.
        #[test]
        fn find_free_ranges_never_overlaps_a_route(nets in prop::collection::vec((any::<u32>(), 8_u8..=32), 0..40)) {
            let routes: Vec<_> = nets
                .into_iter()
                .map(|(address, prefix)| {
                    // Most of them are in the private ranges, from which ranges are chosen.
                    let address = match address % 4 {
                        0 => Ipv4Addr::from(address),
                        1 => Ipv4Addr::from(address & 0x00ff_ffff | 0x0a00_0000),
                        _ => Ipv4Addr::from(address & 0x000f_ffff | 0xac10_0000),
                    };
                    IpRoute {
                        interface: "eth1".into(),
                        destination: Ipv4Net::new(address, prefix).unwrap().trunc(),
                        gateway: None,
                    }
                })
                .collect();
            if let Some(ranges) = find_free_ranges(&routes, &[], "docker0") {
                prop_assert!(!networks_overlap(&ranges.bridge.trunc(), &ranges.pool));
                for route in &routes {
                    prop_assert!(!networks_overlap(&route.destination, &ranges.bridge.trunc()));
                    prop_assert!(!networks_overlap(&route.destination, &ranges.pool));
                }
            }
        }
    }
}
