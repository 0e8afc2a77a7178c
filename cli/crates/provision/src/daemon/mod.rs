//! A `dockerd` that `dm` runs itself on a machine without a service manager.
//!
//! The process is recorded before it is started, and has a unique label on its
//! command line. If `dm` is killed at any time, there is either no `dockerd`, or
//! one that the next `dm` finds and can stop, and it is never confused with
//! another one.

mod diagnosis;
mod options;

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use options::DaemonOptions;

use dm_engine::{Engine, EngineError, EngineSettings};
use dm_host::network::{self, IpRoute};
use dm_host::process::{self, TaggedProcess};
use dm_host::state::StateDir;

/// The file with the record of a `dockerd` that `dm` started.
const RECORD_FILE: &str = "dockerd.json";

/// The name of the label that identifies it by its command line.
const MARK_LABEL: &str = "com.dundermifflin.dm.daemon";

/// The interval at which a state is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// How long a start may take; the first start on a slow disk creates many files.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a stop may take: containers have 15 s to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// The size in bytes above which a log is rotated at the next start.
const MAX_LOG_BYTES: u64 = 16 << 20;

/// The environment variables that `dockerd` inherits: none that are meant only for `dm`,
/// above all no secrets.
const INHERITED_ENV: [&str; 10] = [
    "HOME",
    "LANG",
    "TMPDIR",
    "DOCKER_TMPDIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// The record of a `dockerd` that `dm` started, or was about to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct DaemonRecord {
    mark: String,
    options: DaemonOptions,
}

impl DaemonRecord {
    fn find_dockerd(&self) -> Option<TaggedProcess> {
        TaggedProcess::find("dockerd", &self.mark)
    }

    /// Finds its containerd, which may outlive a killed `dockerd`.
    fn find_containerd(&self) -> Option<TaggedProcess> {
        find_containerd(&self.options)
    }
}

fn find_containerd(options: &DaemonOptions) -> Option<TaggedProcess> {
    TaggedProcess::find("containerd", &options.containerd_config())
}

/// A running `dockerd` that `dm` started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunningDaemon {
    /// Its process id.
    pub pid: u32,
    /// Its address, as in `DOCKER_HOST`.
    pub address: String,
    /// Its log.
    pub log: PathBuf,
}

/// The result of starting a daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DaemonStart {
    /// The running daemon.
    pub running: RunningDaemon,
    /// False if it was already running.
    pub fresh: bool,
    /// Other changes to this machine, in sentences.
    pub changes: Vec<String>,
}

/// The daemon that `dm` runs itself, one per state directory.
#[derive(Debug, Clone)]
pub struct ManagedDaemon {
    state: StateDir,
}

fn setup_error(action: &str, reason: impl Into<String>, suggestions: Vec<String>) -> EngineError {
    EngineError::Setup {
        action: action.into(),
        reason: reason.into(),
        suggestions,
    }
}

/// Returns a function for `map_err` that wraps an error of a file or process.
fn system_error(action: &'static str) -> impl Fn(io::Error) -> EngineError {
    move |error| setup_error(action, error.to_string(), vec!["dm doctor".into()])
}

fn state_error(error: impl dm_core::error::UserError) -> EngineError {
    setup_error("record the engine", error.to_string(), error.suggestions())
}

impl ManagedDaemon {
    /// Creates the daemon whose record is in `state`.
    #[must_use]
    pub const fn new(state: StateDir) -> Self {
        Self { state }
    }

    fn load_record(&self) -> Result<Option<DaemonRecord>, EngineError> {
        self.state.read(RECORD_FILE).map_err(state_error)
    }

    /// Returns the `dockerd` that `dm` started, if it is running.
    ///
    /// # Errors
    /// Returns [`EngineError::Setup`] if the record cannot be read.
    pub fn running(&self) -> Result<Option<RunningDaemon>, EngineError> {
        let record = self.load_record()?;
        Ok(record.and_then(|record| {
            let process = record.find_dockerd()?;
            Some(RunningDaemon {
                pid: process.pid,
                address: record.options.address(),
                log: record.options.log,
            })
        }))
    }

    /// Starts `dockerd` with these options and waits until it answers. If a recorded one is
    /// already running, returns that one.
    ///
    /// # Errors
    /// Returns [`EngineError::Setup`] with the cause from its log. No process remains then.
    pub(crate) async fn start(
        &self,
        options: &DaemonOptions,
        cancel: &CancellationToken,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<DaemonStart, EngineError> {
        let lock = self.state.lock("the start of the engine", "dockerd");
        let _guard = lock
            .lock(
                "dm engine start",
                START_TIMEOUT + STOP_TIMEOUT,
                cancel,
                |holder| {
                    if let Some(holder) = holder {
                        progress(&format!("waiting for {holder}"));
                    }
                },
            )
            .await
            .map_err(state_error)?;
        if let Some(record) = self.load_record()?
            && let Some(process) = record.find_dockerd()
        {
            wait_until_ready(&record.options, &process, None, 0, cancel).await?;
            return Ok(DaemonStart {
                running: RunningDaemon {
                    pid: process.pid,
                    address: record.options.address(),
                    log: record.options.log,
                },
                fresh: false,
                changes: Vec::new(),
            });
        }
        self.start_new(options, cancel, progress).await
    }

    async fn start_new(
        &self,
        options: &DaemonOptions,
        cancel: &CancellationToken,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<DaemonStart, EngineError> {
        let routes = network::routes().unwrap_or_default();
        let before = NetworkSnapshot::capture(&routes).await;
        let record = DaemonRecord {
            mark: format!("--label={MARK_LABEL}={}", uuid::Uuid::new_v4()),
            options: options.clone(),
        };
        terminate_orphaned_containerd(options).await?;
        remove_stale_pidfiles(options)
            .map_err(system_error("remove the files of a killed dockerd"))?;
        self.state
            .write(RECORD_FILE, &record)
            .map_err(state_error)?;
        progress("starting dockerd");
        let (mut child, offset) = spawn_dockerd(&record).map_err(system_error("start dockerd"))?;
        let process = TaggedProcess::new(child.id(), &record.mark);
        let ready = wait_until_ready(options, &process, Some(&mut child), offset, cancel).await;
        if let Err(error) = ready {
            self.terminate_recorded(&record).await?;
            return Err(error);
        }
        let after = NetworkSnapshot::capture(&network::routes().unwrap_or_default()).await;
        if !before.is_preserved_in(&after) {
            self.terminate_recorded(&record).await?;
            return Err(setup_error(
                "start dockerd",
                "it removed the default route of this machine, and was stopped again",
                vec![
                    "show the routes: ip route".into(),
                    format!("read its log: {}", options.log.display()),
                ],
            ));
        }
        Ok(DaemonStart {
            running: RunningDaemon {
                pid: process.pid,
                address: options.address(),
                log: options.log.clone(),
            },
            fresh: true,
            changes: before.describe_changes(&after),
        })
    }

    /// Stops the `dockerd` that `dm` started, and its containers. Returns false if none was
    /// running.
    ///
    /// # Errors
    /// Returns [`EngineError::Setup`] if it does not end or may not be signalled.
    pub(crate) async fn stop(&self, cancel: &CancellationToken) -> Result<bool, EngineError> {
        let lock = self.state.lock("the start of the engine", "dockerd");
        let _guard = lock
            .lock(
                "dm engine stop",
                START_TIMEOUT + STOP_TIMEOUT,
                cancel,
                |_| {},
            )
            .await
            .map_err(state_error)?;
        match self.load_record()? {
            Some(record) => self.terminate_recorded(&record).await,
            None => Ok(false),
        }
    }

    /// Terminates a recorded `dockerd` and its `containerd`, then removes the record.
    async fn terminate_recorded(&self, record: &DaemonRecord) -> Result<bool, EngineError> {
        let mut ended = false;
        for find in [DaemonRecord::find_dockerd, DaemonRecord::find_containerd] {
            if let Some(process) = find(record) {
                terminate_and_wait(&process, "stop dockerd", &record.options.log).await?;
                ended = true;
            }
        }
        self.state.remove(RECORD_FILE).map_err(state_error)?;
        Ok(ended)
    }
}

/// Terminates a process and waits until it has ended.
async fn terminate_and_wait(
    process: &TaggedProcess,
    action: &'static str,
    log: &Path,
) -> Result<(), EngineError> {
    process.terminate().map_err(system_error(action))?;
    let deadline = Instant::now() + STOP_TIMEOUT;
    while process.is_alive() {
        if Instant::now() >= deadline {
            return Err(setup_error(
                action,
                format!(
                    "pid {} still runs after {} s",
                    process.pid,
                    STOP_TIMEOUT.as_secs()
                ),
                vec![
                    format!("read its log: {}", log.display()),
                    format!("or kill it: kill -9 {}", process.pid),
                ],
            ));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

/// Terminates the `containerd` of a killed `dockerd`. The kernel also ends it, but a
/// `dockerd` that starts before then removes the socket of the running `containerd`,
/// treats that process as its own, and never reaches it.
async fn terminate_orphaned_containerd(options: &DaemonOptions) -> Result<(), EngineError> {
    let has_parent =
        read_pidfile(&options.pidfile).is_some_and(|pid| process::is_running(pid, "dockerd"));
    match find_containerd(options) {
        Some(orphan) if !has_parent => {
            terminate_and_wait(
                &orphan,
                "stop the containerd of a killed dockerd",
                &options.log,
            )
            .await
        }
        _ => Ok(()),
    }
}

/// Removes pid files whose pid now belongs to another program: `dockerd` would assume that
/// it is already running, and refuse to start.
fn remove_stale_pidfiles(options: &DaemonOptions) -> io::Result<()> {
    for (path, program) in [
        (options.pidfile.clone(), "dockerd"),
        (options.containerd_pidfile(), "containerd"),
    ] {
        let is_stale = read_pidfile(&path).is_some_and(|pid| !process::is_running(pid, program));
        if is_stale {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Returns the process id in a pid file.
fn read_pidfile(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Starts `dockerd` in its own session, so that neither the end of the terminal nor Ctrl-C
/// affects it. Returns the process and the previous size of its log.
fn spawn_dockerd(record: &DaemonRecord) -> io::Result<(Child, u64)> {
    let options = &record.options;
    for path in [&options.socket, &options.pidfile, &options.log] {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
    }
    let log = open_log(&options.log)?;
    let offset = log.metadata()?.len();
    let daemon = process::find_program("dockerd").ok_or(io::ErrorKind::NotFound)?;
    let mut command = match process::find_program("setsid") {
        // setsid execs dockerd, so that the child's pid is that of dockerd.
        Some(setsid) => {
            let mut command = Command::new(setsid);
            command.arg(&daemon);
            command
        }
        None => {
            use std::os::unix::process::CommandExt;
            let mut command = Command::new(&daemon);
            command.process_group(0);
            command
        }
    };
    let child = command
        .args(options.arguments(&record.mark))
        .env_clear()
        .envs(
            INHERITED_ENV
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .env("PATH", search_path())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    Ok((child, offset))
}

/// Returns `PATH` with the directories of containerd, runc and iptables.
fn search_path() -> std::ffi::OsString {
    let current = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];
    let paths = std::env::split_paths(&current).chain(system.map(PathBuf::from));
    std::env::join_paths(paths).unwrap_or(current)
}

fn open_log(path: &Path) -> io::Result<File> {
    if path
        .metadata()
        .is_ok_and(|metadata| metadata.len() > MAX_LOG_BYTES)
    {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

/// Waits until the engine answers, its process ends, or the timeout is reached.
async fn wait_until_ready(
    options: &DaemonOptions,
    process: &TaggedProcess,
    mut child: Option<&mut Child>,
    offset: u64,
    cancel: &CancellationToken,
) -> Result<(), EngineError> {
    let deadline = Instant::now() + START_TIMEOUT;
    let settings = EngineSettings {
        host: Some(options.address()),
    };
    let failed = |reason: String| {
        let diagnosis = diagnosis::diagnose_log(&options.log, offset);
        let mut suggestions: Vec<String> = diagnosis.suggestion.into_iter().collect();
        suggestions.push(format!("read its log: {}", options.log.display()));
        setup_error(
            "start dockerd",
            format!("{reason}: {}", diagnosis.reason),
            suggestions,
        )
    };
    loop {
        if Engine::connect(&settings).await.is_ok() {
            return Ok(());
        }
        match &mut child {
            Some(child) => {
                if let Ok(Some(status)) = child.try_wait() {
                    return Err(failed(format!("it ended with {status}")));
                }
            }
            None if !process.is_alive() => return Err(failed("it ended".into())),
            None => {}
        }
        if Instant::now() >= deadline {
            return Err(failed(format!(
                "no answer within {} s",
                START_TIMEOUT.as_secs()
            )));
        }
        tokio::select! {
            () = tokio::time::sleep(POLL_INTERVAL) => {}
            () = cancel.cancelled() => {
                return Err(setup_error("start dockerd", "interrupted", Vec::new()));
            }
        }
    }
}

/// The network state of the machine that starting an engine can change.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NetworkSnapshot {
    default_routes: Vec<IpRoute>,
    forwarding: Option<String>,
    forward_policy: Option<String>,
}

impl NetworkSnapshot {
    async fn capture(routes: &[IpRoute]) -> Self {
        Self {
            default_routes: network::default_routes(routes),
            forwarding: std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward")
                .ok()
                .map(|text| text.trim().to_owned()),
            forward_policy: read_forward_policy().await,
        }
    }

    /// Returns whether every default route still exists.
    fn is_preserved_in(&self, after: &Self) -> bool {
        self.default_routes
            .iter()
            .all(|route| after.default_routes.contains(route))
    }

    fn describe_changes(&self, after: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        if self.forwarding != after.forwarding && after.forwarding.as_deref() == Some("1") {
            changes.push("this machine now forwards IPv4 packets, which containers require".into());
        }
        if self.forward_policy != after.forward_policy
            && let Some(policy) = &after.forward_policy
        {
            changes.push(format!(
                "packets that are neither from nor to a container are no longer forwarded by \
                 default (iptables policy FORWARD {policy})"
            ));
        }
        changes
    }
}

async fn read_forward_policy() -> Option<String> {
    let iptables = process::find_program("iptables")?;
    let output = tokio::process::Command::new(iptables)
        .args(["-w", "2", "-S", "FORWARD"])
        .stdin(Stdio::null())
        .output()
        .await
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .find_map(|line| line.strip_prefix("-P FORWARD "))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests;
