//! Why a `dockerd` did not come up, told from the end of its log.

use std::path::Path;

/// How many of the last lines are looked at and shown.
const LINES: usize = 40;

/// A known reason.
struct Known {
    /// Texts of the log, any of which shows it.
    signs: &'static [&'static str],
    reason: &'static str,
    next: &'static str,
}

const KNOWN: [Known; 9] = [
    Known {
        signs: &["no space left on device"],
        reason: "the disk is full",
        next: "free disk space, then: dm engine start",
    },
    Known {
        signs: &[
            "process with PID",
            "pid file found, ensure docker is not running",
        ],
        reason: "another dockerd is running",
        next: "show its address: dm engine status",
    },
    Known {
        signs: &[
            "can't initialize iptables table",
            "Failed to initialize nft",
            "iptables not found",
            "iptables failed",
        ],
        reason: "the packet filter is not usable",
        next: "try the older interface: update-alternatives --set iptables /usr/sbin/iptables-legacy",
    },
    Known {
        signs: &[
            "Devices cgroup isn't mounted",
            "cgroup mountpoint does not exist",
            "no cgroup mount found",
        ],
        reason: "control groups are not mounted",
        next: "in a container, start it with --privileged; else mount them: mount -t cgroup2 none /sys/fs/cgroup",
    },
    Known {
        signs: &[
            "Permission Denied",
            "permission denied",
            "operation not permitted",
            "needs to be started with root",
        ],
        reason: "it lacks privileges",
        next: "run it as root: sudo dm engine start (in a container, start that with --privileged)",
    },
    Known {
        signs: &[
            "Pool overlaps with other one",
            "could not find an available, non-overlapping",
        ],
        reason: "its networks collide with others on this machine",
        next: "show the routes: ip route",
    },
    Known {
        signs: &["address already in use"],
        reason: "its socket or port is in use",
        next: "show its address: dm engine status",
    },
    Known {
        signs: &["error initializing graphdriver", "driver not supported"],
        reason: "the file system does not support its storage driver",
        next: "put its data on ext4 or xfs, for example {\"data-root\": …} in /etc/docker/daemon.json",
    },
    Known {
        signs: &[
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
pub(super) fn of_log(path: &Path, offset: u64) -> Diagnosis {
    let text = std::fs::read(path).unwrap_or_default();
    let start = usize::try_from(offset).unwrap_or(0).min(text.len());
    of_text(&String::from_utf8_lossy(&text[start..]))
}

fn of_text(text: &str) -> Diagnosis {
    let lines: Vec<&str> = text.lines().rev().take(LINES).collect();
    let known = KNOWN.iter().find(|known| {
        lines
            .iter()
            .any(|line| known.signs.iter().any(|sign| line.contains(sign)))
    });
    // The newest line that isn't mere information says most.
    let last = lines
        .iter()
        .find(|line| !line.trim().is_empty() && !line.contains("level=info"))
        .or(lines.first());
    match (known, last) {
        (Some(known), Some(last)) => Diagnosis {
            reason: format!("{} ({})", known.reason, message(last)),
            next: Some(known.next.into()),
        },
        (None, Some(last)) => Diagnosis {
            reason: message(last),
            next: None,
        },
        (_, None) => Diagnosis {
            reason: "its log is empty".into(),
            next: None,
        },
    }
}

/// The message of a log line, without its frame.
fn message(line: &str) -> String {
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
        let found = of_text(log);
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
        assert_eq!(of_text(log).reason, "strange \\\"thing\\\"");
        assert_eq!(of_text("").reason, "its log is empty");
    }
}
