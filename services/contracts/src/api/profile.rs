//! profile-service: who a user is, and what the user prefers.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What replaces a profile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SaveProfile {
    /// Who it is. Mandatory.
    #[schema(value_type = SavePerson)]
    pub profile: Option<SavePerson>,
    /// What is preferred. Mandatory.
    #[schema(value_type = SavePreferences)]
    pub preferences: Option<SavePreferences>,
}

/// Who it is, to be saved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SavePerson {
    /// The name. Mandatory.
    #[schema(value_type = String, pattern = r"\S")]
    pub full_name: Option<String>,
    /// The address. Mandatory, with an `@`.
    #[schema(value_type = String, pattern = "@")]
    pub email: Option<String>,
    /// The job.
    pub title: Option<String>,
    /// Where to call.
    pub phone: Option<String>,
}

/// What is preferred, to be saved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SavePreferences {
    /// `portal`, `infinity`, `warehouse-mobile` or `accounting`, in any case.
    /// Mandatory.
    #[schema(
        value_type = String,
        pattern = "^(portal|infinity|warehouse-mobile|accounting)$"
    )]
    pub default_app: Option<String>,
    /// Whether notifications are wanted. Mandatory.
    #[schema(value_type = bool)]
    pub notifications_enabled: Option<bool>,
}

/// A profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// Whose it is.
    pub user_id: String,
    /// Who it is.
    pub profile: Person,
    /// What is preferred.
    pub preferences: Preferences,
    /// When it was first asked for or saved.
    pub created_at: DateTime<Utc>,
    /// When it was last saved.
    pub updated_at: DateTime<Utc>,
}

/// Who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    /// The name.
    pub full_name: String,
    /// The address.
    pub email: String,
    /// The job; empty where it isn't known.
    pub title: String,
    /// Where to call; empty where it isn't known.
    pub phone: String,
}

/// What is preferred.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preferences {
    /// `portal`, `infinity`, `warehouse-mobile` or `accounting`.
    pub default_app: String,
    /// Whether notifications are wanted.
    pub notifications_enabled: bool,
}
