//! Bodies of sales-service: leads and clients.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Status of a lead. A change can set any status; only a conversion depends on the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LeadStatus {
    /// No contact yet.
    New,
    /// The contact has been called.
    Contacted,
    /// The lead can be converted to a client.
    Qualified,
    /// The lead will not become a client.
    Disqualified,
    /// The lead became a client.
    Converted,
}

impl LeadStatus {
    /// Every status, in the order of error messages.
    pub const ALL: [Self; 5] = [
        Self::New,
        Self::Contacted,
        Self::Qualified,
        Self::Disqualified,
        Self::Converted,
    ];

    /// Returns the name in bodies and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Contacted => "CONTACTED",
            Self::Qualified => "QUALIFIED",
            Self::Disqualified => "DISQUALIFIED",
            Self::Converted => "CONVERTED",
        }
    }

    /// Returns the status with exactly this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Returns the issue text for an invalid name.
    #[must_use]
    pub fn invalid_name_message() -> String {
        format!(
            "status must be one of: {}",
            Self::ALL.map(Self::as_str).join(", ")
        )
    }
}

/// Request to create a lead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateLead {
    /// Name of the company. Required.
    #[schema(value_type = String, pattern = r"^[^\x00]*[^\x00\s][^\x00]*$", max_length = 200)]
    pub company_name: Option<String>,
    /// Name of the contact. Required.
    #[schema(value_type = String, pattern = r"^[^\x00]*[^\x00\s][^\x00]*$", max_length = 200)]
    pub contact_name: Option<String>,
    /// E-mail address of the contact, with an `@`. Required.
    #[schema(value_type = String, pattern = r"^[^\x00]*@[^\x00]*$", max_length = 320)]
    pub contact_email: Option<String>,
    /// Telephone number. Required.
    #[schema(value_type = String, pattern = r"^[^\x00]*[^\x00\s][^\x00]*$", max_length = 200)]
    pub phone: Option<String>,
    /// Notes.
    #[schema(pattern = r"^[^\x00]*$", max_length = 4000)]
    pub notes: Option<String>,
}

/// Request that replaces status and notes of a lead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpdateLead {
    /// `NEW`, `CONTACTED`, `QUALIFIED`, `DISQUALIFIED` or `CONVERTED`. Required.
    #[schema(value_type = LeadStatus)]
    pub status: Option<String>,
    /// The new notes. If missing, the notes become empty.
    #[schema(pattern = r"^[^\x00]*$", max_length = 4000)]
    pub notes: Option<String>,
}

/// Request that changes status or notes of a lead. Missing fields stay unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PatchLead {
    /// `NEW`, `CONTACTED`, `QUALIFIED`, `DISQUALIFIED` or `CONVERTED`.
    #[schema(value_type = Option<LeadStatus>)]
    pub status: Option<String>,
    /// The new notes.
    #[schema(pattern = r"^[^\x00]*$", max_length = 4000)]
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
    #[schema(value_type = LeadStatus)]
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
    #[schema(value_type = LeadStatus)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lead_status_has_one_name_in_json_and_tables() {
        for status in LeadStatus::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
            assert_eq!(LeadStatus::from_name(status.as_str()), Some(status));
        }
        for name in ["new", " NEW", "", "WON"] {
            assert_eq!(LeadStatus::from_name(name), None, "{name:?}");
        }
        assert_eq!(
            LeadStatus::invalid_name_message(),
            "status must be one of: NEW, CONTACTED, QUALIFIED, DISQUALIFIED, CONVERTED"
        );
    }
}
