//! Keycloak, for its administrator.

use std::time::Duration;

use reqwest::{Client, Response};
use serde::Deserialize;
use serde_json::Value;

/// How long an answer may take. The first export of a Keycloak takes some seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The way to a realm, as the administrator of Keycloak.
#[derive(Debug, Clone, Copy)]
pub struct Admin<'a> {
    /// Keycloak's address.
    pub base: &'a str,
    /// The realm's name.
    pub realm: &'a str,
    /// The administrator.
    pub user: &'a str,
    /// The administrator's password.
    pub password: &'a str,
}

impl Admin<'_> {
    /// All that Keycloak exports of the realm while it runs: clients, groups and roles, and
    /// no people.
    ///
    /// # Errors
    /// Keycloak is away, or refuses.
    pub async fn export(&self) -> Result<Value, reqwest::Error> {
        #[derive(Deserialize)]
        struct Token {
            access_token: String,
        }
        let Self {
            base,
            realm,
            user,
            password,
        } = self;
        let client = Client::builder().no_proxy().timeout(PATIENCE).build()?;
        let token: Token = client
            .post(format!(
                "{base}/realms/master/protocol/openid-connect/token"
            ))
            .form(&[
                ("grant_type", "password"),
                ("client_id", "admin-cli"),
                ("username", user),
                ("password", password),
            ])
            .send()
            .await
            .and_then(Response::error_for_status)?
            .json()
            .await?;
        client
            .post(format!(
                "{base}/admin/realms/{realm}/partial-export?exportClients=true&exportGroupsAndRoles=true"
            ))
            .bearer_auth(token.access_token)
            .send()
            .await
            .and_then(Response::error_for_status)?
            .json()
            .await
    }
}
