//! Which service manager runs this machine, if any.

use std::path::Path;

/// The service manager in charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceManager {
    /// systemd is process 1.
    Systemd,
    /// OpenRC booted the machine.
    OpenRc,
    /// A System V init is process 1.
    SysV,
    /// None: a container, a CI sandbox, a rescue system.
    None,
}

impl ServiceManager {
    /// Finds out which one is in charge, not which one is merely installed.
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
        // `docker run --init` is called init as well; a real one has runlevels.
        if first.trim_end() == "init" && root.join("etc/inittab").exists() {
            return Self::SysV;
        }
        Self::None
    }

    /// The command line that does `action` (`start`, `stop`) to `service`;
    /// `None` where nobody would obey.
    #[must_use]
    pub fn command(self, action: &str, service: &str) -> Option<Vec<String>> {
        let words: &[&str] = match self {
            Self::Systemd => &["systemctl", action, service],
            Self::OpenRc => &["rc-service", service, action],
            Self::SysV => &["service", service, action],
            Self::None => return None,
        };
        Some(words.iter().map(|word| (*word).to_owned()).collect())
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
    fn the_one_in_charge_is_told_by_what_it_leaves() {
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
        let of = |files: &[&str]| ServiceManager::detect(root(files).path());
        assert_eq!(of(&["run/systemd/system/x"]), ServiceManager::Systemd);
        assert_eq!(of(&["run/openrc/softlevel"]), ServiceManager::OpenRc);
        assert_eq!(
            of(&["proc/1/comm=init\n", "etc/inittab"]),
            ServiceManager::SysV
        );
        assert_eq!(of(&["proc/1/comm=init\n"]), ServiceManager::None);
        assert_eq!(
            of(&["proc/1/comm=bash\n", "etc/init.d/docker"]),
            ServiceManager::None
        );
    }

    #[test]
    fn each_is_spoken_to_in_its_own_way() {
        let shown =
            |init: ServiceManager| init.command("start", "docker").map(|words| words.join(" "));
        assert_eq!(
            shown(ServiceManager::Systemd).unwrap(),
            "systemctl start docker"
        );
        assert_eq!(
            shown(ServiceManager::OpenRc).unwrap(),
            "rc-service docker start"
        );
        assert_eq!(shown(ServiceManager::None), None);
    }
}
