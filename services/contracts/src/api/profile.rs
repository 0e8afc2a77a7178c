//! Bodies of profile-service: personal details and preferences of a user.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Request that replaces a profile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SaveProfile {
    /// Personal details. Required.
    #[schema(value_type = SavePerson)]
    pub profile: Option<SavePerson>,
    /// Preferences. Required.
    #[schema(value_type = SavePreferences)]
    pub preferences: Option<SavePreferences>,
}

/// Personal details to save.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SavePerson {
    /// Full name. Required.
    #[schema(value_type = String, pattern = r"\S")]
    pub full_name: Option<String>,
    /// E-mail address with an `@`. Required.
    #[schema(value_type = String, pattern = "@")]
    pub email: Option<String>,
    /// Job title.
    pub title: Option<String>,
    /// Telephone number.
    pub phone: Option<String>,
}

/// Preferences to save.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SavePreferences {
    /// Default app: `portal`, `infinity`, `warehouse-mobile` or `accounting`, in any case.
    /// Required.
    #[schema(
        value_type = String,
        pattern = "^(portal|infinity|warehouse-mobile|accounting)$"
    )]
    pub default_app: Option<String>,
    /// Whether notifications are enabled. Required.
    #[schema(value_type = bool)]
    pub notifications_enabled: Option<bool>,
}

/// A profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// Id of the user.
    pub user_id: String,
    /// Personal details.
    pub profile: Person,
    /// Preferences.
    pub preferences: Preferences,
    /// Time when it was first requested or saved.
    pub created_at: DateTime<Utc>,
    /// Time when it was last saved.
    pub updated_at: DateTime<Utc>,
}

/// Personal details of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    /// Full name.
    pub full_name: String,
    /// E-mail address.
    pub email: String,
    /// Job title, or empty.
    pub title: String,
    /// Telephone number, or empty.
    pub phone: String,
}

/// Preferences of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preferences {
    /// Default app: `portal`, `infinity`, `warehouse-mobile` or `accounting`.
    pub default_app: String,
    /// Whether notifications are enabled.
    pub notifications_enabled: bool,
}
