//! The tokens of a session at the realm.

use std::fmt;

use chrono::{DateTime, Utc};

/// The tokens with which the gateway asks about a session at the realm, and ends it. They never
/// leave the gateway, except for the identity token of a user who signs out.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RealmTokens {
    /// The refresh token. A realm may issue none.
    pub(super) refresh: Option<String>,
    /// The identity token.
    pub(super) identity: String,
    /// The user id in Keycloak.
    pub(super) subject: String,
    /// The issuer, whose host name is that of the login.
    pub(super) issuer: String,
    /// The expiry of the access token.
    pub(super) access_expires_at: DateTime<Utc>,
}

impl RealmTokens {
    /// Returns the end of a session that the realm cannot be asked about, because it has issued no
    /// refresh token: the expiry of the access token. Returns `None` for any other session.
    #[must_use]
    pub(crate) fn unchecked_until(&self) -> Option<DateTime<Utc>> {
        self.refresh.is_none().then_some(self.access_expires_at)
    }
}

/// The lifespan of an access token of the test realm.
#[cfg(test)]
pub(crate) const TEST_LIFESPAN: std::time::Duration = std::time::Duration::from_secs(300);

#[cfg(test)]
impl RealmTokens {
    /// Returns the tokens of a session of the test realm.
    pub(crate) fn for_test(refresh: Option<&str>) -> Self {
        Self {
            refresh: refresh.map(str::to_owned),
            identity: "an.identity.token".to_owned(),
            subject: "8d2f".to_owned(),
            issuer: "http://localhost:8080/realms/scranton-branch".to_owned(),
            access_expires_at: dm_contracts::time::now() + TEST_LIFESPAN,
        }
    }
}

impl fmt::Debug for RealmTokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RealmTokens(…)")
    }
}
