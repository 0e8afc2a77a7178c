//! The machine's service manager, if any.

use std::path::Path;

/// The running service manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceManager {
    /// systemd is process 1.
    Systemd,
    /// OpenRC booted the machine.
    OpenRc,
    /// A System V init is process 1.
    SysV,
    /// No service manager: a container, a CI sandbox or a rescue system.
    None,
}

impl ServiceManager {
    /// Detects the running service manager. An installed one that does not run is ignored.
    #[must_use]
    pub fn current() -> Self {
        Self::detect(Path::new("/"))
    }

    fn detect(root: &Path) -> Self {
        // The same test as sd_booted(3).
        if root.join("run/systemd/system").is_dir() {
            return Self::Systemd;
        }
        if root.join("run/openrc/softlevel").exists() {
            return Self::OpenRc;
        }
        let first = std::fs::read_to_string(root.join("proc/1/comm")).unwrap_or_default();
        // The process of `docker run --init` is called init as well, but has no runlevels.
        if first.trim_end() == "init" && root.join("etc/inittab").exists() {
            return Self::SysV;
        }
        Self::None
    }

    /// Returns the command line for an action (`start`, `stop`) on a service, or `None` if there
    /// is no service manager.
    #[must_use]
    pub fn command(self, action: &str, service: &str) -> Option<Vec<String>> {
        let command: &[&str] = match self {
            Self::Systemd => &["systemctl", action, service],
            Self::OpenRc => &["rc-service", service, action],
            Self::SysV => &["service", service, action],
            Self::None => return None,
        };
        Some(command.iter().map(|part| (*part).to_owned()).collect())
    }
}

impl std::fmt::Display for ServiceManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Systemd => "systemd",
            Self::OpenRc => "OpenRC",
            Self::SysV => "System V init",
            Self::None => "no init system",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detect_identifies_the_running_service_manager_by_its_files() {
        let root = |files: &[&str]| {
            let dir = tempfile::tempdir().unwrap();
            for file in files {
                let (path, text) = file.split_once('=').unwrap_or((file, ""));
                let path = dir.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            dir
        };
        let detect = |files: &[&str]| ServiceManager::detect(root(files).path());
        assert_eq!(detect(&["run/systemd/system/x"]), ServiceManager::Systemd);
        assert_eq!(detect(&["run/openrc/softlevel"]), ServiceManager::OpenRc);
        assert_eq!(
            detect(&["proc/1/comm=init\n", "etc/inittab"]),
            ServiceManager::SysV
        );
        assert_eq!(detect(&["proc/1/comm=init\n"]), ServiceManager::None);
        assert_eq!(
            detect(&["proc/1/comm=bash\n", "etc/init.d/docker"]),
            ServiceManager::None
        );
    }

    #[test]
    fn command_has_the_syntax_of_the_service_manager() {
        let command = |manager: ServiceManager| {
            manager
                .command("start", "docker")
                .map(|parts| parts.join(" "))
        };
        assert_eq!(
            command(ServiceManager::Systemd).unwrap(),
            "systemctl start docker"
        );
        assert_eq!(
            command(ServiceManager::OpenRc).unwrap(),
            "rc-service docker start"
        );
        assert_eq!(command(ServiceManager::None), None);
    }
}
