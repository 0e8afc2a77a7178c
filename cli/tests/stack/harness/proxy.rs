//! A proxy between `dm` and the engine. It records every changing call of `dm`, and can kill `dm`
//! at a call, hold the call, or cut all connections.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// Maximum time to wait for a call.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A call that changes something: any method except `GET` and `HEAD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// Its number among the changing calls, from 0.
    pub number: usize,
    /// Method and path, for example `POST /containers/create`.
    pub what: String,
}

/// What the proxy does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxyMode {
    /// The call is forwarded.
    Forward,
    /// `dm` is killed before the engine receives the call.
    KillBefore,
    /// The engine executes the call, and `dm` is killed before it receives the answer.
    KillAfter,
    /// The call is held until [`Proxy::release`].
    Hold,
    /// All connections are cut, and no new one is accepted.
    Cut,
}

type ModePolicy = dyn Fn(&Call) -> ProxyMode + Send + Sync;

struct Shared {
    policy: Box<ModePolicy>,
    calls: Mutex<Vec<Call>>,
    count: AtomicUsize,
    target: AtomicI32,
    was_killed: AtomicBool,
    released: watch::Sender<bool>,
    cut: watch::Sender<bool>,
    engine: PathBuf,
}

/// A running proxy. It ends on drop.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    /// A short path, because the path of a socket has at most 107 bytes.
    directory: tempfile::TempDir,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy that asks `policy` about each changing call.
    pub(crate) fn start(policy: impl Fn(&Call) -> ProxyMode + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().expect("could not create a directory for the socket");
        let listener =
            UnixListener::bind(directory.path().join("s")).expect("the directory is new");
        let engine = std::env::var("DOCKER_HOST").unwrap_or_default();
        let engine = engine
            .strip_prefix("unix://")
            .unwrap_or("/var/run/docker.sock");
        let shared = Arc::new(Shared {
            policy: Box::new(policy),
            calls: Mutex::default(),
            count: AtomicUsize::new(0),
            target: AtomicI32::new(0),
            was_killed: AtomicBool::new(false),
            released: watch::Sender::new(false),
            cut: watch::Sender::new(false),
            engine: engine.into(),
        });
        let serving = shared.clone();
        let accepting = tokio::spawn(async move {
            let mut cut = serving.cut.subscribe();
            loop {
                tokio::select! {
                    accepted = listener.accept() => if let Ok((client, _)) = accepted {
                        tokio::spawn(serve(serving.clone(), client));
                    },
                    // Returning drops the listener, too.
                    _ = cut.wait_for(|&cut| cut) => return,
                }
            }
        });
        Self {
            shared,
            directory,
            accepting,
        }
    }

    /// Returns the value for `DOCKER_HOST`.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.directory.path().join("s").display())
    }

    /// Sets the process to kill.
    pub(crate) fn set_target(&self, pid: Pid) {
        self.shared
            .target
            .store(pid.as_raw_nonzero().get(), Ordering::SeqCst);
    }

    /// Forwards the held calls.
    pub(crate) fn release(&self) {
        self.shared.released.send_replace(true);
    }

    /// Waits for a call whose path has this ending.
    pub(crate) async fn wait_for(&self, path: &str) {
        let until = tokio::time::Instant::now() + TIMEOUT;
        while !self.calls().iter().any(|call| call.what.ends_with(path)) {
            assert!(
                tokio::time::Instant::now() < until,
                "no call of {path} was made: {:?}",
                self.calls()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns whether the process was killed.
    pub(crate) fn was_killed(&self) -> bool {
        self.shared.was_killed.load(Ordering::SeqCst)
    }

    /// Returns the changing calls so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().expect("no task panics").clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.cut.send_replace(true);
    }
}

impl Shared {
    /// Returns the mode for the bytes that a client sent. HTTP/1.1 is used without pipelining, so
    /// every read begins with a request: the request before it has been answered.
    fn mode_for(&self, sent: &[u8]) -> ProxyMode {
        let line = sent.split(|&byte| byte == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let Some(what) = line.strip_suffix(" HTTP/1.1") else {
            return ProxyMode::Forward;
        };
        if !["POST ", "PUT ", "DELETE "]
            .iter()
            .any(|method| what.starts_with(method))
        {
            return ProxyMode::Forward;
        }
        let call = Call {
            number: self.count.fetch_add(1, Ordering::SeqCst),
            what: what.split('?').next().unwrap_or_default().to_owned(),
        };
        self.calls
            .lock()
            .expect("no task panics")
            .push(call.clone());
        (self.policy)(&call)
    }

    async fn kill(&self) {
        // The test sets the process right after starting it.
        let pid = loop {
            if let Some(pid) = Pid::from_raw(self.target.load(Ordering::SeqCst)) {
                break pid;
            }
            tokio::task::yield_now().await;
        };
        if !self.was_killed.swap(true, Ordering::SeqCst) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

async fn serve(shared: Arc<Shared>, client: UnixStream) {
    let Ok(engine) = UnixStream::connect(&shared.engine).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_engine, mut to_engine) = engine.into_split();
    let kill_on_answer = AtomicBool::new(false);
    let to_engine_loop = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            match shared.mode_for(&buffer[..count]) {
                ProxyMode::Forward => {}
                ProxyMode::KillBefore => return shared.kill().await,
                ProxyMode::KillAfter => kill_on_answer.store(true, Ordering::SeqCst),
                ProxyMode::Hold => {
                    let _ = shared
                        .released
                        .subscribe()
                        .wait_for(|&released| released)
                        .await;
                }
                ProxyMode::Cut => {
                    shared.cut.send_replace(true);
                    return;
                }
            }
            if to_engine.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
        let _ = to_engine.shutdown().await;
        // The engine may still send its answer.
        std::future::pending::<()>().await;
    };
    let to_client_loop = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_engine.read(&mut buffer).await {
            if kill_on_answer.load(Ordering::SeqCst) {
                return shared.kill().await;
            }
            if to_client.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    let mut cut = shared.cut.subscribe();
    tokio::select! {
        () = to_engine_loop => {}
        () = to_client_loop => {}
        _ = cut.wait_for(|&cut| cut) => {}
    }
}
