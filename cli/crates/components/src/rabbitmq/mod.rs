//! RabbitMQ: the exchanges and queues between the services.

mod definitions;
pub mod management;
pub mod queue_policies;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use dm_config::Config;
use dm_engine::spec::{ContainerFile, ContainerSpec, VolumeMount};
use regex::{Captures, Regex};
use serde_json::Value;

use self::definitions::Definitions;
use self::management::ManagementClient;
use super::client_location::ClientLocation;
use super::{
    Component, ComponentError, GoldenData, HostPorts, InstanceLayout, Misconfiguration, PortSpec,
    ProbeError, ProbeFuture, ReconfigureFuture, ResetStrategy, base_container_spec, host_port,
    http_origin, root_cause,
};

/// The component's name.
pub const NAME: &str = "rabbitmq";
/// The name of its management port in allocations.
pub(crate) const MANAGEMENT_PORT_NAME: &str = "rabbitmq-management";

/// The AMQP port in its container.
const PORT: u16 = 5672;
/// The port of the management API in its container.
const MANAGEMENT_PORT: u16 = 15672;
/// The user id of the broker in its container, in the official image (Debian) and ours.
const UID: u32 = 999;

const DATA_DIR: &str = "/var/lib/rabbitmq";
const DEFINITIONS_PATH: &str = "/etc/rabbitmq/definitions.json";
const CONFIG_PATH: &str = "/etc/rabbitmq/conf.d/20-dm.conf";

/// The broker's settings.
///
/// Definitions are imported at every start, also over golden data: if the import of
/// unchanged definitions was skipped, invalid definitions would not be reported, and
/// a deleted queue would not be created again. The defaults of memory and log are
/// shares of the host's memory, which is the wrong measure for one of several
/// programs on it.
const BROKER_CONFIG: &str = "\
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
    config: dm_config::RabbitMqConfig,
    /// The broker passwords by user.
    passwords: BTreeMap<String, String>,
    definitions: Definitions,
}

impl RabbitMq {
    /// Creates the component from the configuration. Its definitions are loaded once: probes and
    /// specifications share them.
    #[must_use]
    pub fn new(config: &Config, root: &Path) -> Self {
        let passwords = config
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
            passwords,
            definitions: Definitions::load(config.rabbitmq.definitions.in_project(root)),
        }
    }

    /// Returns all definitions of a ready broker: topology, users and their permissions, and the
    /// limits of its queues.
    ///
    /// # Errors
    /// Returns [`ComponentError`] if the fixture cannot be read or is invalid.
    pub fn definitions_with_policies(&self) -> Result<Value, ComponentError> {
        let mut definitions = self.definitions.with_passwords(&self.passwords)?;
        queue_policies::add_policies(&mut definitions, &self.config.policies);
        Ok(definitions)
    }
}

/// Returns the broker user of a service.
#[must_use]
pub fn broker_user(service: &str) -> String {
    format!("{service}-service")
}

/// Returns the URI of the broker on the host, for its administrator.
#[must_use]
pub fn admin_uri(config: &dm_config::RabbitMqConfig, ports: &HostPorts) -> String {
    let (user, password) = (config.user.as_str(), config.password.reveal());
    amqp_uri(ClientLocation::Host(ports), user, password)
}

/// Returns the URI of the broker for a client location and a user.
#[must_use]
pub fn amqp_uri(location: ClientLocation<'_>, user: &str, password: &str) -> String {
    let address = location.server_address(NAME, "127.0.0.1", NAME, PORT);
    dm_amqp::build_uri(user, password, &address.host, address.port, "/").to_string()
}

/// Returns the URL of the management API on the host.
#[must_use]
pub fn management_url(ports: &HostPorts) -> String {
    management_url_from(ClientLocation::Host(ports))
}

/// Returns the URL of the management API for a client location.
#[must_use]
pub fn management_url_from(location: ClientLocation<'_>) -> String {
    let address = location.server_address(NAME, "localhost", MANAGEMENT_PORT_NAME, MANAGEMENT_PORT);
    http_origin(&address.host, address.port)
}

impl Component for RabbitMq {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ports(&self) -> Vec<PortSpec> {
        vec![
            PortSpec {
                name: NAME,
                container_port: PORT,
                host_port: self.config.port.get(),
            },
            PortSpec {
                name: MANAGEMENT_PORT_NAME,
                container_port: MANAGEMENT_PORT,
                host_port: self.config.management_port.get(),
            },
        ]
    }

    fn container_spec(&self, layout: &InstanceLayout<'_>) -> Result<ContainerSpec, ComponentError> {
        let definitions = self.definitions.with_passwords(&self.passwords)?;
        let mut spec = base_container_spec(self, layout);
        spec.files = vec![
            ContainerFile::world_readable(CONFIG_PATH, BROKER_CONFIG),
            // It contains the hashes of all passwords.
            ContainerFile::secret(DEFINITIONS_PATH, UID, format!("{definitions:#}")),
        ];
        spec.mounts.push(VolumeMount {
            volume: layout.instance.volume_name(NAME),
            path: DATA_DIR.into(),
        });
        spec.memory = self.config.memory.map(|size| size.bytes());
        spec.stop_timeout = 30;
        Ok(spec)
    }

    fn probe(&self, ports: &HostPorts) -> ProbeFuture {
        let (uri, user) = (admin_uri(&self.config, ports), self.config.user.to_string());
        let topology = self.definitions.topology();
        Box::pin(async move {
            let topology = topology?;
            topology.check_exists(&uri).await.map_err(|error| {
                let answer = error.to_string();
                // Users are imported before it listens.
                if answer.contains("ACCESS_REFUSED") {
                    ProbeError::Misconfigured(authentication_misconfiguration(&user, &answer))
                } else {
                    ProbeError::NotReady(answer)
                }
            })
        })
    }

    fn addresses(&self, ports: &HostPorts) -> Vec<String> {
        vec![
            format!(
                "amqp://{}@127.0.0.1:{}",
                self.config.user,
                host_port(ports, NAME)
            ),
            management_url(ports),
        ]
    }

    fn page_url(&self, ports: &HostPorts) -> Option<String> {
        Some(format!("{}/", management_url(ports)))
    }

    fn golden_data(&self) -> Option<GoldenData> {
        Some(GoldenData::InPlace(DATA_DIR))
    }

    fn reconfigure(&self, ports: &HostPorts) -> Option<ReconfigureFuture> {
        let (config, base_url) = (self.config.clone(), management_url(ports));
        let uri = admin_uri(&self.config, ports);
        Some(Box::pin(async move {
            let apply = async {
                let (user, password) = (config.user.as_str(), config.password.reveal());
                let management = ManagementClient::new(base_url, user, password)?;
                queue_policies::apply_policies(&management, &uri, &config.policies).await
            };
            match apply.await {
                Ok(()) => Ok(None),
                Err(error) => Err(Box::new(error) as _),
            }
        }))
    }

    fn reset_strategy(&self, ports: &HostPorts) -> Option<ResetStrategy> {
        let (component, base_url) = (self.clone(), management_url(ports));
        Some(ResetStrategy::WhileRunning(Box::pin(async move {
            let definitions = component
                .definitions_with_policies()
                .map_err(|error| error.to_string())?;
            let config = &component.config;
            ManagementClient::new(base_url, config.user.as_str(), config.password.reveal())
                .map_err(|error| root_cause(&error))?
                .reset_to_definitions(&definitions)
                .await
                .map_err(|error| root_cause(&error))
        })))
    }

    fn format_log_line(&self, line: String) -> String {
        decode_erlang_binaries(&line).into_owned()
    }

    fn wait_timeout(&self) -> Option<Duration> {
        self.config
            .wait_timeout
            .map(|timeout| timeout.as_duration())
    }
}

/// Returns the misconfiguration of a broker that rejects its administrator's password.
fn authentication_misconfiguration(user: &str, answer: &str) -> Misconfiguration {
    Misconfiguration {
        problem: format!("RabbitMQ rejects the password of `{user}` (rabbitmq.password): {answer}"),
        suggestions: vec![
            "declare the users and passwords of dm.toml again: dm restart rabbitmq".into(),
        ],
    }
}

/// Decodes the binaries in a line of Erlang terms to text. A node that cannot boot
/// prints the reason as numbers: `<<118,97,110,99,101>>`.
fn decode_erlang_binaries(line: &str) -> Cow<'_, str> {
    static BINARY: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"<<(\d{1,3}(?:,\d{1,3})+)>>").ok());
    let Some(binary) = BINARY.as_ref() else {
        return line.into();
    };
    binary.replace_all(line, |captures: &Captures<'_>| {
        let bytes: Option<Vec<u8>> = captures[1]
            .split(',')
            .map(|byte| byte.parse().ok())
            .collect();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        match text {
            // Any text is shown on one line.
            Some(text) => format!(
                "\"{}\"",
                text.split_whitespace().collect::<Vec<_>>().join(" ")
            ),
            None => captures[0].to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erlang_binaries_with_text_are_decoded() {
        assert_eq!(
            decode_erlang_binaries(
                "{exit,{4538,{error,<<110,111,10,32,32,113>>}},[{rabbit,start_it,1}]}"
            ),
            r#"{exit,{4538,{error,"no q"}},[{rabbit,start_it,1}]}"#
        );
        for other in [
            "{a,<<255,254>>}",
            "<<300,300>>",
            "[{line,452}]",
            "<<\"text\">>",
        ] {
            assert_eq!(decode_erlang_binaries(other), other);
        }
    }
}
