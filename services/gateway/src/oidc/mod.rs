//! OpenID Connect with Keycloak.
//!
//! ```text
//! provider       the login flow
//! login_cookie   pending logins, in cookies
//! keys, tokens   verification of tokens
//! realm_tokens   the tokens of a session at the realm
//! realm_check    when the realm is asked again about a session or token
//! confirmation   whether the realm confirms that a user may stay signed in
//! logout         the end of sessions at the realm
//! realm_request  requests to the realm on behalf of a user
//! ```

pub(crate) mod confirmation;
pub(crate) mod keys;
pub(crate) mod login_cookie;
mod logout;
pub(crate) mod provider;
pub(crate) mod realm_check;
mod realm_request;
pub(crate) mod realm_tokens;
pub(crate) mod tokens;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
