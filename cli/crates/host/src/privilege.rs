//! Running commands as root: directly, or through `sudo`.

use std::process::Stdio;

use tokio::process::Command;

use super::process::find_program;

/// By what right a command that needs root is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// We are root.
    Root,
    /// Through `sudo`.
    Sudo,
    /// We are not, and there is no `sudo`.
    None,
}

impl Privilege {
    /// What this process has.
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

    /// `command` as a person would have to type it.
    #[must_use]
    pub fn format_command(self, command: &str) -> String {
        match self {
            Self::Root => command.to_owned(),
            Self::Sudo => format!("sudo {command}"),
            Self::None => format!("su -c '{command}'"),
        }
    }

    /// Makes sure that root commands can run from here on without asking for a
    /// password in the middle: where a person is there, `sudo` asks now.
    ///
    /// False where it can't be had.
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

    /// The command that runs `program` as root with these variables set, in a
    /// process group of its own: a Ctrl-C that ends `dm` must not end a package
    /// manager half way. Call [`Privilege::acquire`] first.
    #[must_use]
    pub fn command(self, program: &str, variables: &[(&str, &str)]) -> Command {
        let mut command = match self {
            Self::Root | Self::None => {
                let mut command = Command::new(program);
                command.envs(variables.iter().copied());
                command
            }
            Self::Sudo => {
                // sudo clears the environment, so the variables travel as
                // arguments of `env`.
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
    fn a_command_is_shown_as_this_user_would_type_it() {
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
    fn sudo_is_given_the_variables_as_arguments() {
        let command = Privilege::Sudo.command("apt-get", &[("LC_ALL", "C")]);
        let arguments: Vec<_> = command.as_std().get_args().collect();
        assert_eq!(arguments, ["-n", "env", "LC_ALL=C", "apt-get"]);
    }
}
