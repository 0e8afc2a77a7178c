//! Renders the engine in use.

use dm_engine::{Engine, EngineDiscovery, EngineInfo, EngineVersion, FailedCandidate};
use dm_provision::daemon::RunningDaemon;
use dm_provision::engine_setup::SetupReport;
use dm_terminal::canvas::Canvas;
use dm_terminal::text;
use serde::Serialize;

/// The document of the engine.
#[derive(Debug, Serialize)]
pub(crate) struct EngineReport<'a> {
    /// The address, and the reason for the choice.
    pub discovery: &'a EngineDiscovery,
    /// The versions.
    pub version: &'a EngineVersion,
    /// The setup of the engine.
    pub info: &'a EngineInfo,
    /// The process, if `dm` started the engine.
    pub daemon: Option<&'a RunningDaemon>,
}

impl<'a> EngineReport<'a> {
    /// The report on an engine. A daemon that `dm` started is left out if another engine is in
    /// use.
    #[must_use]
    pub(crate) fn new(
        engine: &'a Engine,
        info: &'a EngineInfo,
        daemon: Option<&'a RunningDaemon>,
    ) -> Self {
        Self {
            discovery: engine.discovery(),
            version: engine.version(),
            info,
            daemon: daemon.filter(|daemon| daemon.address == engine.discovery().address),
        }
    }
}

/// Renders the report as text.
#[must_use]
pub(crate) fn render(report: &EngineReport<'_>, canvas: &Canvas) -> String {
    let EngineReport {
        discovery,
        version,
        info,
        daemon,
    } = report;
    let mut rows = vec![
        ("engine", format!("{} {}", version.kind, version.engine)),
        ("address", discovery.address.clone()),
        ("reason", discovery.reason.clone()),
        ("API", version.api.clone()),
        (
            "runs on",
            format!("{}, {}/{}", info.operating_system, version.os, version.arch),
        ),
        (
            "resources",
            format!(
                "{}, {:.1} GB of memory",
                text::pluralize(info.processors, "processor"),
                bytes_as_gigabytes(info.memory)
            ),
        ),
        (
            "storage",
            format!("{} at {}", info.storage_driver, info.root_dir),
        ),
        (
            "control groups",
            format!("version {}, by {}", info.cgroup_version, info.cgroup_driver),
        ),
        (
            "privileges",
            if info.rootless { "rootless" } else { "root" }.to_owned(),
        ),
    ];
    match daemon {
        Some(daemon) => {
            rows.push(("started by", format!("dm (process {})", daemon.pid)));
            rows.push(("log", daemon.log.display().to_string()));
        }
        None => rows.push(("started by", "not dm".into())),
    }
    rows.extend(discovery.tried.iter().map(|candidate| {
        let FailedCandidate { address, outcome } = candidate;
        ("tried first", format!("{address}: {outcome}"))
    }));
    let longest = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter()
        .map(|(name, value)| {
            text::wrap(
                &text::sanitize(value, false),
                canvas.width,
                &format!("{name:longest$}  "),
                &" ".repeat(longest + 2),
            )
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[expect(
    clippy::cast_precision_loss,
    reason = "shown to one tenth of a gigabyte"
)]
fn bytes_as_gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

/// Returns the sentence about the start of the engine.
#[must_use]
pub(crate) fn start_sentence(engine: &Engine, outcome: &SetupReport) -> String {
    let (version, address) = (engine.version(), &engine.discovery().address);
    let description = format!("{} {} at {address}", version.kind, version.engine);
    let installed = if outcome.installed.is_empty() {
        String::new()
    } else {
        format!("installed {}; ", outcome.installed.join(" and "))
    };
    match &outcome.started_by {
        Some(by) => format!("{installed}{description} was started by {by}"),
        None => format!("{installed}{description} runs already"),
    }
}

#[cfg(test)]
mod tests {
    use dm_engine::{DiscoverySource, EngineKind};
    use dm_terminal::testing::{assert_fits, terminal_canvas};

    use super::*;

    #[test]
    fn render_shows_the_engine_and_the_reason_for_the_choice() {
        let discovery = EngineDiscovery {
            address: "unix:///var/run/docker.sock".into(),
            source: DiscoverySource::DefaultSocket,
            reason: "default socket, the first candidate".into(),
            tried: vec![FailedCandidate {
                address: "unix:///run/user/0/docker.sock".into(),
                outcome: "no such socket".into(),
            }],
        };
        let version = EngineVersion {
            kind: EngineKind::Docker,
            engine: "20.10.24".into(),
            api: "1.41".into(),
            os: "linux".into(),
            arch: "amd64".into(),
        };
        let info = EngineInfo {
            root_dir: "/var/lib/docker".into(),
            storage_driver: "overlay2".into(),
            backing_filesystem: Some("extfs".into()),
            cgroup_version: "1".into(),
            cgroup_driver: "cgroupfs".into(),
            rootless: false,
            operating_system: "Debian GNU/Linux 12".into(),
            memory: 24_300_000_000,
            processors: 2,
            time: None,
            warnings: Vec::new(),
        };
        let daemon = RunningDaemon {
            pid: 4211,
            address: discovery.address.clone(),
            log: "/var/log/dockerd.log".into(),
        };
        let report = EngineReport {
            discovery: &discovery,
            version: &version,
            info: &info,
            daemon: Some(&daemon),
        };
        let text = render(&report, &terminal_canvas(80));
        assert_fits(&text, 80);
        assert_fits(&render(&report, &terminal_canvas(40)), 40);
        insta::assert_snapshot!(text, @r"
        engine          Docker 20.10.24
        address         unix:///var/run/docker.sock
        reason          default socket, the first candidate
        API             1.41
        runs on         Debian GNU/Linux 12, linux/amd64
        resources       2 processors, 24.3 GB of memory
        storage         overlay2 at /var/lib/docker
        control groups  version 1, by cgroupfs
        privileges      root
        started by      dm (process 4211)
        log             /var/log/dockerd.log
        tried first     unix:///run/user/0/docker.sock: no such socket
        ");
    }
}
