//! Commands that run as root, directly or through `sudo`.

use std::process::Stdio;

use tokio::process::Command;

use super::process::find_program;

/// The way to run a command as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// The process runs as root.
    Root,
    /// Through `sudo`.
    Sudo,
    /// The process does not run as root, and there is no `sudo`.
    None,
}

impl Privilege {
    /// Detects the privilege of the current process.
    #[must_use]
    pub fn current() -> Self {
        if rustix::process::geteuid().is_root() {
            Self::Root
        } else if find_program("sudo").is_some() {
            Self::Sudo
        } else {
            Self::None
        }
    }

    /// Returns the command as the user has to type it.
    #[must_use]
    pub fn format_command(self, command: &str) -> String {
        match self {
            Self::Root => command.to_owned(),
            Self::Sudo => format!("sudo {command}"),
            Self::None => format!("su -c '{command}'"),
        }
    }

    /// Prepares for running commands as root: if `interactive` is set, `sudo` asks for the
    /// password now, so that it does not ask later.
    ///
    /// Returns whether commands can run as root.
    pub async fn acquire(self, interactive: bool) -> bool {
        match self {
            Self::Root => true,
            Self::None => false,
            Self::Sudo => {
                let mut sudo = Command::new("sudo");
                if interactive {
                    sudo.arg("-v");
                } else {
                    sudo.args(["-n", "true"])
                        .stdin(Stdio::null())
                        .stdout(Stdio::null())
                        .stderr(Stdio::null());
                }
                sudo.status().await.is_ok_and(|status| status.success())
            }
        }
    }

    /// Returns a command that runs `program` as root with these variables, in its own process
    /// group: a Ctrl-C that ends `dm` must not kill a package manager in the middle. Call
    /// [`Privilege::acquire`] first.
    #[must_use]
    pub fn command(self, program: &str, variables: &[(&str, &str)]) -> Command {
        let mut command = match self {
            Self::Root | Self::None => {
                let mut command = Command::new(program);
                command.envs(variables.iter().copied());
                command
            }
            Self::Sudo => {
                // sudo clears the environment, so the variables are passed as arguments of
                // `env`.
                let mut command = Command::new("sudo");
                command.args(["-n", "env"]);
                for (name, value) in variables {
                    command.arg(format!("{name}={value}"));
                }
                command.arg(program);
                command
            }
        };
        command.process_group(0).stdin(Stdio::null());
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_command_adds_sudo_or_su() {
        assert_eq!(
            Privilege::Root.format_command("apt-get update"),
            "apt-get update"
        );
        assert_eq!(
            Privilege::Sudo.format_command("apt-get update"),
            "sudo apt-get update"
        );
        assert_eq!(
            Privilege::None.format_command("apt-get update"),
            "su -c 'apt-get update'"
        );
    }

    #[test]
    fn command_passes_variables_to_sudo_as_arguments() {
        let command = Privilege::Sudo.command("apt-get", &[("LC_ALL", "C")]);
        let arguments: Vec<_> = command.as_std().get_args().collect();
        assert_eq!(arguments, ["-n", "env", "LC_ALL=C", "apt-get"]);
    }
}
