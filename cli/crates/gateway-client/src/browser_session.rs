//! Somebody with a browser.

use std::sync::Arc;

use dm_components::http_client;
use dm_components::keycloak::sign_in::{
    login_form_action, page_message, rejection_reason, required_action_from_redirect,
};
use reqwest::cookie::{CookieStore as _, Jar};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Url};

use super::{
    REQUEST_TIMEOUT, RequestFailure, StackEndpoints, TracedRequest, TracedResponse, new_trace_id,
};

/// A person at the gateway, signed in or not.
#[derive(Debug, Clone)]
pub struct BrowserSession {
    client: Client,
    cookies: Arc<Jar>,
    gateway_url: String,
}

impl BrowserSession {
    /// Somebody who is not signed in.
    ///
    /// # Errors
    /// No client can be made.
    pub fn anonymous(endpoints: &StackEndpoints) -> Result<Self, RequestFailure> {
        let cookies = Arc::new(Jar::default());
        let client = http_client()
            .cookie_provider(Arc::clone(&cookies))
            // Followed by hand: where it leads is part of the contract.
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

    /// Signs in as a browser does: from the gateway to Keycloak's page and back.
    ///
    /// # Errors
    /// Keycloak refuses, or an answer on the way is not the contract's.
    pub async fn sign_in(endpoints: &StackEndpoints, user: &str) -> Result<Self, RequestFailure> {
        let person = Self::anonymous(endpoints)?;
        let begin = person
            .get("/oauth2/authorization/keycloak?returnTo=/portal")
            .expect_status(302)
            .await?;
        let page = person.follow_redirect(&begin).await?;
        let action = login_form_action(&page.body).ok_or_else(|| {
            page.failure(
                page_message(&page.body).unwrap_or_else(|| "the page has no login form".into()),
            )
        })?;
        let posted = person
            .client
            .post(action)
            .header("x-trace-id", new_trace_id())
            .form(&[
                ("username", user),
                ("password", endpoints.password.as_str()),
                ("credentialId", ""),
            ])
            .send()
            .await
            .map_err(|error| RequestFailure::new(format!("Keycloak: {error}")))?;
        let location = posted
            .headers()
            .get(reqwest::header::LOCATION)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let Some(location) = location else {
            let text = posted.text().await.unwrap_or_default();
            let reason = rejection_reason(&text);
            return Err(RequestFailure::new(format!(
                "could not sign in {user}: {reason}"
            )));
        };
        if let Some(wish) = required_action_from_redirect(&location) {
            let what =
                format!("could not sign in {user}: Keycloak requires the user to {wish} first");
            return Err(RequestFailure::new(what));
        }
        let path = location
            .strip_prefix(&endpoints.gateway_url)
            .ok_or_else(|| {
                RequestFailure::new(format!(
                    "Keycloak redirects {user} to {location} instead of the gateway"
                ))
            })?;
        let back = person.get(path).expect_status(302).await?;
        let cookie = back
            .headers
            .get(reqwest::header::SET_COOKIE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        for part in [
            "dmf_session",
            "HttpOnly",
            "SameSite=Lax",
            "Path=/",
            "Max-Age=1800",
        ] {
            if !cookie.contains(part) {
                return Err(back.failure(format!("the session cookie has no {part}")));
            }
        }
        Ok(person)
    }

    /// The cookie of the session, for requests that are made elsewhere.
    ///
    /// # Errors
    /// The person is not signed in.
    pub fn session_cookie(&self) -> Result<String, RequestFailure> {
        let gateway = Url::parse(&self.gateway_url)
            .map_err(|error| RequestFailure::new(error.to_string()))?;
        self.cookies
            .cookies(&gateway)
            .and_then(|cookies| cookies.to_str().ok().map(str::to_owned))
            .ok_or_else(|| RequestFailure::new("the user is not signed in"))
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

    /// A request at the gateway.
    pub(super) fn request(&self, method: Method, path: &str) -> TracedRequest {
        TracedRequest::new(&self.client, method, &self.gateway_url, path)
    }

    /// A request elsewhere than at the gateway.
    #[must_use]
    pub fn get_from(&self, base: &str, path: &str) -> TracedRequest {
        TracedRequest::new(&self.client, Method::GET, base, path)
    }

    /// Where an answer leads, which is elsewhere.
    async fn follow_redirect(
        &self,
        answer: &TracedResponse,
    ) -> Result<TracedResponse, RequestFailure> {
        let location = answer
            .headers
            .get(reqwest::header::LOCATION)
            .and_then(|value| value.to_str().ok())
            .ok_or_else(|| answer.failure("the redirect has no location"))?;
        self.get_from(location, "").expect_status(200).await
    }
}
