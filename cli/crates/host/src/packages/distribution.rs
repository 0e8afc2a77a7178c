//! Which distribution this is, and how one installs there.

use super::{Package, Privilege};
use crate::process::program;

/// A package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// Debian, Ubuntu and their kin.
    Apt,
    /// Fedora, RHEL and their kin.
    Dnf,
    /// Alpine.
    Apk,
    /// Arch.
    Pacman,
    /// openSUSE.
    Zypper,
    /// Homebrew, on macOS or Linux.
    Brew,
}

/// The system that we run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// What it calls itself, e.g. `Debian GNU/Linux 12 (bookworm)`.
    pub name: String,
    /// Its package manager, where it is one that we know.
    pub manager: Option<Manager>,
}

impl Distribution {
    /// Finds out.
    #[must_use]
    pub fn current() -> Self {
        let text = ["/etc/os-release", "/usr/lib/os-release"]
            .iter()
            .find_map(|path| std::fs::read_to_string(path).ok());
        match text {
            Some(text) => Self::parse(&text),
            None => Self {
                name: std::env::consts::OS.into(),
                manager: program("brew").map(|_| Manager::Brew),
            },
        }
    }

    fn parse(os_release: &str) -> Self {
        let field = |name: &str| {
            os_release
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                .map(|value| value.trim_matches(['"', '\'']).to_owned())
        };
        let kin = format!(
            "{} {}",
            field("ID").unwrap_or_default(),
            field("ID_LIKE").unwrap_or_default()
        );
        let manager = kin.split_whitespace().find_map(|id| match id {
            "debian" | "ubuntu" => Some(Manager::Apt),
            "fedora" | "rhel" | "centos" => Some(Manager::Dnf),
            "alpine" => Some(Manager::Apk),
            "arch" => Some(Manager::Pacman),
            "suse" | "opensuse" => Some(Manager::Zypper),
            _ => None,
        });
        Self {
            name: field("PRETTY_NAME")
                .or_else(|| field("NAME"))
                .unwrap_or_else(|| "this Linux".into()),
            manager,
        }
    }

    /// The command that installs `packages` here.
    #[must_use]
    pub fn install_command(&self, packages: &[Package], privilege: Privilege) -> Option<String> {
        let manager = self.manager?;
        let (verb, name): (_, fn(&Package) -> &str) = match manager {
            Manager::Apt => ("apt-get install -y", |package| package.debian),
            Manager::Dnf => ("dnf install -y", |package| package.fedora),
            Manager::Apk => ("apk add", |package| package.alpine),
            Manager::Pacman => ("pacman -S --needed", |package| package.arch),
            Manager::Zypper => ("zypper install -y", |package| package.suse),
            Manager::Brew => ("brew install", |package| package.brew),
        };
        let names: Vec<&str> = packages.iter().map(name).collect();
        let command = format!("{verb} {}", names.join(" "));
        // Homebrew refuses to run as root.
        Some(if manager == Manager::Brew {
            command
        } else {
            privilege.shown(&command)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_distribution_gets_its_own_command() {
        let packages = [Package::DOCKER, Package::IPTABLES];
        let commands: Vec<String> = [
            "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"",
            "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nNAME=Mint",
            "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nNAME=Rocky",
            "ID=alpine\nNAME=Alpine",
            "ID=arch\nNAME=Arch",
            "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\nNAME=Leap",
            "ID=nixos\nNAME=NixOS",
        ]
        .iter()
        .map(|text| {
            let distribution = Distribution::parse(text);
            let command = distribution.install_command(&packages, Privilege::Sudo);
            format!("{}: {}", distribution.name, command.unwrap_or_default())
        })
        .collect();
        insta::assert_snapshot!(commands.join("\n"), @r"
        Debian GNU/Linux 12 (bookworm): sudo apt-get install -y docker.io iptables
        Mint: sudo apt-get install -y docker.io iptables
        Rocky: sudo dnf install -y moby-engine iptables
        Alpine: sudo apk add docker iptables
        Arch: sudo pacman -S --needed docker iptables
        Leap: sudo zypper install -y docker iptables
        NixOS: 
        ");
    }
}
