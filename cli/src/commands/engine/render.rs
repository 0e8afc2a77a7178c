//! Which engine is used.

use dm_engine::{Engine, EngineDiscovery, EngineInfo, EngineVersion};
use dm_provision::daemon::RunningDaemon;
use dm_provision::engine_setup::SetupReport;
use dm_terminal::canvas::Canvas;
use dm_terminal::text;
use serde::Serialize;

/// All that is known of the engine.
#[derive(Debug, Serialize)]
pub(crate) struct EngineReport<'a> {
    /// Which one, and why.
    pub found: &'a EngineDiscovery,
    /// Its versions.
    pub version: &'a EngineVersion,
    /// How it is set up.
    pub facts: &'a EngineInfo,
    /// The process, where `dm` started it.
    pub daemon: Option<&'a RunningDaemon>,
}

impl<'a> EngineReport<'a> {
    /// The report on an engine. A daemon of ours that is another engine than
    /// the one in use is left out.
    #[must_use]
    pub(crate) fn new(
        engine: &'a Engine,
        facts: &'a EngineInfo,
        daemon: Option<&'a RunningDaemon>,
    ) -> Self {
        Self {
            found: engine.discovery(),
            version: engine.version(),
            facts,
            daemon: daemon.filter(|daemon| daemon.address == engine.discovery().address),
        }
    }
}

/// The report as text.
#[must_use]
pub(crate) fn render(report: &EngineReport<'_>, canvas: &Canvas) -> String {
    let EngineReport {
        found,
        version,
        facts,
        daemon,
    } = report;
    let mut rows = vec![
        ("engine", format!("{} {}", version.kind, version.engine)),
        ("address", found.address.clone()),
        ("why", found.why.clone()),
        ("API", version.api.clone()),
        (
            "runs on",
            format!(
                "{}, {}/{}",
                facts.operating_system, version.os, version.arch
            ),
        ),
        (
            "resources",
            format!(
                "{}, {:.1} GB of memory",
                text::pluralize(usize::try_from(facts.processors).unwrap_or(0), "processor"),
                bytes_as_gigabytes(facts.memory)
            ),
        ),
        (
            "storage",
            format!("{} at {}", facts.storage_driver, facts.root_dir),
        ),
        (
            "control groups",
            format!(
                "version {}, by {}",
                facts.cgroup_version, facts.cgroup_driver
            ),
        ),
        (
            "rights",
            if facts.rootless { "rootless" } else { "root" }.to_owned(),
        ),
    ];
    match daemon {
        Some(daemon) => {
            rows.push(("started by", format!("dm (process {})", daemon.pid)));
            rows.push(("log", daemon.log.display().to_string()));
        }
        None => rows.push(("started by", "not dm".into())),
    }
    rows.extend(
        found
            .tried
            .iter()
            .map(|(address, outcome)| ("tried first", format!("{address}: {outcome}"))),
    );
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

/// What starting the engine came to, in a sentence.
#[must_use]
pub(crate) fn start_sentence(engine: &Engine, outcome: &SetupReport) -> String {
    let (version, address) = (engine.version(), &engine.discovery().address);
    let what = format!("{} {} at {address}", version.kind, version.engine);
    let installed = if outcome.installed.is_empty() {
        String::new()
    } else {
        format!("installed {}; ", outcome.installed.join(" and "))
    };
    match &outcome.started_by {
        Some(by) => format!("{installed}{what} was started by {by}"),
        None => format!("{installed}{what} runs already"),
    }
}

#[cfg(test)]
mod tests {
    use dm_engine::{DiscoverySource, EngineKind};
    use dm_terminal::testing::{assert_fits, terminal_canvas};

    use super::*;

    #[test]
    fn the_engine_is_shown_with_why_it_was_chosen() {
        let found = EngineDiscovery {
            address: "unix:///var/run/docker.sock".into(),
            source: DiscoverySource::DefaultSocket,
            why: "default socket, the first candidate".into(),
            tried: vec![(
                "unix:///run/user/0/docker.sock".into(),
                "no such socket".into(),
            )],
        };
        let version = EngineVersion {
            kind: EngineKind::Docker,
            engine: "20.10.24".into(),
            api: "1.41".into(),
            os: "linux".into(),
            arch: "amd64".into(),
        };
        let facts = EngineInfo {
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
            address: found.address.clone(),
            log: "/var/log/dockerd.log".into(),
        };
        let report = EngineReport {
            found: &found,
            version: &version,
            facts: &facts,
            daemon: Some(&daemon),
        };
        let shown = render(&report, &terminal_canvas(80));
        assert_fits(&shown, 80);
        assert_fits(&render(&report, &terminal_canvas(40)), 40);
        insta::assert_snapshot!(shown, @r"
        engine          Docker 20.10.24
        address         unix:///var/run/docker.sock
        why             default socket, the first candidate
        API             1.41
        runs on         Debian GNU/Linux 12, linux/amd64
        resources       2 processors, 24.3 GB of memory
        storage         overlay2 at /var/lib/docker
        control groups  version 1, by cgroupfs
        rights          root
        started by      dm (process 4211)
        log             /var/log/dockerd.log
        tried first     unix:///run/user/0/docker.sock: no such socket
        ");
    }
}
