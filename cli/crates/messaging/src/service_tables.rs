//! The outbox and inbox tables of the services.

use dm_components::rabbitmq;
use dm_config::Config;
use dm_contracts::topology::EVENT_QUEUES;

use super::MessagingError;

/// The event tables of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTables {
    /// The name of the service in `dm.toml`.
    pub service: String,
    /// The schema. Its type in the configuration guarantees an identifier.
    pub schema: String,
    /// The work queue that it consumes.
    pub work_queue: Option<&'static str>,
}

impl ServiceTables {
    /// Returns the qualified name of a table of the schema in SQL.
    pub(super) fn qualified_table(&self, name: &str) -> String {
        format!("\"{}\".{name}", self.schema)
    }
}

/// Returns the tables of every service that has a schema.
#[must_use]
pub fn from_config(config: &Config) -> Vec<ServiceTables> {
    config
        .services
        .all()
        .into_iter()
        .filter_map(|(service, settings)| {
            let user = rabbitmq::broker_user(service);
            let queue = EVENT_QUEUES
                .iter()
                .find(|queue| queue.consumer == Some(user.as_str()));
            Some(ServiceTables {
                service: service.to_owned(),
                schema: settings.schema.as_ref()?.to_string(),
                work_queue: queue.map(|queue| queue.name),
            })
        })
        .collect()
}

/// Returns the tables of these services, or all if no name is given.
///
/// # Errors
/// Returns [`MessagingError::UnknownService`] if a service has no tables.
pub fn resolve_services(
    service_tables: &[ServiceTables],
    services: &[String],
) -> Result<Vec<ServiceTables>, MessagingError> {
    if services.is_empty() {
        return Ok(service_tables.to_vec());
    }
    let resolve = |name: &String| {
        let tables = service_tables.iter().find(|tables| tables.service == *name);
        tables
            .cloned()
            .ok_or_else(|| MessagingError::UnknownService {
                name: name.clone(),
                known: service_tables
                    .iter()
                    .map(|tables| tables.service.clone())
                    .collect(),
            })
    };
    services.iter().map(resolve).collect()
}
