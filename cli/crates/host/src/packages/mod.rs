//! Programs that the distribution provides: installed by apt, and asked for elsewhere.

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

/// Something to install: the program that shows it is there, and the package that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package {
    /// The program that it provides; where that is found, nothing is done.
    pub program: &'static str,
    /// Its name at Debian and its kin.
    pub name: &'static str,
    /// What to read where `dm` does not install it.
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
    /// What `dm bench` compares with.
    pub const COMPOSE: Self = Self {
        guide_url: Some("https://docs.docker.com/compose/install/"),
        ..Self::new("docker-compose", "docker-compose")
    };
    /// Makes a Debian root file system.
    pub const MMDEBSTRAP: Self = Self::new("mmdebstrap", "mmdebstrap");
    /// Makes a Debian root file system, the older way.
    pub const DEBOOTSTRAP: Self = Self::new("debootstrap", "debootstrap");
    /// Fetches from Maven repositories.
    pub const MAVEN: Self = Self::new("mvn", "maven");

    /// Whether its program is there.
    #[must_use]
    pub(crate) fn is_installed(&self) -> bool {
        find_program(self.program).is_some()
    }
}

/// What [`ensure`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstallReport {
    /// Packages that were installed now.
    pub installed: Vec<String>,
    /// Things that did not keep it from succeeding, but that somebody should
    /// look at, e.g. a package source that doesn't answer.
    pub warnings: Vec<String>,
}

/// Why packages could not be installed.
#[derive(Debug, Error)]
pub enum PackageError {
    /// Nobody consented.
    #[error(transparent)]
    Consent(#[from] ConsentError),
    /// `dm` doesn't install on this system by itself.
    #[error("{} missing, and dm does not install packages on {system}", describe_missing(.programs))]
    Unsupported {
        /// The programs that are missing.
        programs: Vec<String>,
        /// The system's name.
        system: String,
        /// What to read about installing them.
        guides: Vec<&'static str>,
    },
    /// Root's rights could not be had.
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
        /// What was run.
        command: String,
        /// Why it failed, in one sentence.
        reason: String,
        /// The last lines that it wrote, oldest first.
        log: Vec<String>,
    },
    /// It succeeded, and the program still isn't there.
    #[error("package {package} was installed, but does not provide {program}")]
    ProgramMissing {
        /// The package.
        package: String,
        /// The program that it should have brought.
        program: String,
    },
    /// The wait was cancelled. What the package manager had begun, it finishes.
    #[error("interrupted while {command} was running; it finishes in the background")]
    Interrupted {
        /// What was being run.
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
                let own = "use the package manager of this system".to_owned();
                let guides = guides.iter().map(|guide| format!("see {guide}"));
                std::iter::once(own).chain(guides).collect()
            }
            Self::NotRoot { command, .. } => vec![format!("run it yourself: {command}")],
            Self::Failed { command, log, .. } => {
                let mut next: Vec<String> =
                    log.iter().map(|line| format!("output: {line}")).collect();
                next.push(format!("run the command yourself: {command}"));
                next
            }
            Self::ProgramMissing { .. } => vec!["dm doctor".into()],
            Self::Interrupted { .. } => Vec::new(),
        }
    }
}

/// Makes sure that `packages` are there, installing what is missing with
/// consent. `progress` is told one line at a time what goes on.
///
/// # Errors
/// [`PackageError`]; it always says which command to run by hand.
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
    async fn what_is_there_needs_neither_consent_nor_root() {
        let shell = Package::new("sh", "dash");
        let done = ensure_installed(
            &[shell],
            &Consent::NonInteractive,
            &CancellationToken::new(),
            &|_| {},
        )
        .await;
        assert_eq!(done.unwrap(), InstallReport::default());
    }

    #[tokio::test]
    async fn what_is_missing_is_not_installed_without_consent() {
        let absent = Package::new("no-such-program-anywhere", "hello");
        let error = ensure_installed(
            &[absent],
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

    /// Changes the machine: by hand, as root on Debian.
    #[tokio::test]
    #[ignore = "installs a package"]
    async fn a_package_is_installed_and_once_only() {
        let hello = Package::new("hello", "hello");
        let consent = Consent::Granted { by: "the test" };
        let lines = std::sync::Mutex::new(Vec::new());
        let progress = |line: &str| {
            if let Ok(mut lines) = lines.lock() {
                lines.push(line.to_owned());
            }
        };
        let cancel = CancellationToken::new();
        let done = ensure_installed(&[hello], &consent, &cancel, &progress)
            .await
            .unwrap();
        assert_eq!(done.installed, ["hello"]);
        assert!(!lines.lock().unwrap().is_empty());
        println!("{done:?}\n{}", lines.lock().unwrap().join("\n"));
        let again = ensure_installed(&[hello], &consent, &cancel, &progress)
            .await
            .unwrap();
        assert_eq!(again, InstallReport::default());
    }

    #[test]
    fn where_dm_does_not_install_it_says_what_to_read() {
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
    fn a_failure_shows_what_the_package_manager_said() {
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
