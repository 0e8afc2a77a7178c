//! The version and the details that the engine reports.

use bollard::models::{SystemInfo, SystemVersion};
use serde::Serialize;

/// The kind of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// Docker, in any packaging.
    Docker,
    /// Podman, through its Docker-compatible API.
    Podman,
}

impl std::fmt::Display for EngineKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Docker => "Docker",
            Self::Podman => "Podman",
        })
    }
}

/// The version of the engine, from the cheap call of the discovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineVersion {
    /// The kind of engine.
    pub kind: EngineKind,
    /// Its own version, e.g. `28.3.0`.
    pub engine: String,
    /// The newest API version that it supports.
    pub api: String,
    /// The operating system of its containers, e.g. `linux`.
    pub os: String,
    /// The architecture of its containers, in Go's notation, e.g. `amd64`.
    pub arch: String,
}

impl From<SystemVersion> for EngineVersion {
    fn from(version: SystemVersion) -> Self {
        let podman = version
            .components
            .iter()
            .flatten()
            .any(|component| component.name.contains("Podman"));
        Self {
            kind: if podman {
                EngineKind::Podman
            } else {
                EngineKind::Docker
            },
            engine: version.version.unwrap_or_default(),
            api: version.api_version.unwrap_or_default(),
            os: version.os.unwrap_or_default(),
            arch: version.arch.unwrap_or_default(),
        }
    }
}

/// The details of the engine, from a slower call that is made on demand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineInfo {
    /// The directory of images and volumes, in its own file system.
    pub root_dir: String,
    /// The storage driver, e.g. `overlay2`.
    pub storage_driver: String,
    /// The backing file system, if it is reported, e.g. `extfs`.
    pub backing_filesystem: Option<String>,
    /// The version of control groups, `1` or `2`.
    pub cgroup_version: String,
    /// The driver of control groups: `cgroupfs` or `systemd`.
    pub cgroup_driver: String,
    /// Whether it runs without root privileges.
    pub rootless: bool,
    /// The operating system that it runs on, e.g. `Docker Desktop` or `Debian GNU/Linux 12`.
    pub operating_system: String,
    /// The memory of its machine, in bytes.
    pub memory: u64,
    /// The number of processors of its machine.
    pub processors: u64,
    /// The time of its clock, RFC 3339.
    pub time: Option<String>,
    /// The warnings that it reports.
    pub warnings: Vec<String>,
}

impl From<SystemInfo> for EngineInfo {
    fn from(info: SystemInfo) -> Self {
        let backing_filesystem = info
            .driver_status
            .iter()
            .flatten()
            .find(|pair| {
                pair.first()
                    .is_some_and(|name| name == "Backing Filesystem")
            })
            .and_then(|pair| pair.get(1).cloned());
        let has_security_option = |name: &str| {
            info.security_options
                .iter()
                .flatten()
                .any(|option| option == name)
        };
        Self {
            rootless: has_security_option("name=rootless"),
            root_dir: info.docker_root_dir.unwrap_or_default(),
            storage_driver: info.driver.unwrap_or_default(),
            backing_filesystem,
            cgroup_version: info
                .cgroup_version
                .map(|version| version.to_string())
                .unwrap_or_default(),
            cgroup_driver: info
                .cgroup_driver
                .map(|driver| driver.to_string())
                .unwrap_or_default(),
            operating_system: info.operating_system.unwrap_or_default(),
            memory: info
                .mem_total
                .and_then(|bytes| bytes.try_into().ok())
                .unwrap_or(0),
            processors: info
                .ncpu
                .and_then(|count| count.try_into().ok())
                .unwrap_or(0),
            time: info.system_time,
            warnings: info.warnings.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_version_recognises_podman_by_its_component() {
        let text = r#"{"Version":"4.3.1","ApiVersion":"1.41","Os":"linux","Arch":"amd64",
            "Components":[{"Name":"Podman Engine","Version":"4.3.1"},{"Name":"Conmon","Version":"x"}]}"#;
        let version: SystemVersion = serde_json::from_str(text).unwrap();
        let version = EngineVersion::from(version);
        assert_eq!(version.kind, EngineKind::Podman);
        assert_eq!(
            (version.api.as_str(), version.arch.as_str()),
            ("1.41", "amd64")
        );
    }

    #[test]
    fn engine_info_is_read_from_the_answer_of_docker() {
        let text = r#"{"Driver":"overlay2","DriverStatus":[["Backing Filesystem","extfs"]],
            "DockerRootDir":"/var/lib/docker","CgroupDriver":"cgroupfs","CgroupVersion":"1",
            "SecurityOptions":["name=seccomp,profile=default","name=rootless"],
            "MemTotal":1024,"NCPU":2,"Warnings":["no swap limit"]}"#;
        let info: SystemInfo = serde_json::from_str(text).unwrap();
        let engine_info = EngineInfo::from(info);
        assert!(engine_info.rootless);
        assert_eq!(engine_info.backing_filesystem.as_deref(), Some("extfs"));
        assert_eq!(
            (
                engine_info.cgroup_version.as_str(),
                engine_info.cgroup_driver.as_str()
            ),
            ("1", "cgroupfs")
        );
        assert_eq!((engine_info.memory, engine_info.processors), (1024, 2));
        assert_eq!(engine_info.warnings, ["no swap limit"]);
    }
}
