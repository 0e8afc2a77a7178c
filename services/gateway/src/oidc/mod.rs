//! Keycloak: how people sign in, and how what it says is proved.

pub mod keys;
pub mod pending;
pub mod provider;
pub mod tokens;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
