//! Bodies of profile-service: personal details, preferences, avatar and app settings of a user.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Schema};

use super::schema::{NameForm, name_in};
use super::strict;
use crate::App;
use crate::validation::{MAX_APP_SETTINGS_BYTES, MAX_APP_SETTINGS_DEPTH};

/// Request that replaces a profile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SaveProfile {
    /// Personal details. Required.
    #[serde(default, deserialize_with = "strict::object")]
    #[schema(value_type = SavePerson, required)]
    pub profile: Option<SavePerson>,
    /// Preferences. Required.
    #[serde(default, deserialize_with = "strict::object")]
    #[schema(value_type = SavePreferences, required)]
    pub preferences: Option<SavePreferences>,
}

/// Personal details to save.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SavePerson {
    /// Full name. Required.
    #[schema(value_type = String, pattern = r"^[^\x00]*[^\x00\s][^\x00]*$", max_length = 200)]
    pub full_name: Option<String>,
    /// E-mail address with an `@`. Required.
    #[schema(value_type = String, pattern = r"^[^\x00]*@[^\x00]*$", max_length = 320)]
    pub email: Option<String>,
    /// Job title.
    #[schema(pattern = r"^[^\x00]*$", max_length = 200)]
    pub title: Option<String>,
    /// Telephone number.
    #[schema(pattern = r"^[^\x00]*$", max_length = 200)]
    pub phone: Option<String>,
}

/// Preferences to save.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SavePreferences {
    /// Default app: `portal`, `infinity`, `warehouse-mobile` or `accounting`, in any case.
    /// Required.
    #[schema(schema_with = default_app_schema, required)]
    pub default_app: Option<String>,
    /// Whether notifications are enabled. Required.
    #[schema(value_type = bool)]
    pub notifications_enabled: Option<bool>,
}

/// Returns the schema of [`SavePreferences::default_app`].
fn default_app_schema() -> RefOr<Schema> {
    let description = "Default app, in any case. Required.";
    name_in(
        &App::ALL.map(App::name),
        NameForm::AnyCase,
        Some(description),
    )
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
    #[schema(value_type = App)]
    pub default_app: String,
    /// Whether notifications are enabled.
    pub notifications_enabled: bool,
}

/// An image file, of the content type of the request or response.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct ImageFile(pub Vec<u8>);

/// Request that replaces the settings of an app.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct SaveAppSettings {
    /// The version that the caller has read. Required.
    #[serde(default, deserialize_with = "strict::whole_number")]
    #[schema(value_type = i64, minimum = 0, maximum = 9223372036854775807_i64, required)]
    pub version: Option<i64>,
    /// The settings: an object of at most 16 KiB of JSON, as it was written. Required.
    #[schema(schema_with = settings_schema, required)]
    pub settings: Option<Box<RawValue>>,
}

/// Returns the schema of [`SaveAppSettings::settings`]. JSON schemas have no keyword for the size
/// and the depth of an object.
fn settings_schema() -> RefOr<Schema> {
    let description = format!(
        "The settings: an object of at most {MAX_APP_SETTINGS_BYTES} bytes, in which objects and \
         arrays are nested at most {MAX_APP_SETTINGS_DEPTH} deep. Stored as it was written. Required."
    );
    let size = ExtensionsBuilder::new()
        .add("x-max-bytes", MAX_APP_SETTINGS_BYTES)
        .add("x-max-depth", MAX_APP_SETTINGS_DEPTH);
    ObjectBuilder::new()
        .description(Some(description))
        .extensions(Some(size.build()))
        .into()
}

/// The settings of an app.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppSettings {
    /// The app.
    pub app: App,
    /// The version: 0 if nothing was saved; each save adds 1.
    pub version: i64,
    /// The settings, as they were saved.
    #[schema(value_type = Object)]
    pub settings: Box<RawValue>,
    /// Time when they were last saved.
    pub updated_at: Option<DateTime<Utc>>,
}
