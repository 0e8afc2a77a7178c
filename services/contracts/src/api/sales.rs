//! sales-service: leads and clients.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A lead to be noted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateLead {
    /// The company. Mandatory.
    #[schema(value_type = String, pattern = r"\S")]
    pub company_name: Option<String>,
    /// Whom to ask for. Mandatory.
    #[schema(value_type = String, pattern = r"\S")]
    pub contact_name: Option<String>,
    /// Where to write. Mandatory, with an `@`.
    #[schema(value_type = String, pattern = "@")]
    pub contact_email: Option<String>,
    /// Where to call. Mandatory.
    #[schema(value_type = String, pattern = r"\S")]
    pub phone: Option<String>,
    /// What else is known.
    pub notes: Option<String>,
}

/// What replaces a lead's status and notes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpdateLead {
    /// `NEW`, `CONTACTED`, `QUALIFIED`, `DISQUALIFIED` or `CONVERTED`. Mandatory.
    #[schema(
        value_type = String,
        pattern = "^(NEW|CONTACTED|QUALIFIED|DISQUALIFIED|CONVERTED)$"
    )]
    pub status: Option<String>,
    /// The new notes. Missing ones empty them.
    pub notes: Option<String>,
}

/// What changes of a lead's status and notes. What is missing stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PatchLead {
    /// `NEW`, `CONTACTED`, `QUALIFIED`, `DISQUALIFIED` or `CONVERTED`.
    #[schema(pattern = "^(NEW|CONTACTED|QUALIFIED|DISQUALIFIED|CONVERTED)$")]
    pub status: Option<String>,
    /// The new notes.
    pub notes: Option<String>,
}

/// A lead with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeadDetail {
    /// `lead_` and a number.
    pub lead_id: String,
    /// The company.
    pub company_name: String,
    /// Whom to ask for.
    pub contact_name: String,
    /// Where to write.
    pub contact_email: String,
    /// Where to call.
    pub phone: String,
    /// How far it is.
    pub status: String,
    /// What else is known.
    pub notes: String,
    /// Who noted it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it changed last.
    pub updated_at: DateTime<Utc>,
    /// The client it became.
    pub converted_client_id: Option<String>,
    /// When it became one.
    pub converted_at: Option<DateTime<Utc>>,
}

/// A lead in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeadSummary {
    /// `lead_` and a number.
    pub lead_id: String,
    /// The company.
    pub company_name: String,
    /// Whom to ask for.
    pub contact_name: String,
    /// Where to write.
    pub contact_email: String,
    /// How far it is.
    pub status: String,
    /// When it was noted.
    pub created_at: DateTime<Utc>,
    /// The client it became.
    pub converted_client_id: Option<String>,
}

/// A lead that is a client now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConvertedLead {
    /// The lead.
    pub lead_id: String,
    /// The client.
    pub client_id: String,
    /// When it became one.
    pub converted_at: DateTime<Utc>,
    /// Whether it was one before this request.
    pub already_converted: bool,
}

/// A client in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientSummary {
    /// `client_` and a number.
    pub client_id: String,
    /// The lead it was.
    pub source_lead_id: String,
    /// The company.
    pub company_name: String,
    /// Whom to ask for.
    pub contact_name: String,
    /// Where to write.
    pub contact_email: String,
    /// Since when.
    pub created_at: DateTime<Utc>,
}
