//! The seven services: the project's own containers, which are configured alike.

use std::time::Duration;

use dm_config::Config;
use dm_core::service_user::SERVICE_UID;
use dm_engine::spec::ContainerSpec;
use serde::Deserialize;

use super::gateway_secret;
use super::{
    Component, ComponentError, HostPorts, InstanceLayout, PortSpec, ProbeError, ProbeFuture,
    base_container_spec, database_setup, host_port, http_client, http_origin, keycloak, postgres,
    rabbitmq, root_cause, service_log,
};

/// The name of the service for browsers and phones.
pub const GATEWAY: &str = "gateway";

/// The variables of external front ends, and their ports.
const FRONT_ENDS: [(&str, u16); 3] = [
    ("PORTAL_WEB_BASE_URL", 3000),
    ("INFINITY_WEB_BASE_URL", 3001),
    ("ACCOUNTING_WEB_BASE_URL", 3002),
];

/// A service.
#[derive(Debug, Clone)]
pub struct ServiceComponent {
    name: &'static str,
    config: dm_config::ServiceConfig,
    /// The environment that depends on other components.
    environment: Vec<(String, String)>,
    /// The secrets that it receives as files, by the corresponding variable.
    secrets: Vec<(&'static str, String)>,
}

/// Returns the services of a configuration, in display order.
pub(super) fn service_components(config: &Config) -> impl Iterator<Item = ServiceComponent> {
    config
        .services
        .all()
        .into_iter()
        .filter(|(_, service)| service.run)
        .map(|(name, service)| ServiceComponent {
            name,
            config: service.clone(),
            environment: if name == GATEWAY {
                gateway_environment(config)
            } else {
                service_environment(config, name)
            },
            secrets: service_secrets(config, name, service),
        })
}

/// Returns the secrets with which a service authenticates to its schema and the broker, or the
/// gateway to Keycloak.
fn service_secrets(
    config: &Config,
    name: &str,
    service: &dm_config::ServiceConfig,
) -> Vec<(&'static str, String)> {
    if name == GATEWAY {
        let secret = config.keycloak.gateway_client_secret.reveal().to_owned();
        return vec![("OIDC_CLIENT_SECRET", secret)];
    }
    let database = service.database_password.as_ref();
    let broker = service.broker_password.as_ref();
    let database = database.map(|password| {
        let password = password.to_postgres_password().into_owned();
        ("POSTGRES_PASSWORD", password)
    });
    let broker = broker.map(|password| ("RABBITMQ_DEFAULT_PASS", password.reveal().to_owned()));
    database.into_iter().chain(broker).collect()
}

/// Returns the variables with which a service connects to its schema and the broker.
fn service_environment(config: &Config, name: &str) -> Vec<(String, String)> {
    [
        ("POSTGRES_HOST", postgres::NAME.to_owned()),
        ("POSTGRES_PORT", postgres::PORT.to_string()),
        ("POSTGRES_DB", config.postgres.database.to_string()),
        ("POSTGRES_USER", database_setup::service_role(name)),
        ("RABBITMQ_HOST", rabbitmq::NAME.to_owned()),
        ("RABBITMQ_AMQP_PORT", "5672".to_owned()),
        ("RABBITMQ_VHOST", "/".to_owned()),
        ("RABBITMQ_DEFAULT_USER", rabbitmq::broker_user(name)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Returns the variables with which the gateway connects to the other services and Keycloak.
fn gateway_environment(config: &Config) -> Vec<(String, String)> {
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
    .chain(front_end_urls(config))
    .collect()
}

/// Returns the variables with the base URLs of external front ends, if they are configured.
fn front_end_urls(config: &Config) -> impl Iterator<Item = (String, String)> {
    config.apps.front_ends.iter().flat_map(|host| {
        FRONT_ENDS.map(|(variable, port)| (variable.to_owned(), host.with_port(port)))
    })
}

/// The response of a service's health check.
#[derive(Debug, Deserialize)]
struct HealthResponse {
    #[serde(default)]
    components: std::collections::BTreeMap<String, HealthComponent>,
}

#[derive(Debug, Deserialize)]
struct HealthComponent {
    status: String,
}

impl Component for ServiceComponent {
    fn name(&self) -> &'static str {
        self.name
    }

    fn start_dependencies(&self) -> &'static [&'static str] {
        // The gateway connects to the others with the first request.
        if self.name == GATEWAY {
            &[]
        } else {
            &[database_setup::NAME, rabbitmq::NAME]
        }
    }

    fn runtime_dependencies(&self) -> &'static [&'static str] {
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

    fn ports(&self) -> Vec<PortSpec> {
        let port = self.config.port.get();
        vec![PortSpec {
            name: self.name,
            container_port: port,
            host_port: port,
        }]
    }

    fn container_spec(&self, layout: &InstanceLayout<'_>) -> Result<ContainerSpec, ComponentError> {
        let mut spec = base_container_spec(self, layout);
        spec.env.extend(self.environment.iter().cloned());
        for (name, secret) in &self.secrets {
            spec.add_secret_file(name, SERVICE_UID, secret);
        }
        let secret = gateway_secret::load_or_create(layout.state_dir, layout.instance)?;
        spec.add_secret_file("GATEWAY_SECRET", SERVICE_UID, &secret);
        spec.env.extend([
            ("SERVER_PORT".into(), self.config.port.get().to_string()),
            // The container's own network, whose ports are published on the loopback address.
            ("SERVER_ADDRESS".into(), "0.0.0.0".into()),
        ]);
        // A peer that vanishes with data in flight to it, e.g. a database on another machine,
        // is given up after some 13 s and not after a quarter of an hour.
        spec.sysctls
            .insert("net.ipv4.tcp_retries2".into(), "5".into());
        if self.name == GATEWAY {
            spec.env.extend([
                (
                    "KEYCLOAK_PUBLIC_PORT".into(),
                    host_port(layout.ports, keycloak::NAME).to_string(),
                ),
                (
                    "PUBLIC_PORT".into(),
                    host_port(layout.ports, GATEWAY).to_string(),
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

    fn probe(&self, ports: &HostPorts) -> ProbeFuture {
        let url = format!("{}/health/ready", base_url(self.name, ports));
        Box::pin(async move {
            let client = http_client().build().map_err(|error| error.to_string())?;
            let response = client
                .get(url)
                .send()
                .await
                .map_err(|error| root_cause(&error))?;
            let status = response.status();
            if status.is_success() {
                return Ok(());
            }
            let down: Vec<String> = response
                .json::<HealthResponse>()
                .await
                .map(|health| health.components)
                .unwrap_or_default()
                .into_iter()
                .filter(|(_, component)| component.status != "UP")
                .map(|(name, _)| name)
                .collect();
            Err(ProbeError::NotReady(if down.is_empty() {
                format!("the health check returns {status}")
            } else {
                format!("not available: {}", down.join(" and "))
            }))
        })
    }

    fn addresses(&self, ports: &HostPorts) -> Vec<String> {
        vec![base_url(self.name, ports)]
    }

    fn page_url(&self, ports: &HostPorts) -> Option<String> {
        let base = base_url(self.name, ports);
        Some(if self.name == GATEWAY {
            format!("{base}/")
        } else {
            format!("{base}/swagger-ui.html")
        })
    }

    fn format_log_line(&self, line: String) -> String {
        service_log::format_log_line(line)
    }

    fn wait_timeout(&self) -> Option<Duration> {
        self.config
            .wait_timeout
            .map(|timeout| timeout.as_duration())
    }
}

/// Returns the address of a service on the host.
///
/// `localhost` for the gateway, since cookies and the realm's redirect addresses
/// belong to that name.
#[must_use]
pub fn base_url(name: &str, ports: &HostPorts) -> String {
    let host = if name == GATEWAY {
        "localhost"
    } else {
        "127.0.0.1"
    };
    http_origin(host, host_port(ports, name))
}
