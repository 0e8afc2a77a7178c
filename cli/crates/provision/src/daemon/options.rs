//! The options of a `dockerd` that `dm` starts itself, chosen so that it does not conflict
//! with the network of the machine.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use dm_host::network::{self, AddressRanges, IpRoute};
use dm_host::state::StateDir;
use serde::{Deserialize, Serialize};

/// The default maximum packet size, in bytes.
const ETHERNET_MTU: u32 = 1500;

/// The bridge of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Bridge {
    /// Docker's own default bridge, in free address ranges.
    Default(AddressRanges),
    /// An existing bridge, without a packet filter. Not `none`: with that option, a daemon
    /// removes `docker0` even if another engine owns it.
    Existing(String),
}

/// The paths and the configuration of a `dockerd`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DaemonOptions {
    /// The socket on which it listens.
    pub socket: PathBuf,
    /// The directory of images, containers and volumes.
    pub data_root: PathBuf,
    /// The directory of its runtime state.
    pub exec_root: PathBuf,
    /// Its pid file.
    pub pidfile: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// Its bridge.
    pub bridge: Bridge,
    /// The maximum packet size, in bytes.
    pub mtu: u32,
    /// The name servers of containers. If empty, the engine chooses them.
    pub dns: Vec<IpAddr>,
    /// Whether it manages control groups without systemd.
    pub cgroupfs: bool,
}

impl DaemonOptions {
    /// Returns options with the default paths, and networks that do not overlap `routes`.
    /// Returns `None` if no private address range is free.
    #[must_use]
    pub(crate) fn plan(state: &StateDir, routes: &[IpRoute]) -> Option<Self> {
        let resolvers = std::fs::read_to_string("/etc/resolv.conf")
            .map(|text| network::parse_nameservers(&text))
            .unwrap_or_default();
        let log = Path::new("/var/log");
        let log = if log.is_dir() { log } else { state.path() };
        Some(Self {
            socket: "/var/run/docker.sock".into(),
            data_root: "/var/lib/docker".into(),
            exec_root: "/var/run/docker".into(),
            pidfile: "/var/run/docker.pid".into(),
            log: log.join("dockerd.log"),
            bridge: Bridge::Default(network::find_free_ranges(routes, &resolvers, "docker0")?),
            mtu: network::uplink_mtu(routes).map_or(ETHERNET_MTU, |mtu| mtu.min(ETHERNET_MTU)),
            dns: network::container_resolvers().unwrap_or_default(),
            cgroupfs: true,
        })
    }

    /// Returns the address of the socket, as in `DOCKER_HOST`.
    #[must_use]
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Returns the arguments of `dockerd`; `mark` is an additional one that identifies the
    /// process.
    pub(super) fn arguments(&self, mark: &str) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        let mut arguments = vec![
            mark.to_owned(),
            format!("--host={}", self.address()),
            format!("--data-root={}", path(&self.data_root)),
            format!("--exec-root={}", path(&self.exec_root)),
            format!("--pidfile={}", path(&self.pidfile)),
            format!("--mtu={}", self.mtu),
        ];
        match &self.bridge {
            Bridge::Default(ranges) => arguments.extend([
                format!("--bip={}", ranges.bridge),
                format!("--default-address-pool=base={},size=24", ranges.pool),
            ]),
            Bridge::Existing(name) => arguments.extend([
                format!("--bridge={name}"),
                "--iptables=false".into(),
                "--ip-forward=false".into(),
                "--ip-masq=false".into(),
            ]),
        }
        arguments.extend(self.dns.iter().map(|server| format!("--dns={server}")));
        if self.cgroupfs {
            arguments.push("--exec-opt=native.cgroupdriver=cgroupfs".into());
        }
        arguments
    }

    /// Returns the pid file of the `containerd` that `dockerd` starts.
    pub(super) fn containerd_pidfile(&self) -> PathBuf {
        self.exec_root.join("containerd/containerd.pid")
    }

    /// Returns the configuration file of that `containerd`. Its command line contains the path,
    /// which identifies the process.
    pub(super) fn containerd_config(&self) -> String {
        self.exec_root
            .join("containerd/containerd.toml")
            .display()
            .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_contain_every_option() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open_at(dir.path()).unwrap();
        let mut options = DaemonOptions::plan(&state, &[]).unwrap();
        options.dns = vec!["192.0.2.53".parse().unwrap()];
        options.mtu = 1400;
        insta::assert_snapshot!(options.arguments("--label=x").join("\n"), @r"
        --label=x
        --host=unix:///var/run/docker.sock
        --data-root=/var/lib/docker
        --exec-root=/var/run/docker
        --pidfile=/var/run/docker.pid
        --mtu=1400
        --bip=172.17.0.1/24
        --default-address-pool=base=172.18.0.0/16,size=24
        --dns=192.0.2.53
        --exec-opt=native.cgroupdriver=cgroupfs
        ");
    }
}
