//! Where the services keep their events: an outbox and an inbox each.

use dm_components::rabbitmq;
use dm_config::Config;
use dm_contracts::topology::WORK_QUEUES;

use super::MessagingError;

/// The tables of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTables {
    /// The service, as `dm.toml` calls it.
    pub service: String,
    /// Its schema, which is an identifier by its type in the configuration.
    pub schema: String,
    /// The work queue that it consumes.
    pub work_queue: Option<&'static str>,
}

impl ServiceTables {
    /// A table of its schema, as SQL names it.
    pub(super) fn qualified_table(&self, name: &str) -> String {
        format!("\"{}\".{name}", self.schema)
    }
}

/// Those of every service that has a schema.
#[must_use]
pub fn from_config(config: &Config) -> Vec<ServiceTables> {
    config
        .services
        .all()
        .into_iter()
        .filter_map(|(service, settings)| {
            let user = rabbitmq::broker_user(service);
            let queue = WORK_QUEUES
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

/// Those of these services; all where none is named.
///
/// # Errors
/// [`MessagingError::UnknownService`] where one of them has none.
pub fn resolve_services(
    service_tables: &[ServiceTables],
    services: &[String],
) -> Result<Vec<ServiceTables>, MessagingError> {
    if services.is_empty() {
        return Ok(service_tables.to_vec());
    }
    let one = |name: &String| {
        let found = service_tables.iter().find(|store| store.service == *name);
        found
            .cloned()
            .ok_or_else(|| MessagingError::UnknownService {
                name: name.clone(),
                known: service_tables
                    .iter()
                    .map(|store| store.service.clone())
                    .collect(),
            })
    };
    services.iter().map(one).collect()
}
