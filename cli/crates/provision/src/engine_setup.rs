//! Provides an engine: finds one or, with consent, installs and starts one.

use std::process::Stdio;
use std::time::Duration;

use dm_core::error::Error;
use dm_engine::{Engine, EngineError, EngineSettings};
use dm_host::network;
use dm_host::packages::{self, Package};
use dm_host::privilege::Privilege;
use dm_host::process;
use dm_host::service_manager::ServiceManager;
use dm_host::state::StateDir;
use dm_host::{Consent, ProposedChange};
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::daemon::{DaemonOptions, ManagedDaemon, RunningDaemon};

/// How long an engine that a service manager started may take to answer.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The interval at which the engine is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The result of providing an engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SetupReport {
    /// The installed packages.
    pub installed: Vec<String>,
    /// What started the engine, e.g. `systemd`; `None` if it was already running.
    pub started_by: Option<String>,
    /// The process, if `dm` itself runs it.
    pub daemon: Option<RunningDaemon>,
    /// Other changes to the machine, and warnings.
    pub notes: Vec<String>,
}

/// Provides an engine on this machine.
pub struct EngineSetup<'a> {
    /// The engine settings of the configuration.
    pub settings: &'a EngineSettings,
    /// Whether the machine may be changed.
    pub consent: &'a Consent,
    /// The state directory.
    pub state: &'a StateDir,
    /// Cancels all operations.
    pub cancel: &'a CancellationToken,
    /// Receives progress messages of one line.
    pub progress: &'a (dyn Fn(&str) + Sync),
}

impl std::fmt::Debug for EngineSetup<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineSetup")
            .field("settings", self.settings)
            .field("consent", self.consent)
            .finish_non_exhaustive()
    }
}

impl EngineSetup<'_> {
    /// Connects to the engine. If none answers, and the user named none, installs and starts
    /// Docker. An engine that answers is never changed.
    ///
    /// # Errors
    /// Returns [`Error`] if no engine answers and the user did not consent, or if the
    /// installation or the start fails.
    pub async fn ensure_engine(&self) -> Result<(Engine, SetupReport), Error> {
        let error = match Engine::connect(self.settings).await {
            Ok(engine) => return Ok((engine, SetupReport::default())),
            Err(error) => error,
        };
        if !self.is_fixable_by_docker(&error) {
            return Err(error.into());
        }
        let mut report = SetupReport::default();
        self.install_packages(&mut report).await?;
        // The installed package may have started the engine.
        if let Ok(engine) = Engine::connect(self.settings).await {
            report.started_by = Some("its package".into());
            return Ok((engine, report));
        }
        self.start_docker(&mut report).await?;
        let engine = Engine::connect(self.settings).await?;
        Ok((engine, report))
    }

    /// Returns whether starting Docker on this machine fixes the failure: not if the user named
    /// another engine, nor if an engine exists that this user may not use.
    fn is_fixable_by_docker(&self, error: &EngineError) -> bool {
        let EngineError::NotFound { tried, .. } = error else {
            return false;
        };
        let denied = tried.iter().any(|line| line.contains("may not open"));
        let elsewhere = tried.iter().any(|line| line.starts_with("Docker context"))
            || (tried.len() == 1 && !tried[0].starts_with("unix:///var/run/docker.sock"));
        !denied && !elsewhere
    }

    async fn install_packages(&self, report: &mut SetupReport) -> Result<(), Error> {
        if !cfg!(target_os = "linux") {
            return Err(EngineError::Setup {
                action: "start an engine".into(),
                reason: "on this system, engines run in a virtual machine".into(),
                suggestions: vec![
                    "start Docker Desktop, OrbStack, Rancher Desktop or: colima start".into(),
                    "or install one of these programs".into(),
                ],
            }
            .into());
        }
        let installed = packages::ensure_installed(
            &[Package::DOCKER, Package::IPTABLES],
            self.consent,
            self.cancel,
            self.progress,
        )
        .await?;
        report.installed = installed.installed;
        report.notes.extend(installed.warnings);
        Ok(())
    }

    async fn start_docker(&self, report: &mut SetupReport) -> Result<(), Error> {
        let (init, privilege) = (ServiceManager::current(), Privilege::current());
        if let Some(command) = init.command("start", "docker") {
            let shown = privilege.format_command(&command.join(" "));
            self.consent.obtain(&ProposedChange {
                summary: format!("start Docker through {init}"),
                commands: vec![shown.clone()],
            })?;
            if !privilege.acquire(self.consent.is_interactive()).await {
                return Err(needs_root_error(&shown).into());
            }
            (self.progress)(&format!("starting Docker through {init}"));
            run_service_command(privilege, &command).await?;
            self.wait_until_ready().await?;
            report.started_by = Some(init.to_string());
            return Ok(());
        }
        if privilege != Privilege::Root {
            return Err(needs_root_error("sudo dm engine start").into());
        }
        self.consent.obtain(&ProposedChange {
            summary: "start dockerd on this machine, which runs no service manager".into(),
            commands: vec!["dm engine start --yes".into()],
        })?;
        let routes = network::routes().unwrap_or_default();
        let options =
            DaemonOptions::plan(self.state, &routes).ok_or_else(|| EngineError::Setup {
                action: "start dockerd".into(),
                reason: "no private address range is free for its networks".into(),
                suggestions: vec!["show the routes: ip route".into()],
            })?;
        if let Err(loopback) = network::container_resolvers() {
            report.notes.push(format!(
                "containers cannot reach the name server {}, so that the engine uses public ones",
                loopback
                    .first()
                    .map(ToString::to_string)
                    .unwrap_or_default()
            ));
        }
        let daemon = ManagedDaemon::new(self.state.clone());
        let started = daemon.start(&options, self.cancel, self.progress).await?;
        report.notes.extend(started.changes);
        report.started_by = started.fresh.then(|| "dm".to_owned());
        report.daemon = Some(started.running);
        Ok(())
    }

    async fn wait_until_ready(&self) -> Result<(), EngineError> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let error = match Engine::connect(self.settings).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            // The engine runs, but this user may not use it: waiting does not help.
            if !self.is_fixable_by_docker(&error) || Instant::now() >= deadline {
                return Err(error);
            }
            tokio::select! {
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = self.cancel.cancelled() => return Err(error),
            }
        }
    }

    /// Stops the engine that `dm` runs itself or, if `service` is true, the one that the
    /// service manager runs. Returns false if none was running.
    ///
    /// # Errors
    /// Returns [`Error`] if it cannot be stopped, or was not started by `dm`.
    pub async fn stop_engine(&self, service: bool) -> Result<bool, Error> {
        if ManagedDaemon::new(self.state.clone())
            .stop(self.cancel)
            .await?
        {
            return Ok(true);
        }
        let Ok(engine) = Engine::connect(self.settings).await else {
            return Ok(false);
        };
        let (init, privilege) = (ServiceManager::current(), Privilege::current());
        let command = init.command("stop", "docker");
        match (service, command) {
            (true, Some(mut command)) => {
                if init == ServiceManager::Systemd {
                    // The socket unit would start it again at the next call.
                    command.push("docker.socket".into());
                }
                let shown = privilege.format_command(&command.join(" "));
                if !privilege.acquire(self.consent.is_interactive()).await {
                    return Err(needs_root_error(&shown).into());
                }
                run_service_command(privilege, &command).await?;
                Ok(true)
            }
            (_, command) => {
                let mut suggestions = Vec::new();
                if command.is_some() {
                    suggestions
                        .push("stop the engine of this machine: dm engine stop --system".into());
                }
                Err(EngineError::Setup {
                    action: "stop the engine".into(),
                    reason: format!(
                        "the engine at {} was not started by dm",
                        engine.discovery().address
                    ),
                    suggestions,
                }
                .into())
            }
        }
    }
}

fn needs_root_error(command: &str) -> EngineError {
    EngineError::Setup {
        action: "start Docker".into(),
        reason: "root privileges are required".into(),
        suggestions: vec![format!("run it yourself: {command}")],
    }
}

async fn run_service_command(privilege: Privilege, command: &[String]) -> Result<(), EngineError> {
    let action = format!("run {}", command.join(" "));
    let failed = |reason: String| EngineError::Setup {
        action: action.clone(),
        reason,
        suggestions: vec![match process::find_program("journalctl") {
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
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty());
    Err(failed(last.map_or_else(
        || format!("it ended with {}", output.status),
        str::to_owned,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_fixable(tried: &[&str]) -> bool {
        let state_dir = tempfile::tempdir().unwrap();
        let setup = EngineSetup {
            settings: &EngineSettings::default(),
            consent: &Consent::NonInteractive,
            state: &StateDir::open_at(state_dir.path()).unwrap(),
            cancel: &CancellationToken::new(),
            progress: &|_| {},
        };
        setup.is_fixable_by_docker(&EngineError::NotFound {
            tried: tried.iter().map(|line| (*line).to_owned()).collect(),
            suggestions: Vec::new(),
        })
    }

    #[test]
    fn docker_is_started_only_for_missing_default_sockets() {
        let absent = "unix:///var/run/docker.sock: no such socket";
        let podman = "unix:///run/podman/podman.sock: no such socket";
        assert!(is_fixable(&[absent, podman]));
        assert!(is_fixable(&[absent]));
        assert!(!is_fixable(&["tcp://192.0.2.1:2376: connection refused"]));
        assert!(!is_fixable(&["Docker context lab: no such context"]));
        let denied = "unix:///var/run/docker.sock: this user may not open the socket";
        assert!(!is_fixable(&[denied, podman]));
    }
}
