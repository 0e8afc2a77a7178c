//! The sections of the seven services. As in [`super::model`], users read the doc comments.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{Identifier, Memory, Port, Secret, Wait};

/// The seven services.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Services {
    /// The gateway, the only service that browsers and mobile apps call. It has neither a schema
    /// nor a RabbitMQ user.
    pub gateway: Service,
    /// The profile service.
    pub profile: Service,
    /// The sales service.
    pub sales: Service,
    /// The order service.
    pub order: Service,
    /// The inventory service.
    pub inventory: Service,
    /// The finance service.
    pub finance: Service,
    /// The wuphf service, which sends notifications.
    pub wuphf: Service,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Service {
    /// Whether the service is part of the stack. Set it to `false` to run the service yourself on
    /// the same port, e.g. from an editor.
    pub run: bool,
    /// Port on 127.0.0.1 and inside the stack.
    pub port: Port,
    /// Schema that the service owns. No other service can read or write it. Requires
    /// `database_password`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Identifier>,
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
    pub memory: Option<Memory>,
    /// Time limit for this component to become ready. `timeouts.wait` still applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_timeout: Option<Wait>,
}

impl Services {
    /// Returns every service with its name, in the order of the default ports.
    #[must_use]
    pub fn all(&self) -> [(&'static str, &Service); 7] {
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
    pub(crate) fn get(&self, name: &str) -> Option<&Service> {
        self.all()
            .into_iter()
            .find_map(|(known, service)| (known == name).then_some(service))
    }
}
