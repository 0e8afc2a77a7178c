//! OpenID Connect with Keycloak: the login flow and the verification of tokens.

pub(crate) mod keys;
pub(crate) mod login_cookie;
pub(crate) mod provider;
pub(crate) mod tokens;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
