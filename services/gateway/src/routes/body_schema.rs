//! Schemas of the bodies, for the OpenAPI document.

use std::borrow::Cow;

use dm_contracts::api::list::List;
use utoipa::openapi::{Components, Ref, RefOr, Schema};
use utoipa::{PartialSchema as _, ToSchema};

/// The name and the schema of a body, and the schemas that it refers to. Derived from the
/// types with which the services themselves respond.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodySchema {
    name: fn() -> Cow<'static, str>,
    schema: fn() -> RefOr<Schema>,
    dependencies: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl BodySchema {
    /// Returns the schema of a type.
    pub(crate) const fn for_type<T: ToSchema>() -> Self {
        Self {
            name: T::name,
            schema: T::schema,
            dependencies: T::schemas,
        }
    }

    /// Returns the schema of a list of a type.
    pub(crate) const fn for_list<T: ToSchema>() -> Self {
        Self {
            name: list_name::<T>,
            schema: List::<T>::schema,
            dependencies: list_dependencies::<T>,
        }
    }

    /// Adds the schema and its dependencies to the components, and returns a reference to it.
    pub(super) fn add_to(self, components: &mut Components) -> Ref {
        let mut schemas = vec![((self.name)().into_owned(), (self.schema)())];
        (self.dependencies)(&mut schemas);
        for (name, schema) in schemas {
            components.schemas.entry(name).or_insert(schema);
        }
        Ref::from_schema_name((self.name)())
    }
}

/// Returns the name of a list schema, as in the OpenAPI documents of the services: lists of
/// different types are different schemas.
fn list_name<T: ToSchema>() -> Cow<'static, str> {
    format!("{}_{}", List::<T>::name(), T::name()).into()
}

fn list_dependencies<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}
