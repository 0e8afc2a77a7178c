//! The bodies of the contract, as the description refers to them.

use std::borrow::Cow;

use dm_contracts::api::list::List;
use utoipa::openapi::{Components, Ref, RefOr, Schema};
use utoipa::{PartialSchema as _, ToSchema};

/// A body: its name, what it is, and what that is made of. From the types that the
/// services themselves answer with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    name: fn() -> Cow<'static, str>,
    schema: fn() -> RefOr<Schema>,
    parts: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl Shape {
    /// The shape of a type.
    pub(crate) const fn of<T: ToSchema>() -> Self {
        Self {
            name: T::name,
            schema: T::schema,
            parts: T::schemas,
        }
    }

    /// The shape of a list of a type.
    pub(crate) const fn list_of<T: ToSchema>() -> Self {
        Self {
            name: list_name::<T>,
            schema: List::<T>::schema,
            parts: list_parts::<T>,
        }
    }

    /// Adds it, and all that it is made of, to the description. Answers what refers
    /// to it.
    pub(super) fn add(self, components: &mut Components) -> Ref {
        let mut schemas = vec![((self.name)().into_owned(), (self.schema)())];
        (self.parts)(&mut schemas);
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

fn list_parts<T: ToSchema>(parts: &mut Vec<(String, RefOr<Schema>)>) {
    parts.push((T::name().into_owned(), T::schema()));
    T::schemas(parts);
}
