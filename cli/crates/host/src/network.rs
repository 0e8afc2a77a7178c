//! Networks of this machine: its routes, and address ranges that are still
//! free for containers.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// One IPv4 route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpRoute {
    /// The interface.
    pub interface: String,
    /// The networks that it leads to; `0.0.0.0/0` is the default route.
    pub destination: Ipv4Net,
    /// The next hop, where there is one.
    pub gateway: Option<Ipv4Addr>,
}

/// All IPv4 routes of the main table.
///
/// # Errors
/// What the system said when it was asked.
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

/// All IPv4 routes: known on Linux only, where `dm` starts engines itself.
///
/// # Errors
/// Always: unsupported here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn routes() -> std::io::Result<Vec<IpRoute>> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// The default routes among `routes`.
#[must_use]
pub fn default_routes(routes: &[IpRoute]) -> Vec<IpRoute> {
    routes
        .iter()
        .filter(|route| route.destination.prefix_len() == 0)
        .cloned()
        .collect()
}

/// The largest packet, in bytes, that the uplink takes; `None` without one.
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

/// Address ranges for an engine's networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRanges {
    /// The default bridge's address and network.
    pub bridge: Ipv4Net,
    /// Where further networks are cut from, 256 of /24 each.
    pub pool: Ipv4Net,
}

/// Where a free range is looked for, in this order: what engines use
/// customarily first, then the rest of the private ranges.
fn candidate_networks() -> impl Iterator<Item = Ipv4Net> {
    let block = |a, b| Ipv4Net::new_assert(Ipv4Addr::new(a, b, 0, 0), 16);
    (17..=31)
        .map(move |second| block(172, second))
        .chain((0..=255).rev().map(move |second| block(10, second)))
        .chain([block(192, 168), block(172, 16)])
}

/// Chooses ranges that collide with nothing in `routes` and hold none of
/// `resolvers`; routes by the interface `own` (a bridge that the engine would
/// take over) don't count. `None` if no private range is free.
#[must_use]
pub fn find_free_ranges(
    routes: &[IpRoute],
    resolvers: &[IpAddr],
    own_bridge: &str,
) -> Option<AddressRanges> {
    let is_free = |block: &Ipv4Net| {
        let crossed = routes
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
        !crossed && !hides_gateway && !hides_resolver
    };
    let mut free = candidate_networks().filter(is_free);
    let first = free.next()?;
    let pool = free.next()?;
    let [a, b, ..] = first.network().octets();
    let bridge = Ipv4Net::new(Ipv4Addr::new(a, b, 0, 1), 24).ok()?;
    Some(AddressRanges { bridge, pool })
}

fn networks_overlap(one: &Ipv4Net, other: &Ipv4Net) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// The name servers that a `resolv.conf` lists.
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

/// Where the local resolvers that hide behind a loopback address write the real
/// name servers down.
const UPSTREAM_RESOLV_CONFS: [&str; 4] = [
    "/run/systemd/resolve/resolv.conf",
    "/run/NetworkManager/no-stub-resolv.conf",
    "/run/resolvconf/resolv.conf",
    "/run/dnsmasq/resolv.conf",
];

/// Which name servers containers must be told of explicitly: none where the
/// machine's own are reachable from a container, else the real ones behind the
/// local resolver. `Err` where it's on loopback and nothing tells what is
/// behind it, so that the engine falls back to public name servers.
///
/// # Errors
/// The loopback servers that containers can't reach.
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
    let listed = parse_nameservers(&main);
    if listed.is_empty() || !usable(&main).is_empty() {
        return Ok(Vec::new());
    }
    upstream
        .map(|text| usable(&text))
        .find(|servers| !servers.is_empty())
        .ok_or(listed)
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
    fn a_machine_with_nothing_special_gets_the_customary_ranges() {
        let routes = [route("eth0", "0.0.0.0/0"), route("eth0", "192.0.2.0/24")];
        let ranges = find_free_ranges(&routes, &[], "docker0").unwrap();
        assert_eq!(ranges.bridge.to_string(), "172.17.0.1/24");
        assert_eq!(ranges.pool.to_string(), "172.18.0.0/16");
    }

    #[test]
    fn what_is_in_use_is_gone_round_and_the_own_bridge_is_not_in_use() {
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
    fn a_full_machine_has_no_free_range() {
        let all = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"].map(|net| route("vpn", net));
        assert_eq!(find_free_ranges(&all, &[], "docker0"), None);
    }

    #[test]
    fn resolvers_on_loopback_are_looked_behind() {
        let main = |text: &str| Some(text.to_owned());
        let stub = "# x\nnameserver 127.0.0.53\noptions edns0\n";
        assert_eq!(
            select_resolvers(main("nameserver 192.0.2.1"), std::iter::empty()),
            Ok(vec![])
        );
        assert_eq!(select_resolvers(None, std::iter::empty()), Ok(vec![]));
        let behind = ["nameserver 127.0.0.1", "nameserver 192.0.2.9"].map(String::from);
        assert_eq!(
            select_resolvers(main(stub), behind.into_iter()),
            Ok(vec!["192.0.2.9".parse().unwrap()])
        );
        assert_eq!(
            select_resolvers(main(stub), std::iter::empty()),
            Err(vec!["127.0.0.53".parse().unwrap()])
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machines_routes_can_be_read() {
        let routes = routes().unwrap();
        if !default_routes(&routes).is_empty() {
            assert!(uplink_mtu(&routes).unwrap() >= 576);
        }
    }

    proptest! {
        /// Whatever is routed, what is chosen crosses none of it, nor itself.
        #[test]
        fn chosen_ranges_never_overlap(nets in prop::collection::vec((any::<u32>(), 8_u8..=32), 0..40)) {
            let routes: Vec<_> = nets
                .into_iter()
                .map(|(address, prefix)| {
                    // Half of them inside the private ranges, where it matters.
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
