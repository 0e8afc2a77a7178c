//! A client of the gateway with a bearer token.

use dm_components::keycloak::sign_in::sign_in;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderName};

use super::{BrowserSession, RequestFailure, StackEndpoints, TracedRequest};

/// The header that makes repeated requests idempotent.
pub const IDEMPOTENCY_KEY: HeaderName =
    HeaderName::from_static(dm_contracts::headers::IDEMPOTENCY_KEY);

/// A client of the gateway with a bearer token and no cookie, like the warehouse app.
#[derive(Debug, Clone)]
pub struct BearerClient {
    inner: BrowserSession,
    authorization: String,
}

impl BearerClient {
    /// Signs in like the app. The token is valid for some minutes.
    ///
    /// # Errors
    /// Returns [`RequestFailure`] if Keycloak cannot be reached or refuses the sign-in.
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

    /// Creates a GET request.
    #[must_use]
    pub fn get(&self, path: &str) -> TracedRequest {
        self.request(Method::GET, path)
    }

    /// Creates a POST request.
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
