//! Where the tables of the services are.

use std::collections::BTreeMap;

use dm_business::rows::Service;
use dm_messaging::stores::Store;

use crate::SeedError;

/// The schema of each service.
#[derive(Debug, Clone)]
pub struct Schemas(BTreeMap<&'static str, String>);

impl Schemas {
    /// The schemas of a stack's services.
    ///
    /// # Errors
    /// [`SeedError::NoService`] where one of those that take part has none.
    pub fn of(stores: &[Store]) -> Result<Self, SeedError> {
        let schema = |service: Service| {
            let store = stores.iter().find(|store| store.service == service.name());
            let schema = store.map(|store| (service.name(), store.schema.clone()));
            schema.ok_or(SeedError::NoService(service.name()))
        };
        let schemas: Result<_, _> = Service::ALL.into_iter().map(schema).collect();
        Ok(Self(schemas?))
    }

    /// The names of the schemas.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.values()
    }

    /// A table or a sequence of a service, as SQL names it.
    pub(super) fn table(&self, service: Service, name: &str) -> String {
        let schema = self.0.get(service.name()).map_or("", String::as_str);
        format!("\"{schema}\".{name}")
    }
}
