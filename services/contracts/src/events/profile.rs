//! Events of profile-service.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::DomainEvent;

/// A profile was saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProfileUpdated {
    /// Id of the user.
    pub user_id: String,
    /// Full name of the user.
    pub full_name: String,
    /// E-mail address.
    pub email: String,
    /// Name of the default app in the REST interface.
    pub default_app: String,
    /// Whether notifications are enabled.
    pub notifications_enabled: bool,
    /// The user who saved it.
    pub updated_by: String,
    /// Time of the update.
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
