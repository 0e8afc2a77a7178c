//! The schemas of the services.

use std::collections::BTreeMap;

use dm_history::rows::ServiceName;
use dm_messaging::service_tables::ServiceTables;

use crate::SeedError;

/// The schema of each service.
#[derive(Debug, Clone)]
pub struct ServiceSchemas(BTreeMap<&'static str, String>);

impl ServiceSchemas {
    /// Collects the schemas of the services that a history needs.
    ///
    /// # Errors
    /// Returns [`SeedError::MissingService`] if one of these services has no schema.
    pub fn from_service_tables(service_tables: &[ServiceTables]) -> Result<Self, SeedError> {
        let schema = |service: ServiceName| {
            let tables = service_tables
                .iter()
                .find(|tables| tables.service == service.as_str());
            let schema = tables.map(|tables| (service.as_str(), tables.schema.clone()));
            schema.ok_or(SeedError::MissingService(service.as_str()))
        };
        let schemas: Result<_, _> = ServiceName::ALL.into_iter().map(schema).collect();
        Ok(Self(schemas?))
    }

    /// Returns the names of the schemas.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.values()
    }

    /// Returns the qualified SQL name of a table or sequence of a service.
    pub(super) fn qualified_name(&self, service: ServiceName, name: &str) -> String {
        let schema = self.0.get(service.as_str()).map_or("", String::as_str);
        format!("\"{schema}\".{name}")
    }
}
