//! What sales-service tells.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::DomainEvent;

/// A lead became a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeadConverted {
    /// The lead.
    pub lead_id: String,
    /// The new client.
    pub client_id: String,
    /// The company.
    pub company_name: String,
    /// Whom to ask for.
    pub contact_name: String,
    /// Where to write.
    pub contact_email: String,
    /// Who converted it.
    pub converted_by: String,
    /// When.
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
