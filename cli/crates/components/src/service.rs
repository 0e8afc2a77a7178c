//! The seven services: our own containers, which all look alike.

use std::time::Duration;

use dm_config::Config;
use dm_core::service_user::UID;
use dm_engine::spec::ContainerSpec;
use serde::Deserialize;

use super::gateway_secret;
use super::{
    Component, ComponentError, PortWish, Ports, Probe, Site, Unready, container, database,
    host_port, http_client, http_origin, innermost, keycloak, postgres, rabbitmq, service_log,
};

/// The name of the one that browsers and phones talk to.
pub const GATEWAY: &str = "gateway";

/// A service.
#[derive(Debug, Clone)]
pub struct Service {
    name: &'static str,
    config: dm_config::Service,
    /// Beside what `dm.toml` says of this service: what it says of others.
    environment: Vec<(String, String)>,
    /// What it is handed over as files, by the variable that would hold it.
    secrets: Vec<(&'static str, String)>,
}

/// The services of a configuration, in the order in which they are shown.
pub(super) fn all(config: &Config) -> impl Iterator<Item = Service> {
    config
        .services
        .all()
        .into_iter()
        .filter(|(_, service)| service.run)
        .map(|(name, service)| Service {
            name,
            config: service.clone(),
            environment: if name == GATEWAY {
                for_gateway(config)
            } else {
                for_service(config, name)
            },
            secrets: secrets(config, name, service),
        })
}

/// What a service proves with who it is: to its schema and the broker, or, the gateway, to
/// Keycloak.
fn secrets(
    config: &Config,
    name: &str,
    service: &dm_config::Service,
) -> Vec<(&'static str, String)> {
    if name == GATEWAY {
        let secret = config.keycloak.gateway_client_secret.reveal().to_owned();
        return vec![("OIDC_CLIENT_SECRET", secret)];
    }
    let database = service.database_password.as_ref();
    let broker = service.broker_password.as_ref();
    let database = database.map(|it| ("POSTGRES_PASSWORD", it.for_postgres().into_owned()));
    let broker = broker.map(|it| ("RABBITMQ_DEFAULT_PASS", it.reveal().to_owned()));
    database.into_iter().chain(broker).collect()
}

/// How a service reaches its schema and the broker.
fn for_service(config: &Config, name: &str) -> Vec<(String, String)> {
    [
        ("POSTGRES_HOST", postgres::NAME.to_owned()),
        ("POSTGRES_PORT", postgres::PORT.to_string()),
        ("POSTGRES_DB", config.postgres.database.to_string()),
        ("POSTGRES_USER", database::service_role(name)),
        ("RABBITMQ_HOST", rabbitmq::NAME.to_owned()),
        ("RABBITMQ_AMQP_PORT", "5672".to_owned()),
        ("RABBITMQ_VHOST", "/".to_owned()),
        ("RABBITMQ_DEFAULT_USER", rabbitmq::broker_user(name)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// How the gateway reaches the others.
fn for_gateway(config: &Config) -> Vec<(String, String)> {
    let services = config
        .services
        .all()
        .into_iter()
        .filter(|(name, _)| *name != GATEWAY)
        .map(|(name, service)| {
            (
                format!("{}_SERVICE_BASE_URL", name.to_uppercase()),
                format!("http://{name}:{}", service.port.get()),
            )
        });
    [
        ("KEYCLOAK_REALM", config.keycloak.realm.to_string()),
        (
            "KEYCLOAK_INTERNAL_BASE_URL",
            format!("http://{}:8080", keycloak::NAME),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .chain(services)
    .collect()
}

/// What a service answers when it is asked how it is.
#[derive(Debug, Deserialize)]
struct Health {
    #[serde(default)]
    components: std::collections::BTreeMap<String, Part>,
}

#[derive(Debug, Deserialize)]
struct Part {
    status: String,
}

impl Component for Service {
    fn name(&self) -> &'static str {
        self.name
    }

    fn after(&self) -> &'static [&'static str] {
        // The gateway looks for the others when it is asked for something.
        if self.name == GATEWAY {
            &[]
        } else {
            &[database::NAME, rabbitmq::NAME]
        }
    }

    fn needs(&self) -> &'static [&'static str] {
        if self.name == GATEWAY {
            &[
                keycloak::NAME,
                "profile",
                "sales",
                "order",
                "inventory",
                "finance",
                "wuphf",
            ]
        } else {
            &[]
        }
    }

    fn ports(&self) -> Vec<PortWish> {
        let port = self.config.port.get();
        vec![PortWish {
            name: self.name,
            container: port,
            host: port,
        }]
    }

    fn specify(&self, site: &Site<'_>) -> Result<ContainerSpec, ComponentError> {
        let mut spec = container(self, site);
        spec.env.extend(self.environment.iter().cloned());
        for (name, secret) in &self.secrets {
            spec.hand_over(name, UID, secret);
        }
        let secret = gateway_secret::of(site.state, site.instance)?;
        spec.hand_over("GATEWAY_SECRET", UID, &secret);
        spec.env.extend([
            ("SERVER_PORT".into(), self.config.port.get().to_string()),
            // The container's own network, whose ports are published on the loopback address.
            ("SERVER_ADDRESS".into(), "0.0.0.0".into()),
        ]);
        // A peer that vanishes while something is on its way to it, such as the database of
        // another machine, is given up after some 13 s and not after a quarter of an hour.
        spec.sysctls
            .insert("net.ipv4.tcp_retries2".into(), "5".into());
        if self.name == GATEWAY {
            spec.env.extend([
                (
                    "KEYCLOAK_PUBLIC_PORT".into(),
                    host_port(site.ports, keycloak::NAME).to_string(),
                ),
                (
                    "PUBLIC_PORT".into(),
                    host_port(site.ports, GATEWAY).to_string(),
                ),
            ]);
        }
        spec.env.extend(
            self.config
                .environment
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        spec.memory = self.config.memory.map(|size| size.bytes());
        Ok(spec)
    }

    fn probe(&self, ports: &Ports) -> Probe {
        let url = format!("{}/health/ready", base_url(self.name, ports));
        Box::pin(async move {
            let client = http_client().build().map_err(|error| error.to_string())?;
            let response = client
                .get(url)
                .send()
                .await
                .map_err(|error| innermost(&error))?;
            let status = response.status();
            if status.is_success() {
                return Ok(());
            }
            let down: Vec<String> = response
                .json::<Health>()
                .await
                .map(|health| health.components)
                .unwrap_or_default()
                .into_iter()
                .filter(|(_, part)| part.status != "UP")
                .map(|(name, _)| name)
                .collect();
            Err(Unready::Yet(if down.is_empty() {
                format!("the health check returns {status}")
            } else {
                format!("not available: {}", down.join(" and "))
            }))
        })
    }

    fn addresses(&self, ports: &Ports) -> Vec<String> {
        vec![base_url(self.name, ports)]
    }

    fn page(&self, ports: &Ports) -> Option<String> {
        let base = base_url(self.name, ports);
        Some(if self.name == GATEWAY {
            format!("{base}/")
        } else {
            format!("{base}/swagger-ui.html")
        })
    }

    fn readable(&self, line: String) -> String {
        service_log::readable(line)
    }

    fn wait_timeout(&self) -> Option<Duration> {
        self.config.wait_timeout.map(|wait| wait.get())
    }
}

/// The address of a service on the host.
///
/// `localhost` for the gateway, since cookies and the realm's redirect addresses
/// belong to that name.
#[must_use]
pub fn base_url(name: &str, ports: &Ports) -> String {
    let host = if name == GATEWAY {
        "localhost"
    } else {
        "127.0.0.1"
    };
    http_origin(host, host_port(ports, name))
}
