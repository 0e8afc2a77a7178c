//! The distribution of this machine.

/// The distribution on which `dm` runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// Its name, e.g. `Debian GNU/Linux 12 (bookworm)`.
    pub name: String,
    /// Whether it uses apt. `dm` installs packages with apt only.
    pub has_apt: bool,
}

impl Distribution {
    /// Detects the distribution of this machine.
    #[must_use]
    pub fn current() -> Self {
        let text = ["/etc/os-release", "/usr/lib/os-release"]
            .iter()
            .find_map(|path| std::fs::read_to_string(path).ok());
        match text {
            Some(text) => Self::parse(&text),
            None => Self {
                name: std::env::consts::OS.into(),
                has_apt: false,
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
        let ids = format!(
            "{} {}",
            field("ID").unwrap_or_default(),
            field("ID_LIKE").unwrap_or_default()
        );
        Self {
            name: field("PRETTY_NAME")
                .or_else(|| field("NAME"))
                .unwrap_or_else(|| "this Linux".into()),
            has_apt: ids
                .split_whitespace()
                .any(|id| matches!(id, "debian" | "ubuntu")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distribution_based_on_debian_has_apt() {
        for (text, name, has_apt) in [
            (
                "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"",
                "Debian GNU/Linux 12 (bookworm)",
                true,
            ),
            (
                "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nNAME=Mint",
                "Mint",
                true,
            ),
            (
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nNAME=Rocky",
                "Rocky",
                false,
            ),
            ("ID=nixos\nNAME=NixOS", "NixOS", false),
            ("", "this Linux", false),
        ] {
            let distribution = Distribution::parse(text);
            assert_eq!(
                (distribution.name.as_str(), distribution.has_apt),
                (name, has_apt)
            );
        }
    }
}
