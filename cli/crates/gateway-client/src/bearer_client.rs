//! Somebody of the warehouse with a phone.

use dm_components::keycloak::sign_in::sign_in;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderName};

use super::{BrowserSession, RequestFailure, StackEndpoints, TracedRequest};

/// The header that makes a repeated request have one effect.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A phone at the gateway: a token, and no cookie.
#[derive(Debug, Clone)]
pub struct BearerClient {
    inner: BrowserSession,
    authorization: String,
}

impl BearerClient {
    /// Signs in as the app does. The token holds for some minutes.
    ///
    /// # Errors
    /// Keycloak is away, or refuses.
    pub async fn sign_in(endpoints: &StackEndpoints, user: &str) -> Result<Self, RequestFailure> {
        let tokens = sign_in(
            &endpoints.keycloak_url,
            &endpoints.realm,
            user,
            &endpoints.password,
        )
        .await
        .map_err(|error| RequestFailure::new(error.to_string()))?;
        Ok(Self {
            inner: BrowserSession::anonymous(endpoints)?,
            authorization: format!("Bearer {}", tokens.access_token),
        })
    }

    /// A request that reads.
    #[must_use]
    pub fn get(&self, path: &str) -> TracedRequest {
        self.request(Method::GET, path)
    }

    /// A request that changes something.
    #[must_use]
    pub fn post(&self, path: &str) -> TracedRequest {
        self.request(Method::POST, path)
    }

    fn request(&self, method: Method, path: &str) -> TracedRequest {
        self.inner
            .request(method, path)
            .header(AUTHORIZATION, &self.authorization)
    }
}
