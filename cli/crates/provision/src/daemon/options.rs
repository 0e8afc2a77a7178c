//! How a `dockerd` that `dm` starts itself is set up, so that it neither
//! disturbs the machine's network nor is disturbed by it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use dm_host::network::{self, AddressRanges, IpRoute};
use dm_host::state::StateDir;
use serde::{Deserialize, Serialize};

/// What packets are sized by where nothing says otherwise, in bytes.
const ETHERNET_MTU: u32 = 1500;

/// The networks of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Bridge {
    /// Docker's own default bridge, in ranges that are free.
    Default(AddressRanges),
    /// A bridge that is there already, and no packet filter. Not `none`: a
    /// daemon that is told so removes `docker0`, whoever's it is.
    Existing(String),
}

/// Where a `dockerd` keeps its things and how it is set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DaemonOptions {
    /// The socket on which it answers.
    pub socket: PathBuf,
    /// Images, containers and volumes.
    pub data_root: PathBuf,
    /// What it needs while it runs.
    pub exec_root: PathBuf,
    /// Its pid file.
    pub pidfile: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// Its networks.
    pub bridge: Bridge,
    /// The largest packet, in bytes.
    pub mtu: u32,
    /// Name servers that containers are told of; none leaves it to the engine.
    pub dns: Vec<IpAddr>,
    /// Whether it manages control groups without systemd.
    pub cgroupfs: bool,
}

impl DaemonOptions {
    /// The usual places, and networks that fit among `routes`. `None` if no
    /// private address range is free.
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

    /// The address of the socket, as in `DOCKER_HOST`.
    #[must_use]
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// The arguments of `dockerd`; `mark` is one more, by which the process is
    /// recognised.
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

    /// The pid file of the `containerd` that `dockerd` starts for itself.
    pub(super) fn containerd_pidfile(&self) -> PathBuf {
        self.exec_root.join("containerd/containerd.pid")
    }

    /// The configuration file of that `containerd`, which its command line
    /// names, and by which it is recognised.
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
    fn the_arguments_say_all_that_was_planned() {
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
