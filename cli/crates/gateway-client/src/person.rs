//! Somebody with a browser.

use std::sync::Arc;

use dm_components::http_client;
use dm_components::keycloak::token::{login_action, message, refusal, wish_of_redirect};
use reqwest::cookie::{CookieStore as _, Jar};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Url};

use super::{Answer, Call, Fault, REQUEST_LIMIT, Site, trace_id};

/// A person at the gateway, signed in or not.
#[derive(Debug, Clone)]
pub struct Person {
    client: Client,
    cookies: Arc<Jar>,
    gateway: String,
}

impl Person {
    /// Somebody who is not signed in.
    ///
    /// # Errors
    /// No client can be made.
    pub fn stranger(site: &Site) -> Result<Self, Fault> {
        let cookies = Arc::new(Jar::default());
        let client = http_client()
            .cookie_provider(Arc::clone(&cookies))
            // Followed by hand: where it leads is part of the contract.
            .redirect(Policy::none())
            .timeout(REQUEST_LIMIT)
            .build()
            .map_err(|error| Fault::new(error.to_string()))?;
        Ok(Self {
            client,
            cookies,
            gateway: site.gateway.clone(),
        })
    }

    /// Signs in as a browser does: from the gateway to Keycloak's page and back.
    ///
    /// # Errors
    /// Keycloak refuses, or an answer on the way is not the contract's.
    pub async fn sign_in(site: &Site, user: &str) -> Result<Self, Fault> {
        let person = Self::stranger(site)?;
        let begin = person
            .get("/oauth2/authorization/keycloak?returnTo=/portal")
            .expect(302)
            .await?;
        let page = person.follow(&begin).await?;
        let action = login_action(&page.text).ok_or_else(|| {
            page.fault(message(&page.text).unwrap_or_else(|| "the page has no login form".into()))
        })?;
        let posted = person
            .client
            .post(action)
            .header("x-trace-id", trace_id())
            .form(&[
                ("username", user),
                ("password", site.password.as_str()),
                ("credentialId", ""),
            ])
            .send()
            .await
            .map_err(|error| Fault::new(format!("Keycloak: {error}")))?;
        let location = posted
            .headers()
            .get(reqwest::header::LOCATION)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let Some(location) = location else {
            let text = posted.text().await.unwrap_or_default();
            let reason = refusal(&text);
            return Err(Fault::new(format!("could not sign in {user}: {reason}")));
        };
        if let Some(wish) = wish_of_redirect(&location) {
            let what =
                format!("could not sign in {user}: Keycloak requires the user to {wish} first");
            return Err(Fault::new(what));
        }
        let path = location.strip_prefix(&site.gateway).ok_or_else(|| {
            Fault::new(format!(
                "Keycloak redirects {user} to {location} instead of the gateway"
            ))
        })?;
        let back = person.get(path).expect(302).await?;
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
                return Err(back.fault(format!("the session cookie has no {part}")));
            }
        }
        Ok(person)
    }

    /// The cookie of the session, for requests that are made elsewhere.
    ///
    /// # Errors
    /// The person is not signed in.
    pub fn cookie(&self) -> Result<String, Fault> {
        let gateway = Url::parse(&self.gateway).map_err(|error| Fault::new(error.to_string()))?;
        self.cookies
            .cookies(&gateway)
            .and_then(|cookies| cookies.to_str().ok().map(str::to_owned))
            .ok_or_else(|| Fault::new("the user is not signed in"))
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

    /// A request at the gateway.
    pub(super) fn call(&self, method: Method, path: &str) -> Call {
        Call::new(&self.client, method, &self.gateway, path)
    }

    /// A request elsewhere than at the gateway.
    #[must_use]
    pub fn get_from(&self, base: &str, path: &str) -> Call {
        Call::new(&self.client, Method::GET, base, path)
    }

    /// Where an answer leads, which is elsewhere.
    async fn follow(&self, answer: &Answer) -> Result<Answer, Fault> {
        let location = answer
            .headers
            .get(reqwest::header::LOCATION)
            .and_then(|value| value.to_str().ok())
            .ok_or_else(|| answer.fault("the redirect has no location"))?;
        self.get_from(location, "").expect(200).await
    }
}
