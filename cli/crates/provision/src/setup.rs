//! Having an engine: finding one, or, with consent, installing and starting
//! one.

use std::process::Stdio;
use std::time::Duration;

use dm_core::error::Error;
use dm_engine::{Engine, EngineError, EngineSettings};
use dm_host::init::Init;
use dm_host::network;
use dm_host::packages::{self, Package};
use dm_host::privilege::Privilege;
use dm_host::process;
use dm_host::state::StateDir;
use dm_host::{Consent, Proposal};
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::daemon::{Daemon, DaemonOptions, Running};

/// How long a service manager's engine may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked at again.
const POLL: Duration = Duration::from_millis(50);

/// What it took to have an engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Packages that were installed.
    pub installed: Vec<String>,
    /// By whom it was started, e.g. `systemd`; `None` if it ran already.
    pub started_by: Option<String>,
    /// The process, where `dm` itself runs it.
    pub daemon: Option<Running>,
    /// What else changed on the machine, and what somebody should look at.
    pub notes: Vec<String>,
}

/// What setting up needs from its caller.
pub struct Setup<'a> {
    /// What the configuration says of the engine.
    pub settings: &'a EngineSettings,
    /// Whether the machine may be changed.
    pub consent: &'a Consent,
    /// Where the state lies.
    pub state: &'a StateDir,
    /// Ends the wait.
    pub cancel: &'a CancellationToken,
    /// Told one line at a time what goes on.
    pub progress: &'a (dyn Fn(&str) + Sync),
}

impl std::fmt::Debug for Setup<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup")
            .field("settings", self.settings)
            .field("consent", self.consent)
            .finish_non_exhaustive()
    }
}

impl Setup<'_> {
    /// Connects to the engine; where none answers, and none was named that
    /// should have, installs and starts one. An engine that answers is never
    /// touched.
    ///
    /// # Errors
    /// [`Error`]: no engine and no consent, or what went wrong on the way.
    pub async fn ensure(&self) -> Result<(Engine, Outcome), Error> {
        let error = match Engine::connect(self.settings).await {
            Ok(engine) => return Ok((engine, Outcome::default())),
            Err(error) => error,
        };
        if !self.may_help(&error) {
            return Err(error.into());
        }
        let mut outcome = Outcome::default();
        self.install(&mut outcome).await?;
        // An installed package may have started it by itself.
        if let Ok(engine) = Engine::connect(self.settings).await {
            outcome.started_by = Some("its package".into());
            return Ok((engine, outcome));
        }
        self.start(&mut outcome).await?;
        let engine = Engine::connect(self.settings).await?;
        Ok((engine, outcome))
    }

    /// Whether starting Docker on this machine answers the failure: not where
    /// another engine was named, nor where one is there that this user may not
    /// use.
    fn may_help(&self, error: &EngineError) -> bool {
        let EngineError::NotFound { tried, .. } = error else {
            return false;
        };
        let denied = tried.iter().any(|line| line.contains("may not open"));
        let elsewhere = tried.iter().any(|line| line.starts_with("Docker context"))
            || (tried.len() == 1 && !tried[0].starts_with("unix:///var/run/docker.sock"));
        !denied && !elsewhere
    }

    async fn install(&self, outcome: &mut Outcome) -> Result<(), Error> {
        if !cfg!(target_os = "linux") {
            return Err(EngineError::Setup {
                doing: "start an engine".into(),
                reason: "on this system, engines run in a virtual machine".into(),
                next: vec![
                    "start Docker Desktop, OrbStack, Rancher Desktop or: colima start".into(),
                    "or install one of these programs".into(),
                ],
            }
            .into());
        }
        let installed = packages::ensure(
            &[Package::DOCKER, Package::IPTABLES],
            self.consent,
            self.cancel,
            self.progress,
        )
        .await?;
        outcome.installed = installed.added;
        outcome.notes.extend(installed.warnings);
        Ok(())
    }

    async fn start(&self, outcome: &mut Outcome) -> Result<(), Error> {
        let (init, privilege) = (Init::current(), Privilege::current());
        if let Some(command) = init.command("start", "docker") {
            let shown = privilege.shown(&command.join(" "));
            self.consent.obtain(&Proposal {
                what: format!("start Docker through {init}"),
                commands: vec![shown.clone()],
            })?;
            if !privilege.acquire(self.consent.is_interactive()).await {
                return Err(needs_root(&shown).into());
            }
            (self.progress)(&format!("starting Docker through {init}"));
            run_service(privilege, &command).await?;
            self.wait().await?;
            outcome.started_by = Some(init.to_string());
            return Ok(());
        }
        if privilege != Privilege::Root {
            return Err(needs_root("sudo dm engine start").into());
        }
        self.consent.obtain(&Proposal {
            what: "start dockerd on this machine, which runs no service manager".into(),
            commands: vec!["dm engine start --yes".into()],
        })?;
        let routes = network::routes().unwrap_or_default();
        let options =
            DaemonOptions::plan(self.state, &routes).ok_or_else(|| EngineError::Setup {
                doing: "start dockerd".into(),
                reason: "no private address range is free for its networks".into(),
                next: vec!["show the routes: ip route".into()],
            })?;
        if let Err(loopback) = network::container_resolvers() {
            outcome.notes.push(format!(
                "containers cannot reach the name server {}, so that the engine uses public ones",
                loopback
                    .first()
                    .map(ToString::to_string)
                    .unwrap_or_default()
            ));
        }
        let daemon = Daemon::new(self.state.clone());
        let started = daemon.start(&options, self.cancel, self.progress).await?;
        outcome.notes.extend(started.changes);
        outcome.started_by = started.fresh.then(|| "dm".to_owned());
        outcome.daemon = Some(started.running);
        Ok(())
    }

    async fn wait(&self) -> Result<(), EngineError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let error = match Engine::connect(self.settings).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            // It runs, and this user may not use it: no waiting helps.
            if !self.may_help(&error) || Instant::now() >= deadline {
                return Err(error);
            }
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                () = self.cancel.cancelled() => return Err(error),
            }
        }
    }

    /// Stops the engine that `dm` runs itself, or, where `service` is true,
    /// the one that the service manager runs. False if there was none.
    ///
    /// # Errors
    /// [`Error`] when it can't be stopped, or isn't `dm`'s to stop.
    pub async fn stop(&self, service: bool) -> Result<bool, Error> {
        if Daemon::new(self.state.clone()).stop(self.cancel).await? {
            return Ok(true);
        }
        let Ok(engine) = Engine::connect(self.settings).await else {
            return Ok(false);
        };
        let (init, privilege) = (Init::current(), Privilege::current());
        let command = init.command("stop", "docker");
        match (service, command) {
            (true, Some(mut command)) => {
                if init == Init::Systemd {
                    // The socket unit would start it again at the next call.
                    command.push("docker.socket".into());
                }
                let shown = privilege.shown(&command.join(" "));
                if !privilege.acquire(self.consent.is_interactive()).await {
                    return Err(needs_root(&shown).into());
                }
                run_service(privilege, &command).await?;
                Ok(true)
            }
            (_, command) => {
                let mut next = Vec::new();
                if command.is_some() {
                    next.push("stop the engine of this machine: dm engine stop --system".into());
                }
                Err(EngineError::Setup {
                    doing: "stop the engine".into(),
                    reason: format!(
                        "the engine at {} was not started by dm",
                        engine.found().address
                    ),
                    next,
                }
                .into())
            }
        }
    }
}

fn needs_root(command: &str) -> EngineError {
    EngineError::Setup {
        doing: "start Docker".into(),
        reason: "root privileges are required".into(),
        next: vec![format!("run it yourself: {command}")],
    }
}

async fn run_service(privilege: Privilege, command: &[String]) -> Result<(), EngineError> {
    let doing = format!("run {}", command.join(" "));
    let failed = |reason: String| EngineError::Setup {
        doing: doing.clone(),
        reason,
        next: vec![match process::program("journalctl") {
            Some(_) => "read its log: journalctl -u docker -n 50 --no-pager".into(),
            None => "read its log: tail -n 50 /var/log/docker.log".to_owned(),
        }],
    };
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| failed("nothing to run".into()))?;
    let output = privilege
        .command(program, &[("LC_ALL", "C")])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .await
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    Err(failed(last.map_or_else(
        || format!("it ended with {}", output.status),
        str::to_owned,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_help(tried: &[&str]) -> bool {
        let state_dir = tempfile::tempdir().unwrap();
        let setup = Setup {
            settings: &EngineSettings::default(),
            consent: &Consent::Missing,
            state: &StateDir::at(state_dir.path()).unwrap(),
            cancel: &CancellationToken::new(),
            progress: &|_| {},
        };
        setup.may_help(&EngineError::NotFound {
            tried: tried.iter().map(|line| (*line).to_owned()).collect(),
            next: Vec::new(),
        })
    }

    #[test]
    fn docker_is_started_only_where_that_answers_the_failure() {
        let absent = "unix:///var/run/docker.sock: no such socket";
        let podman = "unix:///run/podman/podman.sock: no such socket";
        assert!(may_help(&[absent, podman]));
        assert!(may_help(&[absent]));
        assert!(!may_help(&["tcp://192.0.2.1:2376: connection refused"]));
        assert!(!may_help(&["Docker context lab: no such context"]));
        let denied = "unix:///var/run/docker.sock: this user may not open the socket";
        assert!(!may_help(&[denied, podman]));
    }
}
