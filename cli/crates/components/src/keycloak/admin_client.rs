//! A client of Keycloak's admin API.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response};
use serde::Deserialize;
use serde_json::Value;

use crate::http_client;

/// How long a request may take. The first export of a Keycloak takes some seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an import of users may take. A directory with 20 users takes 0.3 s.
const IMPORT_TIMEOUT: Duration = Duration::from_secs(600);
/// The realm of the administrator.
const MASTER_REALM: &str = "master";

/// The result of an import of users (`SynchronizationResult` of Keycloak).
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct ImportResult {
    /// Whether nothing was done, because another import of the federation is running.
    #[serde(default)]
    pub ignored: bool,
    /// The number of users that could not be imported.
    #[serde(default)]
    pub failed: u64,
}

/// A client of a realm's admin API, with the administrator's credentials.
#[derive(Debug, Clone, Copy)]
pub struct AdminClient<'a> {
    /// The base URL of Keycloak.
    pub base_url: &'a str,
    /// The realm's name.
    pub realm: &'a str,
    /// The administrator.
    pub user: &'a str,
    /// The administrator's password.
    pub password: &'a str,
}

impl AdminClient<'_> {
    /// Checks whether Keycloak accepts the administrator's credentials.
    ///
    /// # Errors
    /// Returns [`reqwest::Error`] if Keycloak cannot be reached or rejects the request.
    pub async fn check_credentials(&self) -> Result<(), reqwest::Error> {
        self.sign_in().await.map(drop)
    }

    /// Exports the realm as far as Keycloak supports this while it runs: clients, groups and
    /// roles, and no users.
    ///
    /// # Errors
    /// Returns [`reqwest::Error`] if Keycloak cannot be reached or rejects the request.
    pub async fn export_realm(&self) -> Result<Value, reqwest::Error> {
        let session = self.sign_in().await?;
        let path = format!(
            "{}/partial-export?exportClients=true&exportGroupsAndRoles=true",
            self.realm
        );
        session.request(Method::POST, &path).await?.json().await
    }

    /// Imports all users of a federation's directory, as the first sign-in of each user would.
    /// A directory that Keycloak cannot read looks like an empty one.
    ///
    /// # Errors
    /// Returns [`reqwest::Error`] if Keycloak cannot be reached or rejects the request.
    pub(super) async fn import_users(
        &self,
        federation: &str,
    ) -> Result<ImportResult, reqwest::Error> {
        let session = self.sign_in().await?;
        let path = format!(
            "{}/user-storage/{federation}/sync?action=triggerFullSync",
            self.realm
        );
        let request = session.build_request(Method::POST, &path);
        let response = request.timeout(IMPORT_TIMEOUT).send().await?;
        response.error_for_status()?.json().await
    }

    /// Ends all sessions of the realm, and clears Keycloak's caches of its database.
    ///
    /// # Errors
    /// Returns [`reqwest::Error`] if Keycloak cannot be reached or rejects the request.
    pub(crate) async fn clear_sessions_and_caches(&self) -> Result<(), reqwest::Error> {
        let (session, realm) = (self.sign_in().await?, self.realm);
        let sessions = format!("{realm}/logout-all");
        let failures = format!("{realm}/attack-detection/brute-force/users");
        tokio::try_join!(
            session.request(Method::POST, &sessions),
            session.request(Method::DELETE, &failures),
        )?;
        // Each cache is shared by all realms.
        let caches =
            ["user", "keys", "realm"].map(|cache| format!("{MASTER_REALM}/clear-{cache}-cache"));
        for cache in &caches {
            session.request(Method::POST, cache).await?;
        }
        Ok(())
    }

    async fn sign_in(&self) -> Result<AdminSession<'_>, reqwest::Error> {
        #[derive(Deserialize)]
        struct Token {
            access_token: String,
        }
        let client = http_client().timeout(REQUEST_TIMEOUT).build()?;
        let token: Token = client
            .post(format!(
                "{}/realms/{MASTER_REALM}/protocol/openid-connect/token",
                self.base_url
            ))
            .form(&[
                ("grant_type", "password"),
                ("client_id", "admin-cli"),
                ("username", self.user),
                ("password", self.password),
            ])
            .send()
            .await
            .and_then(Response::error_for_status)?
            .json()
            .await?;
        Ok(AdminSession {
            client,
            base_url: self.base_url,
            access_token: token.access_token,
        })
    }
}

/// The session of a signed-in administrator.
struct AdminSession<'a> {
    client: Client,
    base_url: &'a str,
    access_token: String,
}

impl AdminSession<'_> {
    fn build_request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}/admin/realms/{path}", self.base_url))
            .bearer_auth(&self.access_token)
    }

    async fn request(&self, method: Method, path: &str) -> Result<Response, reqwest::Error> {
        let response = self.build_request(method, path).send().await;
        response.and_then(Response::error_for_status)
    }
}
