//! Virtual hosts of a broker.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use dm_engine::exec::ExecSpec;
use dm_engine::throwaway::ThrowawaySpec;

use crate::server;

/// The number of virtual hosts, which are created with the broker: each creation by itself
/// would take a second.
const VIRTUAL_HOSTS: u16 = 32;

/// Waits for the broker, and creates the virtual hosts `test-1`, `test-2` and so on, as many as its
/// argument says. The broker and not this script must create the cookie by which they authenticate.
/// `await_startup` fails while the broker is not on the network.
const SETUP_SCRIPT: &str = r#"tries=0
until [ -s "$HOME/.erlang.cookie" ] && rabbitmqctl await_startup; do
    tries=$((tries + 1))
    if [ "$tries" -ge 100 ]; then
        echo "the broker has not started after $tries attempts" >&2
        exit 1
    fi
    sleep 0.2
done
rabbitmqctl eval '
[begin
    V = list_to_binary("test-" ++ integer_to_list(N)),
    ok = rabbit_vhost:add(V, <<"guest">>),
    ok = rabbit_auth_backend_internal:set_permissions(
        <<"guest">>, V, <<".*">>, <<".*">>, <<".*">>, <<"guest">>)
end || N <- lists:seq(1, '"$1"')].'"#;

/// The port of the broker, or the error of its start. The first test starts it; others wait.
static SERVER: OnceLock<Result<u16, String>> = OnceLock::new();
static NEXT_VIRTUAL_HOST: AtomicU16 = AtomicU16::new(1);

/// The address of an empty virtual host. User and password are `guest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualHost {
    /// The port of the broker on the loopback address.
    pub port: u16,
    /// The name of the virtual host.
    pub name: String,
}

/// Returns a virtual host that no other test has.
///
/// # Panics
/// Panics if there is no engine or image, with the command that provides it, and if the broker
/// does not start.
#[expect(clippy::panic, reason = "a test without its server fails")]
pub fn create_virtual_host() -> VirtualHost {
    let number = NEXT_VIRTUAL_HOST.fetch_add(1, Ordering::Relaxed);
    assert!(
        number <= VIRTUAL_HOSTS,
        "there are {VIRTUAL_HOSTS} virtual hosts"
    );
    match SERVER.get_or_init(start_server) {
        Ok(port) => VirtualHost {
            port: *port,
            name: format!("test-{number}"),
        },
        Err(error) => panic!("could not create a virtual host: {error}"),
    }
}

fn start_server() -> Result<u16, String> {
    // `guest` may otherwise only connect from within the container.
    let command = ["rabbitmq-server", "-rabbit", "loopback_users", "[]"];
    let spec = ThrowawaySpec {
        command: command.map(str::to_owned).to_vec(),
        port: 5672,
        ..ThrowawaySpec::default()
    };
    let setup = ExecSpec {
        command: ["sh", "-c", SETUP_SCRIPT, "sh", &VIRTUAL_HOSTS.to_string()]
            .map(str::to_owned)
            .to_vec(),
        ..ExecSpec::default()
    };
    server::start("rabbitmq", spec, Some(setup))
}
