//! Why a `dockerd` did not come up, told from the end of its log.

use std::path::Path;

/// How many of the last lines are looked at and shown.
const LOG_TAIL_LINES: usize = 40;

/// A known reason.
struct KnownFailure {
    /// Texts of the log, any of which shows it.
    patterns: &'static [&'static str],
    reason: &'static str,
    next: &'static str,
}

const KNOWN_FAILURES: [KnownFailure; 9] = [
    KnownFailure {
        patterns: &["no space left on device"],
        reason: "the disk is full",
        next: "free disk space, then: dm engine start",
    },
    KnownFailure {
        patterns: &[
            "process with PID",
            "pid file found, ensure docker is not running",
        ],
        reason: "another dockerd is running",
        next: "show its address: dm engine status",
    },
    KnownFailure {
        patterns: &[
            "can't initialize iptables table",
            "Failed to initialize nft",
            "iptables not found",
            "iptables failed",
        ],
        reason: "the packet filter is not usable",
        next: "try the older interface: update-alternatives --set iptables /usr/sbin/iptables-legacy",
    },
    KnownFailure {
        patterns: &[
            "Devices cgroup isn't mounted",
            "cgroup mountpoint does not exist",
            "no cgroup mount found",
        ],
        reason: "control groups are not mounted",
        next: "in a container, start it with --privileged; else mount them: mount -t cgroup2 none /sys/fs/cgroup",
    },
    KnownFailure {
        patterns: &[
            "Permission Denied",
            "permission denied",
            "operation not permitted",
            "needs to be started with root",
        ],
        reason: "it lacks privileges",
        next: "run it as root: sudo dm engine start (in a container, start that with --privileged)",
    },
    KnownFailure {
        patterns: &[
            "Pool overlaps with other one",
            "could not find an available, non-overlapping",
        ],
        reason: "its networks collide with others on this machine",
        next: "show the routes: ip route",
    },
    KnownFailure {
        patterns: &["address already in use"],
        reason: "its socket or port is in use",
        next: "show its address: dm engine status",
    },
    KnownFailure {
        patterns: &["error initializing graphdriver", "driver not supported"],
        reason: "the file system does not support its storage driver",
        next: "put its data on ext4 or xfs, for example {\"data-root\": …} in /etc/docker/daemon.json",
    },
    KnownFailure {
        patterns: &[
            "timeout waiting for containerd",
            "failed to start containerd",
        ],
        reason: "its containerd did not start",
        next: "read its log",
    },
];

/// What is known of a failed start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Diagnosis {
    /// The reason, in a sentence.
    pub reason: String,
    /// What to do, where the reason is a known one.
    pub next: Option<String>,
}

/// Tells from what `dockerd` wrote since `offset` bytes of its log.
pub(super) fn diagnose_log(path: &Path, offset: u64) -> Diagnosis {
    let text = std::fs::read(path).unwrap_or_default();
    let start = usize::try_from(offset).unwrap_or(0).min(text.len());
    diagnose_text(&String::from_utf8_lossy(&text[start..]))
}

fn diagnose_text(text: &str) -> Diagnosis {
    let lines: Vec<&str> = text.lines().rev().take(LOG_TAIL_LINES).collect();
    let known = KNOWN_FAILURES.iter().find(|known| {
        lines
            .iter()
            .any(|line| known.patterns.iter().any(|sign| line.contains(sign)))
    });
    // The newest line that isn't mere information says most.
    let last = lines
        .iter()
        .find(|line| !line.trim().is_empty() && !line.contains("level=info"))
        .or(lines.first());
    match (known, last) {
        (Some(known), Some(last)) => Diagnosis {
            reason: format!("{} ({})", known.reason, log_message(last)),
            next: Some(known.next.into()),
        },
        (None, Some(last)) => Diagnosis {
            reason: log_message(last),
            next: None,
        },
        (_, None) => Diagnosis {
            reason: "its log is empty".into(),
            next: None,
        },
    }
}

/// The message of a log line, without its frame.
fn log_message(line: &str) -> String {
    line.split_once("msg=\"")
        .and_then(|(_, rest)| rest.rsplit_once('"'))
        .map_or(line, |(message, _)| message)
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_the_reason() {
        let log = "time=\"x\" level=info msg=\"Starting up\"\n\
            time=\"x\" level=info msg=\"Processing signal\"\n\
            failed to start daemon: Error initializing network controller: error creating default \"bridge\" network: \
            iptables failed: iptables -t nat: can't initialize iptables table\n\
            time=\"x\" level=info msg=\"stopping\"\n";
        let found = diagnose_text(log);
        assert!(
            found
                .reason
                .starts_with("the packet filter is not usable (failed to start daemon")
        );
        assert!(found.next.unwrap().contains("iptables-legacy"));
    }

    #[test]
    fn an_unknown_reason_is_quoted() {
        let log = "time=\"x\" level=info msg=\"a\"\ntime=\"x\" level=fatal msg=\"strange \\\"thing\\\"\"\n";
        assert_eq!(diagnose_text(log).reason, "strange \\\"thing\\\"");
        assert_eq!(diagnose_text("").reason, "its log is empty");
    }
}
