//! The end of sessions at the realm.

use url::form_urlencoded;

use super::provider::{OidcProvider, endpoint_url};
use super::realm_request::{EndpointError, send};
use super::realm_tokens::RealmTokens;
use crate::origin::RequestOrigin;

impl OidcProvider {
    /// Ends a session at the realm, without the browser of its user.
    ///
    /// # Errors
    /// Returns the cause if Keycloak cannot be reached or refuses.
    pub(crate) async fn end_realm_session(&self, tokens: &RealmTokens) -> Result<(), String> {
        let Some(refresh_token) = tokens.refresh.as_deref() else {
            return Err("the realm has issued no refresh token".to_owned());
        };
        let form = [
            ("refresh_token", refresh_token),
            ("client_id", self.settings.client_id.as_str()),
            ("client_secret", self.settings.client_secret.expose()),
        ];
        let request = self
            .client
            .post(endpoint_url(&self.settings, "logout"))
            .form(&form);
        match send(request, &tokens.issuer).await? {
            (status, _) if status.is_success() => Ok(()),
            (status, body) => Err(format!("{status} {}", EndpointError::parse(&body))),
        }
    }

    /// Returns the URL at which a browser ends its session at the realm and returns to the home
    /// page of this gateway (OpenID Connect RP-Initiated Logout).
    #[must_use]
    pub(crate) fn end_session_url(&self, origin: &RequestOrigin, tokens: &RealmTokens) -> String {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("id_token_hint", &tokens.identity)
            .append_pair(
                "post_logout_redirect_uri",
                &format!("{}/", origin.to_text()),
            )
            .finish();
        format!("{}?{query}", self.public_endpoint_url(origin, "logout"))
    }
}
