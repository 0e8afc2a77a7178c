//! The signed-in user. The gateway itself serves this.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::App;

/// The signed-in user: response of `GET /api/v1/auth/me`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Me {
    /// User id, e.g. `jhalpert`.
    pub user_id: String,
    /// Full name, e.g. `Jim Halpert`.
    pub display_name: String,
    /// The realm roles, Keycloak's own included.
    pub roles: Vec<String>,
    /// The groups. They do not affect access.
    pub groups: Vec<String>,
    /// The apps that the roles give access to, `portal` first.
    #[schema(value_type = Vec<App>)]
    pub apps: Vec<String>,
    /// Latest end of the session, however active it is, or the expiry of the bearer token. It does
    /// not change while the session lasts, and is unique among sessions.
    pub session_expires_at: DateTime<Utc>,
    /// End of the session without further activity, or the expiry of the bearer token.
    pub session_idle_expires_at: DateTime<Utc>,
}

/// Response of `GET /api/v1/auth/me` without a session. It is not the error envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotSignedIn {
    /// Always `unauthenticated`.
    pub error: String,
}

impl Default for NotSignedIn {
    fn default() -> Self {
        Self {
            error: "unauthenticated".to_owned(),
        }
    }
}
