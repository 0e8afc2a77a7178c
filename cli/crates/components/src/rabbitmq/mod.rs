//! RabbitMQ: the exchanges and queues between the services.

mod definitions;
pub mod management;
pub mod policies;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use dm_config::Config;
use dm_engine::spec::{ContainerSpec, File, Mount};
use regex::{Captures, Regex};
use serde_json::Value;

use self::definitions::Definitions;
use self::management::Management;
use super::reach::Reach;
use super::{
    Adjustment, Component, ComponentError, GoldenPart, PortWish, Ports, Probe, Refused, Renewal,
    Site, Unready, container, host_port, http_origin, innermost,
};

/// The component's name.
pub const NAME: &str = "rabbitmq";
/// The name of its management port in allocations.
pub(crate) const MANAGEMENT: &str = "rabbitmq-management";

/// Where it listens in its container.
const PORT: u16 = 5672;
/// Where its management interface does.
const MANAGEMENT_PORT: u16 = 15672;
/// Who the broker is in its container, in the official image (Debian) and the built one.
const UID: u32 = 999;

const DATA: &str = "/var/lib/rabbitmq";
const DEFINITIONS: &str = "/etc/rabbitmq/definitions.json";
const CONFIG: &str = "/etc/rabbitmq/conf.d/20-dm.conf";

/// The broker's settings.
///
/// Definitions are imported at every start, also over golden data: an import that
/// is skipped where nothing changed would let broken definitions pass in silence,
/// and would not bring back a queue that somebody deleted. The defaults of memory
/// and log are shares of the host's memory, which is the wrong measure for one of
/// several programs on it.
const SETTINGS: &str = "\
definitions.import_backend = local_filesystem
definitions.local.path = /etc/rabbitmq/definitions.json
anonymous_login_user = none
vm_memory_high_watermark.absolute = 1GiB
disk_free_limit.absolute = 200MB
raft.wal_max_size_bytes = 64000000
";

/// RabbitMQ.
#[derive(Debug, Clone)]
pub struct RabbitMq {
    config: dm_config::Rabbitmq,
    /// The broker passwords by user.
    users: BTreeMap<String, String>,
    definitions: Definitions,
}

impl RabbitMq {
    /// RabbitMQ as configured. Its definitions are read now: probes and specifications only use
    /// them.
    #[must_use]
    pub fn new(config: &Config, root: &Path) -> Self {
        let users = config
            .services
            .all()
            .into_iter()
            .filter_map(|(name, service)| {
                let password = service.broker_password.as_ref()?;
                Some((broker_user(name), password.reveal().to_owned()))
            })
            .chain([(
                config.rabbitmq.user.to_string(),
                config.rabbitmq.password.reveal().to_owned(),
            )])
            .collect();
        Self {
            config: config.rabbitmq.clone(),
            users,
            definitions: Definitions::read(config.rabbitmq.definitions.in_project(root)),
        }
    }

    /// What the broker has once it is ready: topology, users and their rights, and the limits
    /// of its queues.
    ///
    /// # Errors
    /// An unreadable fixture.
    pub fn declared(&self) -> Result<Value, ComponentError> {
        let mut definitions = self.definitions.with_passwords(&self.users)?;
        policies::add_to(&mut definitions, &self.config.policies);
        Ok(definitions)
    }
}

/// The broker user of a service.
#[must_use]
pub fn broker_user(service: &str) -> String {
    format!("{service}-service")
}

/// The URI by which the host reaches the broker as its administrator.
#[must_use]
pub fn uri(config: &dm_config::Rabbitmq, ports: &Ports) -> String {
    let (user, password) = (config.user.as_str(), config.password.reveal());
    uri_of(Reach::Published(ports), user, password)
}

/// The URI by which the broker is reached from there, by this user.
#[must_use]
pub fn uri_of(reach: Reach<'_>, user: &str, password: &str) -> String {
    let address = reach.address(NAME, "127.0.0.1", NAME, PORT);
    dm_amqp::uri(user, password, &address.host, address.port, "/").to_string()
}

/// Where the host reaches the broker's management interface.
#[must_use]
pub fn management_url(ports: &Ports) -> String {
    management_url_of(Reach::Published(ports))
}

/// Where the broker's management interface is reached from there.
#[must_use]
pub fn management_url_of(reach: Reach<'_>) -> String {
    let address = reach.address(NAME, "localhost", MANAGEMENT, MANAGEMENT_PORT);
    http_origin(&address.host, address.port)
}

impl Component for RabbitMq {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ports(&self) -> Vec<PortWish> {
        vec![
            PortWish {
                name: NAME,
                container: PORT,
                host: self.config.port.get(),
            },
            PortWish {
                name: MANAGEMENT,
                container: MANAGEMENT_PORT,
                host: self.config.management_port.get(),
            },
        ]
    }

    fn specify(&self, site: &Site<'_>) -> Result<ContainerSpec, ComponentError> {
        let definitions = self.definitions.with_passwords(&self.users)?;
        let mut spec = container(self, site);
        spec.files = vec![
            File::readable(CONFIG, SETTINGS),
            // It has the hashes of all passwords.
            File::secret(DEFINITIONS, UID, format!("{definitions:#}")),
        ];
        spec.mounts.push(Mount {
            volume: site.instance.volume(NAME),
            path: DATA.into(),
        });
        spec.memory = self.config.memory.map(|size| size.bytes());
        spec.stop_timeout = 30;
        Ok(spec)
    }

    fn probe(&self, ports: &Ports) -> Probe {
        let (uri, user) = (uri(&self.config, ports), self.config.user.to_string());
        let topology = self.definitions.topology();
        Box::pin(async move {
            let topology = topology?;
            topology.is_there(&uri).await.map_err(|error| {
                let answer = error.to_string();
                // Users are declared before it listens.
                if answer.contains("ACCESS_REFUSED") {
                    Unready::Refused(refused(&user, &answer))
                } else {
                    Unready::Yet(answer)
                }
            })
        })
    }

    fn addresses(&self, ports: &Ports) -> Vec<String> {
        vec![
            format!(
                "amqp://{}@127.0.0.1:{}",
                self.config.user,
                host_port(ports, NAME)
            ),
            management_url(ports),
        ]
    }

    fn page(&self, ports: &Ports) -> Option<String> {
        Some(format!("{}/", management_url(ports)))
    }

    fn golden(&self) -> Option<GoldenPart> {
        Some(GoldenPart::Data(DATA))
    }

    fn adjustment(&self, ports: &Ports) -> Option<Adjustment> {
        let (config, base) = (self.config.clone(), management_url(ports));
        let uri = uri(&self.config, ports);
        Some(Box::pin(async move {
            let applied = async {
                let (user, password) = (config.user.as_str(), config.password.reveal());
                let management = Management::new(base, user, password)?;
                policies::apply(&management, &uri, &config.policies).await
            };
            applied.await.map_err(|error| Box::new(error) as _)
        }))
    }

    fn renewal(&self, ports: &Ports) -> Option<Renewal> {
        let (component, base) = (self.clone(), management_url(ports));
        Some(Renewal::Running(Box::pin(async move {
            let definitions = component.declared().map_err(|error| error.to_string())?;
            let config = &component.config;
            Management::new(base, config.user.as_str(), config.password.reveal())
                .map_err(|error| innermost(&error))?
                .begin_anew(&definitions)
                .await
                .map_err(|error| innermost(&error))
        })))
    }

    fn readable(&self, line: String) -> String {
        erlang_text(&line).into_owned()
    }

    fn wait_timeout(&self) -> Option<Duration> {
        self.config.wait_timeout.map(|wait| wait.get())
    }
}

/// A broker that does not let its administrator in.
fn refused(user: &str, answer: &str) -> Refused {
    Refused {
        what: format!("RabbitMQ rejects the password of `{user}` (rabbitmq.password): {answer}"),
        next: vec!["declare the users and passwords of dm.toml again: dm restart rabbitmq".into()],
    }
}

/// A line of Erlang terms with its binaries as text. A node that can't boot
/// prints why as numbers: `<<118,97,110,99,101>>`.
fn erlang_text(line: &str) -> Cow<'_, str> {
    static BINARY: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"<<(\d{1,3}(?:,\d{1,3})+)>>").ok());
    let Some(binary) = BINARY.as_ref() else {
        return line.into();
    };
    binary.replace_all(line, |found: &Captures<'_>| {
        let bytes: Option<Vec<u8>> = found[1].split(',').map(|byte| byte.parse().ok()).collect();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        match text {
            // Whatever it is, it is shown on one line.
            Some(text) => format!(
                "\"{}\"",
                text.split_whitespace().collect::<Vec<_>>().join(" ")
            ),
            None => found[0].to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_text_become_text() {
        assert_eq!(
            erlang_text("{exit,{4538,{error,<<110,111,10,32,32,113>>}},[{rabbit,start_it,1}]}"),
            r#"{exit,{4538,{error,"no q"}},[{rabbit,start_it,1}]}"#
        );
        for other in [
            "{a,<<255,254>>}",
            "<<300,300>>",
            "[{line,452}]",
            "<<\"text\">>",
        ] {
            assert_eq!(erlang_text(other), other);
        }
    }
}
