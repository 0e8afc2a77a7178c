//! The instance that all tests share.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use reqwest::{Client, Method, RequestBuilder};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::secrets;

/// The instance.
pub(crate) const INSTANCE: &str = "test-services";

/// The services behind the gateway.
pub(crate) const SERVICES: [&str; 6] =
    ["profile", "sales", "order", "inventory", "finance", "wuphf"];

/// How long something that flows through events may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

static ADDRESSES: OnceLock<BTreeMap<String, String>> = OnceLock::new();

/// Where the tests' own calls keep what they must remember.
pub(crate) fn state() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("services-state")
}

/// The file of the instance's lock: the one that was taken last, where the folder was copied
/// from another clone.
pub(crate) fn lock_file() -> Result<PathBuf, Failed> {
    let end = format!(".{INSTANCE}.lock");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(state().join("dm/locks"))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(&end) {
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    let newest = found.into_iter().max();
    Ok(newest.ok_or("the instance has no lock")?.1)
}

/// What tells the component's container from those of another clone, which may have an
/// instance of the same name: labels of the engine.
pub(crate) fn labels(component: &str) -> Result<Vec<String>, Failed> {
    let lock = lock_file()?;
    let name = lock.file_name().unwrap_or_default().to_string_lossy();
    let project = name.split('.').next().unwrap_or_default();
    let labels = [
        ("project", project),
        ("instance", INSTANCE),
        ("component", component),
    ];
    Ok(labels
        .map(|(name, value)| format!("com.dundermifflin.dm.{name}={value}"))
        .to_vec())
}

/// A call of `dm`.
pub(crate) fn dm_command() -> Command {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dm"));
    command
        .current_dir(repository)
        .env("XDG_STATE_HOME", state())
        .env("DM_GOLDEN__PREPARE", "off")
        // A backup in between would disturb whatever is looked at.
        .env("DM_BACKUP__EVERY", "off")
        // The tests of faults end services at chosen steps.
        .env("DM_IMAGES__FAIL_POINTS", "true")
        .envs(secrets::variables())
        // Whatever runs the tests, they are not its steps.
        .env_remove("GITHUB_ACTIONS")
        .env_remove("GITHUB_STEP_SUMMARY");
    command
}

/// A call of `dm` on the instance.
pub(crate) fn dm(arguments: &[&str]) -> Output {
    dm_command()
        .args(["--instance", INSTANCE])
        .args(arguments)
        .output()
        .unwrap()
}

/// Begins a call on the instance that nobody listens to.
pub(crate) fn start(arguments: &[&str]) -> Result<Child, Failed> {
    let mut command = dm_command();
    command.args(["--instance", INSTANCE]).args(arguments);
    Ok(command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?)
}

/// Begins a call, and kills it when it says so.
pub(crate) fn kill_at(arguments: &[&str], words: &str) -> Result<(), Failed> {
    signal_at(arguments, words, Signal::KILL).map(drop)
}

/// Begins a call, and sends it a signal when it says so.
pub(crate) fn signal_at(
    arguments: &[&str],
    words: &str,
    signal: Signal,
) -> Result<ExitStatus, Failed> {
    let mut run = dm_command()
        .args(["--instance", INSTANCE])
        .args(arguments)
        .stderr(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(run.stderr.take().unwrap()).lines();
    for line in &mut lines {
        if line?.contains(words) {
            break;
        }
    }
    let pid = Pid::from_child(&run);
    kill_process(pid, signal)?;
    // Who winds down has more to say, and must not wait to be heard.
    lines.for_each(drop);
    Ok(run.wait()?)
}

/// A call that has to succeed; its standard output.
pub(crate) fn ok(arguments: &[&str]) -> Result<String, Failed> {
    let output = dm(arguments);
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!(
        "dm {} ended with {}:\n{}{}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
    .into())
}

/// Brings the stack up.
pub(crate) fn begin() {
    let _ = dm(&["down", "--volumes"]);
    eprintln!("compiling the services and bringing the stack up");
    if let Err(failed) = ok(&["up"]) {
        let _ = dm(&["down", "--volumes"]);
        panic!(
            "{}",
            failed.message().unwrap_or("the stack did not come up")
        );
    }
    let status: Value = serde_json::from_str(&ok(&["status", "--json"]).unwrap()).unwrap();
    let addresses = status["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (text(&row["component"]), text(&row["addresses"][0]))
        })
        .collect();
    ADDRESSES.set(addresses).unwrap();
}

/// Takes it down. False where that failed.
pub(crate) fn end() -> bool {
    match ok(&["down", "--volumes"]) {
        Ok(_) => true,
        Err(failed) => {
            eprintln!("{}", failed.message().unwrap_or_default());
            false
        }
    }
}

/// Where a component is.
pub(crate) fn address(component: &str) -> &'static str {
    &ADDRESSES.get().unwrap()[component]
}

/// The broker's administrator.
pub(crate) const ADMINISTRATOR: &str = "dunder";

/// A connection with the broker, as one of its users. They all have the same password.
pub(crate) async fn broker(user: &str) -> Result<lapin::Connection, lapin::Error> {
    let address = url::Url::parse(address("rabbitmq")).unwrap();
    let port = address.port().unwrap();
    let uri = dm_amqp::uri(user, secrets::HARDEST, "127.0.0.1", port, "/");
    lapin::Connection::connect_uri(uri, lapin::ConnectionProperties::default()).await
}

/// A channel of the broker's administrator, and its connection.
pub(crate) async fn channel() -> Result<(lapin::Connection, lapin::Channel), lapin::Error> {
    let connection = broker(ADMINISTRATOR).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

/// A request to a service by itself, as the gateway sends it for a user.
pub(crate) fn request(
    client: &Client,
    method: Method,
    service: &str,
    path: &str,
) -> RequestBuilder {
    client
        .request(method, format!("{}{path}", address(service)))
        .header("x-gateway-secret", gateway_secret())
        .header("x-user-id", "jhalpert")
}

/// What the gateway shows to the services of the instance.
pub(crate) fn gateway_secret() -> &'static str {
    static SECRET: OnceLock<String> = OnceLock::new();
    SECRET.get_or_init(|| {
        let mut files = std::fs::read_dir(state().join("dm/gateway-secrets")).unwrap();
        let ending = format!(".{INSTANCE}");
        let file = files.find_map(|file| {
            let path = file.unwrap().path();
            path.display()
                .to_string()
                .ends_with(&ending)
                .then_some(path)
        });
        let text = std::fs::read_to_string(file.unwrap()).unwrap();
        text.trim().to_owned()
    })
}

/// A client for one test.
pub(crate) fn client() -> Client {
    Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap()
}

/// Runs the test's own requests.
pub(crate) fn block_on<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test)
}

/// What a query on the instance's database prints.
pub(crate) fn sql(query: &str) -> Result<String, Failed> {
    let arguments = [
        "psql",
        "-c",
        query,
        "--",
        "--tuples-only",
        "--no-align",
        "--quiet",
    ];
    Ok(ok(&arguments)?.trim().to_owned())
}

/// Asks again and again until the answer is the expected one.
pub(crate) fn eventually(query: &str, expected: &str) -> Result<(), Failed> {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = sql(query)?;
        if found == expected {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("{query}\nis {found} and not {expected}").into());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
