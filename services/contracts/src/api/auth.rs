//! Who is signed in: answered by the gateway itself.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /api/v1/auth/me`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Me {
    /// The user's name, e.g. `jhalpert`.
    pub user_id: String,
    /// The person's name, e.g. `Jim Halpert`.
    pub display_name: String,
    /// The realm roles, Keycloak's own included.
    pub roles: Vec<String>,
    /// The groups. No access follows from them.
    pub groups: Vec<String>,
    /// The apps that the roles open, `portal` first.
    pub apps: Vec<String>,
    /// When the session ends. No two sessions end at the same instant.
    pub session_expires_at: DateTime<Utc>,
}

/// What `GET /api/v1/auth/me` answers nobody: not the envelope.
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
