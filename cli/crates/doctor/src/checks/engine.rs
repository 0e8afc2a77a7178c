//! The engine, its storage and its images.

use std::path::Path;

use dm_core::error::{Coded, Error};
use dm_engine::{Engine, EngineError, Facts, Kind, Version};
use dm_host::resources;

use super::{GIGABYTE, NO_ENGINE, gigabytes};
use crate::{Finding, NeededImage};

/// Below this, building images fails half way.
const DISK_ERROR: u64 = 3 * GIGABYTE;

/// Below this, a few golden images and backups fill the disk.
const DISK_WARNING: u64 = 10 * GIGABYTE;

/// The first version of Docker that keeps to the address of a published port.
const FIRST_CLOSED: u32 = 28;

/// Which engine there is, and why that one.
pub(crate) fn found(connected: &Result<Engine, EngineError>) -> Vec<Finding> {
    match connected {
        Ok(engine) => {
            let (version, found) = (engine.version(), engine.found());
            let mut findings = vec![
                Finding::ok(
                    "engine",
                    format!(
                        "{} {} at {} ({})",
                        version.kind, version.engine, found.address, found.why
                    ),
                ),
                Finding::ok(
                    "engine API",
                    format!(
                        "{}; dm requires {} or later",
                        version.api,
                        dm_engine::find::NEEDED_API
                    ),
                ),
            ];
            findings.extend(published(version));
            findings
        }
        Err(error) => {
            vec![Finding::error("engine", error.to_string(), error.next())]
        }
    }
}

/// Whether ports that are published on the loopback address are for this machine alone.
fn published(version: &Version) -> Option<Finding> {
    let major: u32 = version.engine.split('.').next()?.parse().ok()?;
    (version.kind == Kind::Docker && major < FIRST_CLOSED).then(|| {
        Finding::warning(
            "published ports",
            format!(
                "Docker before {FIRST_CLOSED}.0 lets other machines of the network reach ports \
                 that are published on 127.0.0.1, such as PostgreSQL's (moby 45610)"
            ),
            [
                format!("install Docker {FIRST_CLOSED} or newer"),
                "or drop packets from the network to the address ranges of the engine \
                 with a firewall"
                    .to_owned(),
            ],
        )
    })
}

/// Disk, file system and control groups of the engine.
pub(crate) async fn storage(engine: Option<&Engine>) -> Vec<Finding> {
    let Some(engine) = engine else {
        return vec![Finding::skipped("disk space", NO_ENGINE)];
    };
    let facts = match engine.facts().await {
        Ok(facts) => facts,
        Err(error) => {
            let error = Error::from(error);
            return vec![Finding::error(
                "engine storage",
                error.chain().join(": "),
                ["dm engine status"],
            )];
        }
    };
    let free = if engine.is_local() {
        resources::disk_free(Path::new(&facts.root_dir))
    } else {
        None
    };
    let mut findings = vec![disk(&facts.root_dir, free)];
    findings.extend(setup(facts));
    findings
}

fn disk(root: &str, free: Option<u64>) -> Finding {
    let name = "disk space";
    let Some(free) = free else {
        return Finding::skipped(name, "the disk of the engine is not on this machine");
    };
    let detail = format!("{} free at {root}", gigabytes(free));
    let next = [
        "show the disk usage of the engine: docker system df",
        "remove unused images of dm: dm images prune",
    ];
    if free < DISK_ERROR {
        Finding::error(name, detail, next)
    } else if free < DISK_WARNING {
        Finding::warning(name, detail, next)
    } else {
        Finding::ok(name, detail)
    }
}

/// What makes an engine slow or unreliable for our purposes.
fn setup(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let storage = format!(
        "{}{}",
        facts.storage_driver,
        facts
            .backing_filesystem
            .as_ref()
            .map(|below| format!(" on {below}"))
            .unwrap_or_default()
    );
    findings.push(match facts.storage_driver.as_str() {
        "vfs" => Finding::warning(
            "storage driver",
            format!("{storage} copies every layer in full: builds are slow and fill the disk"),
            ["put the engine's data on ext4 or xfs, so that overlay2 works"],
        ),
        "devicemapper" | "aufs" | "overlay" => Finding::warning(
            "storage driver",
            format!("{storage} is no longer maintained"),
            ["set overlay2 in /etc/docker/daemon.json; images and containers must be created again"],
        ),
        _ => Finding::ok("storage driver", storage),
    });
    findings.push(Finding::ok(
        "control groups",
        format!(
            "version {}, by {}{}",
            facts.cgroup_version,
            facts.cgroup_driver,
            if facts.rootless { ", rootless" } else { "" }
        ),
    ));
    if facts.rootless && facts.cgroup_version == "1" {
        findings.push(Finding::warning(
            "rootless limits",
            "a rootless engine cannot limit memory with control groups of version 1",
            ["boot with systemd.unified_cgroup_hierarchy=1"],
        ));
    }
    let memory = facts
        .warnings
        .iter()
        .find(|line| line.contains("No memory limit"));
    if let Some(line) = memory {
        findings.push(Finding::warning(
            "memory limits",
            line.trim_start_matches("WARNING: "),
            ["mount the memory control group, so that the memory limits of components are enforced"],
        ));
    }
    findings
}

/// Whether the images are there.
pub(crate) async fn images(engine: Option<&Engine>, needed: &[NeededImage]) -> Vec<Finding> {
    let name = "images";
    let Some(engine) = engine else {
        return vec![Finding::skipped(name, NO_ENGINE)];
    };
    if needed.is_empty() {
        return Vec::new();
    }
    let mut missing = Vec::new();
    for image in needed {
        match is_present(engine, image).await {
            Ok(true) => {}
            Ok(false) => missing.push(image.name.as_str()),
            Err(error) => {
                let error = Error::from(error);
                return vec![Finding::warning(
                    name,
                    error.chain().join(": "),
                    ["dm engine status"],
                )];
            }
        }
    }
    vec![present(needed.len(), &missing)]
}

async fn is_present(engine: &Engine, image: &NeededImage) -> Result<bool, EngineError> {
    for reference in &image.references {
        if engine.image(reference).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Images that are missing are no fault: `dm up` gets them. It only takes time.
fn present(needed: usize, missing: &[&str]) -> Finding {
    if missing.is_empty() {
        return Finding::ok("images", format!("all {needed} present"));
    }
    Finding {
        next: vec!["obtain the images beforehand: dm images build".into()],
        ..Finding::ok(
            "images",
            format!(
                "{} of {needed} present; dm up obtains the others: {}",
                needed - missing.len(),
                missing.join(", ")
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;

    #[test]
    fn little_disk_is_a_warning_and_less_an_error() {
        let status = |free| disk("/var/lib/docker", free).status;
        assert_eq!(status(Some(20 * GIGABYTE)), Status::Ok);
        assert_eq!(status(Some(9_999_999_999)), Status::Warning);
        assert_eq!(status(Some(2_999_999_999)), Status::Error);
        assert_eq!(status(None), Status::Skipped);
    }

    #[test]
    fn an_engine_whose_ports_neighbours_reach_is_warned_of() {
        let of = |kind, engine: &str| {
            published(&Version {
                kind,
                engine: engine.into(),
                api: "1.41".into(),
                os: "linux".into(),
                arch: "amd64".into(),
            })
            .map(|finding| finding.status)
        };
        assert_eq!(of(Kind::Docker, "26.1.5+dfsg1"), Some(Status::Warning));
        assert_eq!(of(Kind::Docker, "28.0.0"), None);
        assert_eq!(of(Kind::Podman, "4.3.1"), None);
        assert_eq!(of(Kind::Docker, "unknown"), None);
    }

    #[test]
    fn missing_images_are_named() {
        assert_eq!(present(4, &[]).detail, "all 4 present");
        let some = present(4, &["keycloak", "openldap"]);
        assert_eq!(some.status, Status::Ok);
        assert_eq!(
            some.detail,
            "2 of 4 present; dm up obtains the others: keycloak, openldap"
        );
    }
}
