//! Keycloak: how people sign in, and how what it says is proved.

pub(crate) mod keys;
pub(crate) mod login_cookie;
pub(crate) mod provider;
pub(crate) mod tokens;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
