//! Which engine is used.

use dm_engine::{Engine, Facts, Found, Version};
use dm_provision::daemon::Running;
use dm_provision::setup::Outcome;
use dm_terminal::style::Canvas;
use dm_terminal::text;
use serde::Serialize;

/// All that is known of the engine.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    /// Which one, and why.
    pub found: &'a Found,
    /// Its versions.
    pub version: &'a Version,
    /// How it is set up.
    pub facts: &'a Facts,
    /// The process, where `dm` started it.
    pub daemon: Option<&'a Running>,
}

impl<'a> Report<'a> {
    /// The report on an engine. A daemon of ours that is another engine than
    /// the one in use is left out.
    #[must_use]
    pub(crate) fn new(engine: &'a Engine, facts: &'a Facts, daemon: Option<&'a Running>) -> Self {
        Self {
            found: engine.found(),
            version: engine.version(),
            facts,
            daemon: daemon.filter(|daemon| daemon.address == engine.found().address),
        }
    }
}

/// The report as text.
#[must_use]
pub(crate) fn render(report: &Report<'_>, canvas: &Canvas) -> String {
    let Report {
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
                text::count(usize::try_from(facts.processors).unwrap_or(0), "processor"),
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
                &text::harmless(value, false),
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
pub(crate) fn started(engine: &Engine, outcome: &Outcome) -> String {
    let (version, address) = (engine.version(), &engine.found().address);
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
    use dm_engine::{Kind, Source};
    use dm_terminal::testing::{assert_fits, terminal};

    use super::*;

    #[test]
    fn the_engine_is_shown_with_why_it_was_chosen() {
        let found = Found {
            address: "unix:///var/run/docker.sock".into(),
            source: Source::DefaultSocket,
            why: "default socket, the first candidate".into(),
            tried: vec![(
                "unix:///run/user/0/docker.sock".into(),
                "no such socket".into(),
            )],
        };
        let version = Version {
            kind: Kind::Docker,
            engine: "20.10.24".into(),
            api: "1.41".into(),
            os: "linux".into(),
            arch: "amd64".into(),
        };
        let facts = Facts {
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
        let daemon = Running {
            pid: 4211,
            address: found.address.clone(),
            log: "/var/log/dockerd.log".into(),
        };
        let report = Report {
            found: &found,
            version: &version,
            facts: &facts,
            daemon: Some(&daemon),
        };
        let shown = render(&report, &terminal(80));
        assert_fits(&shown, 80);
        assert_fits(&render(&report, &terminal(40)), 40);
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
