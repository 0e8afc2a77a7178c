//! The sections of the seven services. As in [`super::model`], users read the doc comments.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{MemoryLimit, PortNumber, Secret, SqlIdentifier, WaitTimeout};

/// The seven services.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ServicesConfig {
    /// The gateway, the only service that browsers and mobile apps call. It has neither a schema
    /// nor a RabbitMQ user.
    pub gateway: ServiceConfig,
    /// The profile service.
    pub profile: ServiceConfig,
    /// The sales service.
    pub sales: ServiceConfig,
    /// The order service.
    pub order: ServiceConfig,
    /// The inventory service.
    pub inventory: ServiceConfig,
    /// The finance service.
    pub finance: ServiceConfig,
    /// The wuphf service, which sends notifications.
    pub wuphf: ServiceConfig,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ServiceConfig {
    /// Whether the service is part of the stack. Set it to `false` to run the service yourself on
    /// the same port, e.g. from an editor.
    pub run: bool,
    /// Port on 127.0.0.1 and inside the stack.
    pub port: PortNumber,
    /// Schema that the service owns. No other service can read or write it. Requires
    /// `database_password`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<SqlIdentifier>,
    /// Password of the service's PostgreSQL role. Requires `schema`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_password: Option<Secret>,
    /// Password of the service's RabbitMQ user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_password: Option<Secret>,
    /// Additional environment variables, e.g. `STOCK_RESULT_PACE_MS = "0"` for inventory or
    /// `LOG_LEVEL = "debug"` for any service. They override the variables that `dm` sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Memory limit of the container. If unset, there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryLimit>,
    /// Time limit for this component to become ready. `timeouts.wait` still applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_timeout: Option<WaitTimeout>,
}

impl ServicesConfig {
    /// Returns every service with its name, in the order of the default ports.
    #[must_use]
    pub fn all(&self) -> [(&'static str, &ServiceConfig); 7] {
        [
            ("gateway", &self.gateway),
            ("profile", &self.profile),
            ("sales", &self.sales),
            ("order", &self.order),
            ("inventory", &self.inventory),
            ("finance", &self.finance),
            ("wuphf", &self.wuphf),
        ]
    }

    /// Returns the service called `name`, e.g. `order`.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn get(&self, name: &str) -> Option<&ServiceConfig> {
        self.all()
            .into_iter()
            .find_map(|(known, service)| (known == name).then_some(service))
    }
}
