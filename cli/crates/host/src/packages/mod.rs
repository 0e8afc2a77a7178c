//! Installation of the distribution's packages. `dm` installs with apt only, and reports missing
//! programs on other systems.

mod apt;
mod distribution;

use thiserror::Error;
use tokio_util::sync::CancellationToken;

pub use distribution::Distribution;

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;

use super::consent::{Consent, ConsentError, ProposedChange};
use super::privilege::Privilege;
use super::process::find_program;

/// A package and the program by which `dm` detects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package {
    /// The program that the package provides. If it is found, the package is not installed.
    pub program: &'static str,
    /// The name of the package in Debian and distributions based on it.
    pub name: &'static str,
    /// The URL of the installation guide for other systems.
    pub guide_url: Option<&'static str>,
}

impl Package {
    const fn new(program: &'static str, name: &'static str) -> Self {
        Self {
            program,
            name,
            guide_url: None,
        }
    }

    /// The Docker engine.
    pub const DOCKER: Self = Self {
        guide_url: Some("https://docs.docker.com/engine/install/"),
        ..Self::new("dockerd", "docker.io")
    };
    /// The packet filter that the engine drives.
    pub const IPTABLES: Self = Self::new("iptables", "iptables");
    /// docker-compose, with which `dm bench` compares.
    pub const COMPOSE: Self = Self {
        guide_url: Some("https://docs.docker.com/compose/install/"),
        ..Self::new("docker-compose", "docker-compose")
    };
    /// Creates a Debian root file system.
    pub const MMDEBSTRAP: Self = Self::new("mmdebstrap", "mmdebstrap");
    /// Creates a Debian root file system. Older than mmdebstrap.
    pub const DEBOOTSTRAP: Self = Self::new("debootstrap", "debootstrap");
    /// Downloads from Maven repositories.
    pub const MAVEN: Self = Self::new("mvn", "maven");

    /// Returns whether the program is installed.
    #[must_use]
    pub(crate) fn is_installed(&self) -> bool {
        find_program(self.program).is_some()
    }
}

/// The result of [`ensure_installed`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstallReport {
    /// The packages that this call installed.
    pub installed: Vec<String>,
    /// Problems that did not prevent the installation, e.g. a package source that does not
    /// respond.
    pub warnings: Vec<String>,
}

/// An error of installing packages.
#[derive(Debug, Error)]
pub enum PackageError {
    /// There was no consent.
    #[error(transparent)]
    Consent(#[from] ConsentError),
    /// `dm` does not install packages on this system.
    #[error("{} missing, and dm does not install packages on {system}", describe_missing(.programs))]
    Unsupported {
        /// The programs that are missing.
        programs: Vec<String>,
        /// The system's name.
        system: String,
        /// The URLs of installation guides.
        guides: Vec<&'static str>,
    },
    /// Root privileges are not available.
    #[error("could not install {}: root privileges are required", packages.join(" and "))]
    NotRoot {
        /// The packages.
        packages: Vec<String>,
        /// The command to run as root.
        command: String,
    },
    /// The package manager failed.
    #[error("{command} failed: {reason}")]
    Failed {
        /// The command.
        command: String,
        /// The reason, as one sentence.
        reason: String,
        /// The last lines of output, oldest first.
        log: Vec<String>,
    },
    /// The package manager succeeded, but the program is still missing.
    #[error("package {package} was installed, but does not provide {program}")]
    ProgramMissing {
        /// The package.
        package: String,
        /// The program that the package should provide.
        program: String,
    },
    /// The wait was cancelled. The package manager finishes in the background.
    #[error("interrupted while {command} was running; it finishes in the background")]
    Interrupted {
        /// The command that was running.
        command: String,
    },
}

fn describe_missing(programs: &[String]) -> String {
    let verb = if programs.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", programs.join(" and "))
}

impl UserError for PackageError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Consent(error) => error.code(),
            Self::Unsupported { .. } => ErrorCode::PackagesUnsupported,
            Self::NotRoot { .. } => ErrorCode::PackagesNeedRoot,
            Self::Failed { .. } => ErrorCode::PackagesFailed,
            Self::ProgramMissing { .. } => ErrorCode::PackagesProgramMissing,
            Self::Interrupted { .. } => ErrorCode::Interrupted,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Interrupted { .. } => ExitStatus::Interrupted,
            _ => ExitStatus::Engine,
        }
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::Consent(error) => error.suggestions(),
            Self::Unsupported { guides, .. } => {
                let advice = "use the package manager of this system".to_owned();
                let guides = guides.iter().map(|guide| format!("see {guide}"));
                std::iter::once(advice).chain(guides).collect()
            }
            Self::NotRoot { command, .. } => vec![format!("run it yourself: {command}")],
            Self::Failed { command, log, .. } => {
                let mut suggestions: Vec<String> =
                    log.iter().map(|line| format!("output: {line}")).collect();
                suggestions.push(format!("run the command yourself: {command}"));
                suggestions
            }
            Self::ProgramMissing { .. } => vec!["dm doctor".into()],
            Self::Interrupted { .. } => Vec::new(),
        }
    }
}

/// Installs the missing ones of `packages`, with consent. Calls `progress` with each line of
/// output.
///
/// # Errors
/// Returns [`PackageError`] if a package cannot be installed. Its suggestions contain the
/// command to run by hand.
pub async fn ensure_installed(
    packages: &[Package],
    consent: &Consent,
    cancel: &CancellationToken,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<InstallReport, PackageError> {
    let missing: Vec<Package> = packages
        .iter()
        .filter(|package| !package.is_installed())
        .copied()
        .collect();
    if missing.is_empty() {
        return Ok(InstallReport::default());
    }
    let privilege = Privilege::current();
    let distribution = Distribution::current();
    if !distribution.has_apt {
        return Err(PackageError::Unsupported {
            programs: missing
                .iter()
                .map(|package| package.program.into())
                .collect(),
            system: distribution.name,
            guides: missing
                .iter()
                .filter_map(|package| package.guide_url)
                .collect(),
        });
    }
    let names: Vec<String> = missing.iter().map(|package| package.name.into()).collect();
    let command = privilege.format_command(&format!(
        "apt-get install -y --no-install-recommends {}",
        names.join(" ")
    ));
    consent.obtain(&ProposedChange {
        summary: format!("install {}", names.join(" and ")),
        commands: vec![command.clone()],
    })?;
    if !privilege.acquire(consent.is_interactive()).await {
        return Err(PackageError::NotRoot {
            packages: names,
            command,
        });
    }
    let warnings = apt::install(&names, privilege, cancel, progress).await?;
    if let Some(package) = missing.iter().find(|package| !package.is_installed()) {
        return Err(PackageError::ProgramMissing {
            package: package.name.into(),
            program: package.program.into(),
        });
    }
    Ok(InstallReport {
        installed: names,
        warnings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ensure_installed_needs_no_consent_if_the_program_exists() {
        let shell = Package::new("sh", "dash");
        let result = ensure_installed(
            &[shell],
            &Consent::NonInteractive,
            &CancellationToken::new(),
            &|_| {},
        )
        .await;
        assert_eq!(result.unwrap(), InstallReport::default());
    }

    #[tokio::test]
    async fn ensure_installed_fails_without_consent() {
        let missing = Package::new("no-such-program-anywhere", "hello");
        let error = ensure_installed(
            &[missing],
            &Consent::NonInteractive,
            &CancellationToken::new(),
            &|_| {},
        )
        .await
        .unwrap_err();
        assert!(
            error.suggestions()[0].contains("hello"),
            "{:?}",
            error.suggestions()
        );
    }

    /// Changes the machine. Run it by hand, as root on Debian.
    #[tokio::test]
    #[ignore = "installs a package"]
    async fn ensure_installed_installs_a_package_once() {
        let hello = Package::new("hello", "hello");
        let consent = Consent::Granted { by: "the test" };
        let lines = std::sync::Mutex::new(Vec::new());
        let progress = |line: &str| {
            if let Ok(mut lines) = lines.lock() {
                lines.push(line.to_owned());
            }
        };
        let cancel = CancellationToken::new();
        let report = ensure_installed(&[hello], &consent, &cancel, &progress)
            .await
            .unwrap();
        assert_eq!(report.installed, ["hello"], "{lines:?}");
        assert!(!lines.lock().unwrap().is_empty(), "{report:?}");
        let second_report = ensure_installed(&[hello], &consent, &cancel, &progress)
            .await
            .unwrap();
        assert_eq!(second_report, InstallReport::default());
    }

    #[test]
    fn unsupported_system_suggests_installation_guides() {
        let error = PackageError::Unsupported {
            programs: vec!["dockerd".into(), "iptables".into()],
            system: "Rocky Linux 9".into(),
            guides: Package::DOCKER.guide_url.into_iter().collect(),
        };
        insta::assert_snapshot!(format!("{error}\n{}", error.suggestions().join("\n")), @r"
        dockerd and iptables are missing, and dm does not install packages on Rocky Linux 9
        use the package manager of this system
        see https://docs.docker.com/engine/install/
        ");
    }

    #[test]
    fn failed_installation_suggests_output_and_command() {
        let error = PackageError::Failed {
            command: "apt-get install -y maven".into(),
            reason: "the disk is full".into(),
            log: vec!["dpkg: error: no space left".into()],
        };
        insta::assert_snapshot!(format!("{error}\n{}", error.suggestions().join("\n")), @r"
        apt-get install -y maven failed: the disk is full
        output: dpkg: error: no space left
        run the command yourself: apt-get install -y maven
        ");
    }
}
