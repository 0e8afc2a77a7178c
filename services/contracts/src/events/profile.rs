//! What profile-service tells.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::DomainEvent;

/// A profile was saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProfileUpdated {
    /// Whose.
    pub user_id: String,
    /// The name.
    pub full_name: String,
    /// The address.
    pub email: String,
    /// The app to open first, as the interface names it.
    pub default_app: String,
    /// Whether notifications are wanted.
    pub notifications_enabled: bool,
    /// Who saved it.
    pub updated_by: String,
    /// When.
    pub updated_at: DateTime<Utc>,
}

impl DomainEvent for ProfileUpdated {
    const TYPE: &'static str = "com.dundermifflin.profile.updated.v1";
    const ROUTING_KEY: &'static str = "profile.updated.v1";
    const SOURCE: &'static str = "/profile-service";

    fn subject(&self) -> String {
        format!("profile/{}", self.user_id)
    }

    fn time(&self) -> DateTime<Utc> {
        self.updated_at
    }
}
