//! The bodies of the contract, as the description refers to them.

use std::borrow::Cow;

use dm_contracts::api::list::List;
use utoipa::openapi::{Components, Ref, RefOr, Schema};
use utoipa::{PartialSchema as _, ToSchema};

/// A body: its name, what it is, and what that is made of. From the types that the
/// services themselves answer with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodySchema {
    name: fn() -> Cow<'static, str>,
    schema: fn() -> RefOr<Schema>,
    dependencies: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl BodySchema {
    /// The shape of a type.
    pub(crate) const fn for_type<T: ToSchema>() -> Self {
        Self {
            name: T::name,
            schema: T::schema,
            dependencies: T::schemas,
        }
    }

    /// The shape of a list of a type.
    pub(crate) const fn for_list<T: ToSchema>() -> Self {
        Self {
            name: list_name::<T>,
            schema: List::<T>::schema,
            dependencies: list_dependencies::<T>,
        }
    }

    /// Adds it, and all that it is made of, to the description. Answers what refers
    /// to it.
    pub(super) fn add_to(self, components: &mut Components) -> Ref {
        let mut schemas = vec![((self.name)().into_owned(), (self.schema)())];
        (self.dependencies)(&mut schemas);
        for (name, schema) in schemas {
            components.schemas.entry(name).or_insert(schema);
        }
        Ref::from_schema_name((self.name)())
    }
}

/// Lists of different things are different schemas: they are named as the services'
/// own descriptions name them.
fn list_name<T: ToSchema>() -> Cow<'static, str> {
    format!("{}_{}", List::<T>::name(), T::name()).into()
}

fn list_dependencies<T: ToSchema>(parts: &mut Vec<(String, RefOr<Schema>)>) {
    parts.push((T::name().into_owned(), T::schema()));
    T::schemas(parts);
}
