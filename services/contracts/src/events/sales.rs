//! Events of sales-service.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::DomainEvent;

/// A lead became a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeadConverted {
    /// Id of the lead.
    pub lead_id: String,
    /// Id of the new client.
    pub client_id: String,
    /// Name of the company.
    pub company_name: String,
    /// Name of the contact.
    pub contact_name: String,
    /// E-mail address of the contact.
    pub contact_email: String,
    /// The user who converted it.
    pub converted_by: String,
    /// Time of the conversion.
    pub converted_at: DateTime<Utc>,
}

impl DomainEvent for LeadConverted {
    const TYPE: &'static str = "com.dundermifflin.sales.lead.converted.v1";
    const ROUTING_KEY: &'static str = "sales.lead.converted.v1";
    const SOURCE: &'static str = "/sales-service";

    fn subject(&self) -> String {
        format!("lead/{}", self.lead_id)
    }

    fn time(&self) -> DateTime<Utc> {
        self.converted_at
    }
}
