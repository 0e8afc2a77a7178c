//! Somebody of the warehouse with a phone.

use dm_components::keycloak::token::sign_in;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderName};

use super::{Call, Fault, Person, Site};

/// The header that makes a repeated request have one effect.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A phone at the gateway: a token, and no cookie.
#[derive(Debug, Clone)]
pub struct Phone {
    nobody: Person,
    bearer: String,
}

impl Phone {
    /// Signs in as the app does. The token holds for some minutes.
    ///
    /// # Errors
    /// Keycloak is away, or refuses.
    pub async fn sign_in(site: &Site, user: &str) -> Result<Self, Fault> {
        let tokens = sign_in(&site.keycloak, &site.realm, user, &site.password)
            .await
            .map_err(|error| Fault::new(error.to_string()))?;
        Ok(Self {
            nobody: Person::stranger(site)?,
            bearer: format!("Bearer {}", tokens.access_token),
        })
    }

    /// A request that reads.
    #[must_use]
    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    /// A request that changes something.
    #[must_use]
    pub fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    fn call(&self, method: Method, path: &str) -> Call {
        self.nobody
            .call(method, path)
            .header(AUTHORIZATION, &self.bearer)
    }
}
