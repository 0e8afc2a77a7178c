//! Bodies of sales-service: leads and clients.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Request to create a lead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateLead {
    /// Name of the company. Required.
    #[schema(value_type = String, pattern = r"\S")]
    pub company_name: Option<String>,
    /// Name of the contact. Required.
    #[schema(value_type = String, pattern = r"\S")]
    pub contact_name: Option<String>,
    /// E-mail address of the contact, with an `@`. Required.
    #[schema(value_type = String, pattern = "@")]
    pub contact_email: Option<String>,
    /// Telephone number. Required.
    #[schema(value_type = String, pattern = r"\S")]
    pub phone: Option<String>,
    /// Notes.
    pub notes: Option<String>,
}

/// Request that replaces status and notes of a lead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpdateLead {
    /// `NEW`, `CONTACTED`, `QUALIFIED`, `DISQUALIFIED` or `CONVERTED`. Required.
    #[schema(
        value_type = String,
        pattern = "^(NEW|CONTACTED|QUALIFIED|DISQUALIFIED|CONVERTED)$"
    )]
    pub status: Option<String>,
    /// The new notes. If missing, the notes become empty.
    pub notes: Option<String>,
}

/// Request that changes status or notes of a lead. Missing fields stay unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PatchLead {
    /// `NEW`, `CONTACTED`, `QUALIFIED`, `DISQUALIFIED` or `CONVERTED`.
    #[schema(pattern = "^(NEW|CONTACTED|QUALIFIED|DISQUALIFIED|CONVERTED)$")]
    pub status: Option<String>,
    /// The new notes.
    pub notes: Option<String>,
}

/// A lead with all fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeadDetail {
    /// Id of the lead: `lead_` and a number.
    pub lead_id: String,
    /// Name of the company.
    pub company_name: String,
    /// Name of the contact.
    pub contact_name: String,
    /// E-mail address of the contact.
    pub contact_email: String,
    /// Telephone number.
    pub phone: String,
    /// Status of the lead.
    pub status: String,
    /// Notes.
    pub notes: String,
    /// The user who created it.
    pub created_by: String,
    /// Time of creation.
    pub created_at: DateTime<Utc>,
    /// Time of the last change.
    pub updated_at: DateTime<Utc>,
    /// Id of the client that it was converted to.
    pub converted_client_id: Option<String>,
    /// Time of the conversion.
    pub converted_at: Option<DateTime<Utc>>,
}

/// A lead in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeadSummary {
    /// Id of the lead: `lead_` and a number.
    pub lead_id: String,
    /// Name of the company.
    pub company_name: String,
    /// Name of the contact.
    pub contact_name: String,
    /// E-mail address of the contact.
    pub contact_email: String,
    /// Status of the lead.
    pub status: String,
    /// Time of creation.
    pub created_at: DateTime<Utc>,
    /// Id of the client that it was converted to.
    pub converted_client_id: Option<String>,
}

/// A converted lead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConvertedLead {
    /// Id of the lead.
    pub lead_id: String,
    /// Id of the client.
    pub client_id: String,
    /// Time of the conversion.
    pub converted_at: DateTime<Utc>,
    /// Whether it was converted before this request.
    pub already_converted: bool,
}

/// A client in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientSummary {
    /// Id of the client: `client_` and a number.
    pub client_id: String,
    /// Id of the lead that it was converted from.
    pub source_lead_id: String,
    /// Name of the company.
    pub company_name: String,
    /// Name of the contact.
    pub contact_name: String,
    /// E-mail address of the contact.
    pub contact_email: String,
    /// Time of the conversion.
    pub created_at: DateTime<Utc>,
}
