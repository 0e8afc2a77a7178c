//! A client of the gateway with cookies.

use std::sync::Arc;

use dm_components::http_client;
use dm_components::keycloak::sign_in::{login_form_action, page_message, submit_login_form};
use reqwest::cookie::{CookieStore as _, Jar};
use reqwest::header::{HeaderMap, HeaderName, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Url};

use super::{REQUEST_TIMEOUT, RequestFailure, StackEndpoints, TracedRequest, TracedResponse};

/// A browser session at the gateway, signed in or anonymous.
#[derive(Debug, Clone)]
pub struct BrowserSession {
    client: Client,
    cookies: Arc<Jar>,
    gateway_url: String,
}

impl BrowserSession {
    /// Creates an anonymous session.
    ///
    /// # Errors
    /// Returns [`RequestFailure`] if the HTTP client cannot be created.
    pub fn anonymous(endpoints: &StackEndpoints) -> Result<Self, RequestFailure> {
        let cookies = Arc::new(Jar::default());
        let client = http_client()
            .cookie_provider(Arc::clone(&cookies))
            // Followed explicitly: the target is part of the contract.
            .redirect(Policy::none())
            .timeout(REQUEST_TIMEOUT)
            .build()
            .map_err(|error| RequestFailure::new(error.to_string()))?;
        Ok(Self {
            client,
            cookies,
            gateway_url: endpoints.gateway_url.clone(),
        })
    }

    /// Signs in like a browser: from the gateway to Keycloak's login page and back.
    ///
    /// # Errors
    /// Returns [`RequestFailure`] if Keycloak refuses the sign-in, or a response violates the
    /// contract.
    pub async fn sign_in(endpoints: &StackEndpoints, user: &str) -> Result<Self, RequestFailure> {
        let session = Self::anonymous(endpoints)?;
        let redirect = session
            .get("/oauth2/authorization/keycloak?returnTo=/portal")
            .expect_status(302)
            .await?;
        let page = session.follow_redirect(&redirect).await?;
        if login_form_action(&page.body).is_none() {
            let message = page_message(&page.body);
            return Err(
                page.failure(message.unwrap_or_else(|| "the page has no login form".into()))
            );
        }
        let location = submit_login_form(&session.client, &page.body, user, &endpoints.password)
            .await
            .map_err(|error| RequestFailure::new(error.to_string()))?;
        let path = location
            .strip_prefix(&endpoints.gateway_url)
            .ok_or_else(|| {
                RequestFailure::new(format!(
                    "Keycloak redirects {user} to {location} instead of the gateway"
                ))
            })?;
        let callback = session.get(path).expect_status(302).await?;
        let cookie = header_text(&callback.headers, SET_COOKIE).unwrap_or_default();
        for part in [
            "dmf_session",
            "HttpOnly",
            "SameSite=Lax",
            "Path=/",
            "Max-Age=1800",
        ] {
            if !cookie.contains(part) {
                return Err(callback.failure(format!("the session cookie has no {part}")));
            }
        }
        Ok(session)
    }

    /// Returns the session cookie, for requests of other clients.
    ///
    /// # Errors
    /// Returns [`RequestFailure`] if the user is not signed in.
    pub fn session_cookie(&self) -> Result<String, RequestFailure> {
        let gateway = Url::parse(&self.gateway_url)
            .map_err(|error| RequestFailure::new(error.to_string()))?;
        self.cookies
            .cookies(&gateway)
            .and_then(|cookies| cookies.to_str().ok().map(str::to_owned))
            .ok_or_else(|| RequestFailure::new("the user is not signed in"))
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

    /// Creates a PUT request.
    #[must_use]
    pub fn put(&self, path: &str) -> TracedRequest {
        self.request(Method::PUT, path)
    }

    /// Creates a DELETE request.
    #[must_use]
    pub fn delete(&self, path: &str) -> TracedRequest {
        self.request(Method::DELETE, path)
    }

    /// Creates a request to the gateway.
    pub(super) fn request(&self, method: Method, path: &str) -> TracedRequest {
        TracedRequest::new(&self.client, method, &self.gateway_url, path)
    }

    /// Creates a GET request to another base address than the gateway.
    #[must_use]
    pub fn get_from(&self, base: &str, path: &str) -> TracedRequest {
        TracedRequest::new(&self.client, Method::GET, base, path)
    }

    /// Requests the target of a redirect, which is not at the gateway.
    async fn follow_redirect(
        &self,
        response: &TracedResponse,
    ) -> Result<TracedResponse, RequestFailure> {
        let location = header_text(&response.headers, LOCATION)
            .ok_or_else(|| response.failure("the redirect has no location"))?;
        self.get_from(location, "").expect_status(200).await
    }
}

/// Returns the text of a header, if the response has it.
fn header_text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
