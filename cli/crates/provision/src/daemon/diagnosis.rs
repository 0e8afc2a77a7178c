//! Diagnoses a failed start of `dockerd` from the end of its log.

use std::path::Path;

/// The number of last lines that are examined.
const LOG_TAIL_LINES: usize = 40;

/// A known cause of a failed start.
struct KnownFailure {
    /// Texts in the log, any of which indicates this cause.
    patterns: &'static [&'static str],
    reason: &'static str,
    suggestion: &'static str,
}

const KNOWN_FAILURES: [KnownFailure; 9] = [
    KnownFailure {
        patterns: &["no space left on device"],
        reason: "the disk is full",
        suggestion: "free disk space, then: dm engine start",
    },
    KnownFailure {
        patterns: &[
            "process with PID",
            "pid file found, ensure docker is not running",
        ],
        reason: "another dockerd is running",
        suggestion: "show its address: dm engine status",
    },
    KnownFailure {
        patterns: &[
            "can't initialize iptables table",
            "Failed to initialize nft",
            "iptables not found",
            "iptables failed",
        ],
        reason: "the packet filter is not usable",
        suggestion: "try the older interface: update-alternatives --set iptables /usr/sbin/iptables-legacy",
    },
    KnownFailure {
        patterns: &[
            "Devices cgroup isn't mounted",
            "cgroup mountpoint does not exist",
            "no cgroup mount found",
        ],
        reason: "control groups are not mounted",
        suggestion: "in a container, start it with --privileged; else mount them: mount -t cgroup2 none /sys/fs/cgroup",
    },
    KnownFailure {
        patterns: &[
            "Permission Denied",
            "permission denied",
            "operation not permitted",
            "needs to be started with root",
        ],
        reason: "it lacks privileges",
        suggestion: "run it as root: sudo dm engine start (in a container, start that with --privileged)",
    },
    KnownFailure {
        patterns: &[
            "Pool overlaps with other one",
            "could not find an available, non-overlapping",
        ],
        reason: "its networks collide with others on this machine",
        suggestion: "show the routes: ip route",
    },
    KnownFailure {
        patterns: &["address already in use"],
        reason: "its socket or port is in use",
        suggestion: "show its address: dm engine status",
    },
    KnownFailure {
        patterns: &["error initializing graphdriver", "driver not supported"],
        reason: "the file system does not support its storage driver",
        suggestion: "put its data on ext4 or xfs, for example {\"data-root\": …} in /etc/docker/daemon.json",
    },
    KnownFailure {
        patterns: &[
            "timeout waiting for containerd",
            "failed to start containerd",
        ],
        reason: "its containerd did not start",
        suggestion: "read its log",
    },
];

/// The cause of a failed start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Diagnosis {
    /// The reason, in a sentence.
    pub reason: String,
    /// A suggested command or action, if the cause is known.
    pub suggestion: Option<String>,
}

/// Diagnoses the part of `dockerd`'s log after the first `offset` bytes.
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
            .any(|line| known.patterns.iter().any(|pattern| line.contains(pattern)))
    });
    // The newest line whose level is not `info` is the most informative.
    let last = lines
        .iter()
        .find(|line| !line.trim().is_empty() && !line.contains("level=info"))
        .or(lines.first());
    match (known, last) {
        (Some(known), Some(last)) => Diagnosis {
            reason: format!("{} ({})", known.reason, log_message(last)),
            suggestion: Some(known.suggestion.into()),
        },
        (None, Some(last)) => Diagnosis {
            reason: log_message(last),
            suggestion: None,
        },
        (_, None) => Diagnosis {
            reason: "its log is empty".into(),
            suggestion: None,
        },
    }
}

/// Returns the message of a log line, without time and level.
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
    fn diagnose_text_recognises_a_known_failure() {
        let log = "time=\"x\" level=info msg=\"Starting up\"\n\
            time=\"x\" level=info msg=\"Processing signal\"\n\
            failed to start daemon: Error initializing network controller: error creating default \"bridge\" network: \
            iptables failed: iptables -t nat: can't initialize iptables table\n\
            time=\"x\" level=info msg=\"stopping\"\n";
        let diagnosis = diagnose_text(log);
        assert!(
            diagnosis
                .reason
                .starts_with("the packet filter is not usable (failed to start daemon")
        );
        assert!(diagnosis.suggestion.unwrap().contains("iptables-legacy"));
    }

    #[test]
    fn diagnose_text_quotes_an_unknown_failure() {
        let log = "time=\"x\" level=info msg=\"a\"\ntime=\"x\" level=fatal msg=\"strange \\\"thing\\\"\"\n";
        assert_eq!(diagnose_text(log).reason, "strange \\\"thing\\\"");
        assert_eq!(diagnose_text("").reason, "its log is empty");
    }
}
