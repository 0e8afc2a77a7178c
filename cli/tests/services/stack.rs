//! The stack instance that the tests of a lane share, and calls of `dm` on it.

mod call;
mod queues;
mod session;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use dm_gateway_client::StackEndpoints;
use libtest_mimic::Failed;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

use crate::secrets;

pub(crate) use call::{FollowedCall, kill_at, signal_at};
pub(crate) use queues::{delete_queue, publish_to_queue, resume_queue, suspend_queue};
pub(crate) use session::SleepingSession;

static INSTANCE: OnceLock<&str> = OnceLock::new();

/// The services behind the gateway.
pub(crate) const SERVICES: [&str; 6] =
    ["profile", "sales", "order", "inventory", "finance", "wuphf"];

/// Maximum time for what depends on events, on a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

static ADDRESSES: OnceLock<BTreeMap<String, String>> = OnceLock::new();

/// Returns the name of the instance.
pub(crate) fn instance() -> &'static str {
    INSTANCE.get().unwrap()
}

/// Returns the state directory of the `dm` calls that the tests make.
pub(crate) fn state_directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("services-state")
}

/// Returns the lock file of the instance. If the directory was copied from another clone, this is
/// the lock that was taken last.
pub(crate) fn lock_file() -> Result<PathBuf, Failed> {
    let end = format!(".{}.lock", instance());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(state_directory().join("dm/locks"))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(&end) {
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    let newest = found.into_iter().max();
    Ok(newest.ok_or("the instance has no lock")?.1)
}

/// Returns the engine labels that select the component's container. Another clone may have an
/// instance of the same name, so the labels contain the project.
pub(crate) fn container_labels(component: &str) -> Result<Vec<String>, Failed> {
    let lock = lock_file()?;
    let name = lock.file_name().unwrap_or_default().to_string_lossy();
    let project = name.split('.').next().unwrap_or_default();
    let labels = [
        ("project", project),
        ("instance", instance()),
        ("component", component),
    ];
    Ok(labels
        .map(|(name, value)| format!("com.dundermifflin.dm.{name}={value}"))
        .to_vec())
}

/// Prepares a call of `dm`.
pub(crate) fn dm_command() -> Command {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dm"));
    command
        .current_dir(repository)
        .env("XDG_STATE_HOME", state_directory())
        .env("DM_GOLDEN__PREPARE", "off")
        // A scheduled backup would interfere with the tests.
        .env("DM_BACKUP__EVERY", "off")
        // The fault tests stop services at fail points.
        .env("DM_IMAGES__FAIL_POINTS", "true")
        .envs(secrets::variables())
        // `dm` must not write to the CI job that runs the tests.
        .env_remove("GITHUB_ACTIONS")
        .env_remove("GITHUB_STEP_SUMMARY");
    command
}

/// Calls `dm` on the instance.
pub(crate) fn dm(arguments: &[&str]) -> Output {
    dm_command()
        .args(["--instance", instance()])
        .args(arguments)
        .output()
        .unwrap()
}

/// Starts a call on the instance and discards its output.
pub(crate) fn spawn(arguments: &[&str]) -> Result<Child, Failed> {
    let mut command = dm_command();
    command.args(["--instance", instance()]).args(arguments);
    Ok(command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?)
}

/// Calls `dm` and returns its standard output. The call must succeed.
pub(crate) fn dm_ok(arguments: &[&str]) -> Result<String, Failed> {
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

/// Starts the stack as this instance.
pub(crate) fn begin(instance: &'static str) {
    INSTANCE.set(instance).unwrap();
    let _ = dm(&["down", "--volumes"]);
    eprintln!("compiling the services and starting the stack");
    if let Err(failed) = dm_ok(&["up"]) {
        let _ = dm(&["down", "--volumes"]);
        panic!("{}", failed.message().unwrap_or("the stack did not start"));
    }
    let status: Value = serde_json::from_str(&dm_ok(&["status", "--json"]).unwrap()).unwrap();
    let addresses = status["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let (component, address) = (&row["component"], &row["addresses"][0]);
            (text(component).to_owned(), text(address).to_owned())
        })
        .collect();
    ADDRESSES.set(addresses).unwrap();
}

/// Removes the stack. Returns false if that failed.
pub(crate) fn end() -> bool {
    match dm_ok(&["down", "--volumes"]) {
        Ok(_) => true,
        Err(failed) => {
            eprintln!("{}", failed.message().unwrap_or_default());
            false
        }
    }
}

/// Returns a component's row of `dm status`.
pub(crate) fn status_row(component: &str) -> Result<Value, Failed> {
    let status: Value = serde_json::from_str(&dm_ok(&["status", "--json"])?)?;
    let mut rows = status["components"].as_array().into_iter().flatten();
    let row = rows.find(|row| row["component"] == component);
    let row = row.ok_or_else(|| format!("`dm status` shows no component `{component}`"))?;
    Ok(row.clone())
}

/// Returns the text of a JSON string. For other values, it is empty.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Returns the first address of a component.
pub(crate) fn address(component: &str) -> &'static str {
    &ADDRESSES.get().unwrap()[component]
}

/// The realm of the users.
pub(crate) const REALM: &str = "scranton-branch";

/// Returns the address of Keycloak, without the path of the realm.
pub(crate) fn keycloak_url() -> String {
    let address = url::Url::parse(address("keycloak")).unwrap();
    address.origin().ascii_serialization()
}

/// Returns the addresses at which users sign in.
pub(crate) fn endpoints() -> StackEndpoints {
    StackEndpoints {
        gateway_url: address("gateway").to_owned(),
        keycloak_url: keycloak_url(),
        realm: REALM.to_owned(),
        password: "password".into(),
        service_urls: Vec::new(),
        gateway_secret: String::new(),
    }
}

/// The user name of the broker's administrator.
pub(crate) const ADMINISTRATOR: &str = "dunder";

/// Connects to the broker as one of its users. They all have the same password.
pub(crate) async fn broker(user: &str) -> Result<lapin::Connection, lapin::Error> {
    let address = url::Url::parse(address("rabbitmq")).unwrap();
    let port = address.port().unwrap();
    let uri = dm_amqp::build_uri(user, secrets::HARDEST, "127.0.0.1", port, "/");
    lapin::Connection::connect_uri(uri, lapin::ConnectionProperties::default()).await
}

/// Opens a channel of the broker's administrator, and returns it with its connection.
pub(crate) async fn channel() -> Result<(lapin::Connection, lapin::Channel), lapin::Error> {
    let connection = broker(ADMINISTRATOR).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

/// Prepares a request to a service as the gateway sends it for a user.
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

/// Returns the secret that the gateway sends to the services of the instance.
pub(crate) fn gateway_secret() -> &'static str {
    static SECRET: OnceLock<String> = OnceLock::new();
    SECRET.get_or_init(|| {
        let mut files = std::fs::read_dir(state_directory().join("dm/gateway-secrets")).unwrap();
        let ending = format!(".{}", instance());
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

/// Returns an HTTP client for one test.
pub(crate) fn client() -> Client {
    Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap()
}

/// Runs a future of a test to its end.
pub(crate) fn block_on<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test)
}

/// Returns the output of a query on the instance's database.
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
    Ok(dm_ok(&arguments)?.trim().to_owned())
}

/// Runs statements one after the other on the database `postgres` of the server, which a restore
/// does not replace. Returns their output.
pub(crate) fn server_sql(statements: &[&str]) -> Result<String, Failed> {
    let user = ["exec", "postgres", "--", "psql", "-U", "dundermifflin"];
    let options = ["-d", "postgres", "-qAt", "-v", "ON_ERROR_STOP=1"];
    let commands = statements.iter().flat_map(|statement| ["-c", *statement]);
    let commands: Vec<&str> = commands.collect();
    Ok(dm_ok(&[&user[..], &options, &commands].concat())?
        .trim()
        .to_owned())
}

/// Repeats a query until its output is the expected one.
pub(crate) fn eventually(query: &str, expected: &str) -> Result<(), Failed> {
    let until = Instant::now() + TIMEOUT;
    loop {
        let found = sql(query)?;
        if found == expected {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("{query}\nreturned {found}, expected {expected}").into());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
