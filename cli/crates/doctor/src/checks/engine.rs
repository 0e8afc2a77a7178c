//! Checks of the engine, its storage and its images.

use std::path::Path;

use dm_core::error::{Error, UserError};
use dm_engine::{Engine, EngineError, EngineInfo, EngineKind, EngineVersion};
use dm_host::resources;

use super::{GIGABYTE, NO_ENGINE, format_gigabytes};
use crate::{DoctorFinding, RequiredImage};

/// Below this free space, image builds fail.
const DISK_ERROR_BYTES: u64 = 3 * GIGABYTE;

/// Below this free space, a few golden images and backups fill the disk.
const DISK_WARNING_BYTES: u64 = 10 * GIGABYTE;

/// The first major version of Docker that enforces the address of a published port.
const FIRST_LOOPBACK_SAFE_DOCKER: u32 = 28;

/// Reports the engine and why it was chosen.
pub(crate) fn check_connection(connected: &Result<Engine, EngineError>) -> Vec<DoctorFinding> {
    match connected {
        Ok(engine) => {
            let (version, discovery) = (engine.version(), engine.discovery());
            let mut findings = vec![
                DoctorFinding::ok(
                    "engine",
                    format!(
                        "{} {} at {} ({})",
                        version.kind, version.engine, discovery.address, discovery.reason
                    ),
                ),
                DoctorFinding::ok(
                    "engine API",
                    format!(
                        "{}; dm requires {} or later",
                        version.api,
                        dm_engine::discovery::MIN_API_VERSION
                    ),
                ),
            ];
            findings.extend(published_ports_finding(version));
            findings
        }
        Err(error) => {
            vec![DoctorFinding::error(
                "engine",
                error.to_string(),
                error.suggestions(),
            )]
        }
    }
}

/// Checks that ports published on the loopback address are not reachable from other machines.
fn published_ports_finding(version: &EngineVersion) -> Option<DoctorFinding> {
    let major: u32 = version.engine.split('.').next()?.parse().ok()?;
    (version.kind == EngineKind::Docker && major < FIRST_LOOPBACK_SAFE_DOCKER).then(|| {
        DoctorFinding::warning(
            "published ports",
            format!(
                "Docker before {FIRST_LOOPBACK_SAFE_DOCKER}.0 lets other machines of the network reach ports \
                 that are published on 127.0.0.1, such as PostgreSQL's (moby 45610)"
            ),
            [
                format!("install Docker {FIRST_LOOPBACK_SAFE_DOCKER} or newer"),
                "or drop packets from the network to the address ranges of the engine \
                 with a firewall"
                    .to_owned(),
            ],
        )
    })
}

/// Checks disk, file system and control groups of the engine.
pub(crate) async fn check_storage(engine: Option<&Engine>) -> Vec<DoctorFinding> {
    let Some(engine) = engine else {
        return vec![DoctorFinding::skipped("disk space", NO_ENGINE)];
    };
    let info = match engine.info().await {
        Ok(info) => info,
        Err(error) => {
            let error = Error::from(error);
            return vec![DoctorFinding::error(
                "engine storage",
                error.error_chain().join(": "),
                ["dm engine status"],
            )];
        }
    };
    let free = if engine.is_local() {
        resources::free_disk_space(Path::new(&info.root_dir))
    } else {
        None
    };
    let mut findings = vec![disk_space_finding(&info.root_dir, free)];
    findings.extend(configuration_findings(info));
    findings
}

fn disk_space_finding(root: &str, free: Option<u64>) -> DoctorFinding {
    let name = "disk space";
    let Some(free) = free else {
        return DoctorFinding::skipped(name, "the disk of the engine is not on this machine");
    };
    let detail = format!("{} free at {root}", format_gigabytes(free));
    let suggestions = [
        "show the disk usage of the engine: docker system df",
        "remove unused images of dm: dm images prune",
    ];
    if free < DISK_ERROR_BYTES {
        DoctorFinding::error(name, detail, suggestions)
    } else if free < DISK_WARNING_BYTES {
        DoctorFinding::warning(name, detail, suggestions)
    } else {
        DoctorFinding::ok(name, detail)
    }
}

/// Checks the configuration of the engine for settings that are slow or unreliable.
fn configuration_findings(info: &EngineInfo) -> Vec<DoctorFinding> {
    let mut findings = Vec::new();
    let storage = format!(
        "{}{}",
        info.storage_driver,
        info.backing_filesystem
            .as_ref()
            .map(|filesystem| format!(" on {filesystem}"))
            .unwrap_or_default()
    );
    findings.push(match info.storage_driver.as_str() {
        "vfs" => DoctorFinding::warning(
            "storage driver",
            format!("{storage} copies every layer in full: builds are slow and fill the disk"),
            ["put the engine's data on ext4 or xfs, so that overlay2 works"],
        ),
        "devicemapper" | "aufs" | "overlay" => DoctorFinding::warning(
            "storage driver",
            format!("{storage} is no longer maintained"),
            ["set overlay2 in /etc/docker/daemon.json; images and containers must be created again"],
        ),
        _ => DoctorFinding::ok("storage driver", storage),
    });
    findings.push(DoctorFinding::ok(
        "control groups",
        format!(
            "version {}, by {}{}",
            info.cgroup_version,
            info.cgroup_driver,
            if info.rootless { ", rootless" } else { "" }
        ),
    ));
    if info.rootless && info.cgroup_version == "1" {
        findings.push(DoctorFinding::warning(
            "rootless limits",
            "a rootless engine cannot limit memory with control groups of version 1",
            ["boot with systemd.unified_cgroup_hierarchy=1"],
        ));
    }
    let memory = info
        .warnings
        .iter()
        .find(|line| line.contains("No memory limit"));
    if let Some(line) = memory {
        findings.push(DoctorFinding::warning(
            "memory limits",
            line.trim_start_matches("WARNING: "),
            ["mount the memory control group, so that the memory limits of components are enforced"],
        ));
    }
    findings
}

/// Checks whether the images are present.
pub(crate) async fn check_images(
    engine: Option<&Engine>,
    required: &[RequiredImage],
) -> Vec<DoctorFinding> {
    let name = "images";
    let Some(engine) = engine else {
        return vec![DoctorFinding::skipped(name, NO_ENGINE)];
    };
    if required.is_empty() {
        return Vec::new();
    }
    let mut missing = Vec::new();
    for image in required {
        match is_image_present(engine, image).await {
            Ok(true) => {}
            Ok(false) => missing.push(image.name.as_str()),
            Err(error) => {
                let error = Error::from(error);
                return vec![DoctorFinding::warning(
                    name,
                    error.error_chain().join(": "),
                    ["dm engine status"],
                )];
            }
        }
    }
    vec![images_finding(required.len(), &missing)]
}

async fn is_image_present(engine: &Engine, image: &RequiredImage) -> Result<bool, EngineError> {
    for reference in &image.references {
        if engine.inspect_image(reference).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Missing images are not an error: `dm up` obtains them. It only takes time.
fn images_finding(required: usize, missing: &[&str]) -> DoctorFinding {
    if missing.is_empty() {
        return DoctorFinding::ok("images", format!("all {required} present"));
    }
    DoctorFinding {
        next: vec!["obtain the images beforehand: dm images build".into()],
        ..DoctorFinding::ok(
            "images",
            format!(
                "{} of {required} present; dm up obtains the others: {}",
                required - missing.len(),
                missing.join(", ")
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CheckStatus;

    #[test]
    fn low_disk_space_is_a_warning_then_an_error() {
        let status = |free| disk_space_finding("/var/lib/docker", free).status;
        assert_eq!(status(Some(20 * GIGABYTE)), CheckStatus::Ok);
        assert_eq!(status(Some(9_999_999_999)), CheckStatus::Warning);
        assert_eq!(status(Some(2_999_999_999)), CheckStatus::Error);
        assert_eq!(status(None), CheckStatus::Skipped);
    }

    #[test]
    fn docker_before_28_is_a_warning_about_published_ports() {
        let status = |kind, engine: &str| {
            published_ports_finding(&EngineVersion {
                kind,
                engine: engine.into(),
                api: "1.41".into(),
                os: "linux".into(),
                arch: "amd64".into(),
            })
            .map(|finding| finding.status)
        };
        assert_eq!(
            status(EngineKind::Docker, "26.1.5+dfsg1"),
            Some(CheckStatus::Warning)
        );
        assert_eq!(status(EngineKind::Docker, "28.0.0"), None);
        assert_eq!(status(EngineKind::Podman, "4.3.1"), None);
        assert_eq!(status(EngineKind::Docker, "unknown"), None);
    }

    #[test]
    fn images_finding_names_missing_images() {
        assert_eq!(images_finding(4, &[]).detail, "all 4 present");
        let finding = images_finding(4, &["keycloak", "openldap"]);
        assert_eq!(finding.status, CheckStatus::Ok);
        assert_eq!(
            finding.detail,
            "2 of 4 present; dm up obtains the others: keycloak, openldap"
        );
    }
}
