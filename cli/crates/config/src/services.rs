//! The seven services. As in [`super::model`], the doc comments are what a user
//! reads.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{Identifier, Memory, Port, Secret, Wait};

/// The services of the paper company.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Services {
    /// The gateway, the only one that browsers and mobile apps talk to. It has
    /// neither a schema nor a user at the broker.
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
    /// Whether it is part of the stack. Set to `false` to run it yourself, e.g. from
    /// an editor, on the same port.
    pub run: bool,
    /// The port on 127.0.0.1 and inside the stack.
    pub port: Port,
    /// The schema that the service owns; no other service may read or write it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Identifier>,
    /// The password of the service's role in PostgreSQL. Goes with `schema`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_password: Option<Secret>,
    /// The password of the service's user at RabbitMQ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_password: Option<Secret>,
    /// Further variables of its environment, e.g. `STOCK_RESULT_PACE_MS = "0"` for
    /// inventory or `LOG_LEVEL = "debug"` for any. They win over those that `dm` sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The most memory that the container may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// How long it may take to become ready, within `timeouts.wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_timeout: Option<Wait>,
}

impl Services {
    /// Every service with its name, in the order of their ports by default.
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

    /// The service called `name`, e.g. `order`.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn get(&self, name: &str) -> Option<&Service> {
        self.all()
            .into_iter()
            .find_map(|(known, service)| (known == name).then_some(service))
    }
}
