//! A way to the engine on which a test stands: it sees every call of `dm`, and
//! may kill `dm` at it, hold it up, or cut the way.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// After this long a call that is waited for will not come.
const PATIENCE: Duration = Duration::from_secs(120);

/// A call that changes something: not `GET` and not `HEAD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// Its place among the changing calls, from 0.
    pub number: usize,
    /// Method and path, e.g. `POST /containers/create`.
    pub what: String,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes through.
    Forward,
    /// `dm` is killed before the engine hears of it.
    KillBefore,
    /// The engine does it, and `dm` is killed before it hears the answer.
    KillAfter,
    /// It waits until [`Proxy::release`].
    Hold,
    /// This and every other connection is cut, and no new one is accepted.
    Cut,
}

type Policy = dyn Fn(&Call) -> Fate + Send + Sync;

struct Shared {
    policy: Box<Policy>,
    calls: Mutex<Vec<Call>>,
    count: AtomicUsize,
    victim: AtomicI32,
    killed: AtomicBool,
    released: watch::Sender<bool>,
    cut: watch::Sender<bool>,
    engine: PathBuf,
}

/// The proxy. It ends when it goes out of scope.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    /// Short, since the path of a socket may have 107 bytes only.
    folder: tempfile::TempDir,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// A proxy that asks `policy` about each changing call.
    pub(crate) fn start(policy: impl Fn(&Call) -> Fate + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the socket");
        let listener = UnixListener::bind(folder.path().join("s")).expect("a fresh folder");
        let engine = std::env::var("DOCKER_HOST").unwrap_or_default();
        let engine = engine
            .strip_prefix("unix://")
            .unwrap_or("/var/run/docker.sock");
        let shared = Arc::new(Shared {
            policy: Box::new(policy),
            calls: Mutex::default(),
            count: AtomicUsize::new(0),
            victim: AtomicI32::new(0),
            killed: AtomicBool::new(false),
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
                    // The listener goes with this task.
                    _ = cut.wait_for(|&cut| cut) => return,
                }
            }
        });
        Self {
            shared,
            folder,
            accepting,
        }
    }

    /// The value for `DOCKER_HOST`.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.folder.path().join("s").display())
    }

    /// Names the process to kill.
    pub(crate) fn aim(&self, pid: Pid) {
        self.shared
            .victim
            .store(pid.as_raw_nonzero().get(), Ordering::SeqCst);
    }

    /// Lets held calls go on.
    pub(crate) fn release(&self) {
        self.shared.released.send_replace(true);
    }

    /// Waits until a call is made whose path ends so.
    pub(crate) async fn wait_for(&self, path: &str) {
        let until = tokio::time::Instant::now() + PATIENCE;
        while !self.calls().iter().any(|call| call.what.ends_with(path)) {
            assert!(
                tokio::time::Instant::now() < until,
                "no call of {path} came: {:?}",
                self.calls()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// True where the process was killed.
    pub(crate) fn killed(&self) -> bool {
        self.shared.killed.load(Ordering::SeqCst)
    }

    /// The changing calls so far.
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
    /// The fate of what a client sent. HTTP/1.1 without pipelining: a request
    /// begins what is read, since the one before has been answered by then.
    fn judge(&self, sent: &[u8]) -> Fate {
        let line = sent.split(|&byte| byte == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let Some(what) = line.strip_suffix(" HTTP/1.1") else {
            return Fate::Forward;
        };
        if !["POST ", "PUT ", "DELETE "]
            .iter()
            .any(|method| what.starts_with(method))
        {
            return Fate::Forward;
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
        // The test names the process right after it started it.
        let pid = loop {
            if let Some(pid) = Pid::from_raw(self.victim.load(Ordering::SeqCst)) {
                break pid;
            }
            tokio::task::yield_now().await;
        };
        if !self.killed.swap(true, Ordering::SeqCst) {
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
    let armed = AtomicBool::new(false);
    let there = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            match shared.judge(&buffer[..count]) {
                Fate::Forward => {}
                Fate::KillBefore => return shared.kill().await,
                Fate::KillAfter => armed.store(true, Ordering::SeqCst),
                Fate::Hold => {
                    let _ = shared
                        .released
                        .subscribe()
                        .wait_for(|&released| released)
                        .await;
                }
                Fate::Cut => {
                    shared.cut.send_replace(true);
                    return;
                }
            }
            if to_engine.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
        let _ = to_engine.shutdown().await;
        // The engine may still answer.
        std::future::pending::<()>().await;
    };
    let back = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_engine.read(&mut buffer).await {
            if armed.load(Ordering::SeqCst) {
                return shared.kill().await;
            }
            if to_client.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    let mut cut = shared.cut.subscribe();
    tokio::select! {
        () = there => {}
        () = back => {}
        _ = cut.wait_for(|&cut| cut) => {}
    }
}
