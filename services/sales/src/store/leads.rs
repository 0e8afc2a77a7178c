//! The table `leads`.

use chrono::{DateTime, Utc};
use dm_contracts::api::sales::{LeadDetail, LeadSummary};
use dm_kit::http::{ListFilter, ListOrder, TableList, TimeKey};
use sqlx::postgres::PgPool;
use sqlx::{FromRow, PgConnection};

use crate::domain::{ConvertedClient, LeadPatch, LeadStatus, NewLead};

/// A row of the table.
#[derive(Debug, FromRow)]
pub(crate) struct LeadRow {
    pub(crate) lead_id: String,
    pub(crate) company_name: String,
    pub(crate) contact_name: String,
    pub(crate) contact_email: String,
    pub(crate) phone: String,
    pub(crate) status: String,
    notes: String,
    created_by: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    converted_client_id: Option<String>,
    converted_at: Option<DateTime<Utc>>,
}

impl LeadRow {
    /// Returns the client to which the lead was converted.
    pub(crate) fn converted_client(&self) -> Option<ConvertedClient> {
        let client_id = self.converted_client_id.clone()?;
        Some(ConvertedClient {
            client_id,
            at: self.converted_at?,
        })
    }
}

impl From<LeadRow> for LeadDetail {
    fn from(lead: LeadRow) -> Self {
        Self {
            lead_id: lead.lead_id,
            company_name: lead.company_name,
            contact_name: lead.contact_name,
            contact_email: lead.contact_email,
            phone: lead.phone,
            status: lead.status,
            notes: lead.notes,
            created_by: lead.created_by,
            created_at: lead.created_at,
            updated_at: lead.updated_at,
            converted_client_id: lead.converted_client_id,
            converted_at: lead.converted_at,
        }
    }
}

impl From<LeadRow> for LeadSummary {
    fn from(lead: LeadRow) -> Self {
        Self {
            lead_id: lead.lead_id,
            company_name: lead.company_name,
            contact_name: lead.contact_name,
            contact_email: lead.contact_email,
            status: lead.status,
            created_at: lead.created_at,
            converted_client_id: lead.converted_client_id,
        }
    }
}

/// Inserts a lead with the status `NEW`.
pub(crate) async fn insert(
    pool: &PgPool,
    lead: &NewLead,
    created_by: &str,
) -> Result<LeadRow, sqlx::Error> {
    sqlx::query_as(
        "INSERT INTO leads (company_name, contact_name, contact_email, phone, notes,
                            status, created_by, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, statement_timestamp(), statement_timestamp())
         RETURNING *",
    )
    .bind(&lead.company_name)
    .bind(&lead.contact_name)
    .bind(&lead.contact_email)
    .bind(&lead.phone)
    .bind(&lead.notes)
    .bind(LeadStatus::New.as_str())
    .bind(created_by)
    .fetch_one(pool)
    .await
}

/// The list of leads, newest first, optionally with one status.
pub(crate) struct LeadListSource {
    pub(crate) status: Option<LeadStatus>,
}

impl TableList for LeadListSource {
    type Row = LeadRow;
    type Item = LeadSummary;
    type Key = TimeKey;

    const TABLE: &'static str = "leads";
    const COLUMNS: &'static str = "*";
    const ID: &'static str = "lead_id";
    const ORDER: ListOrder = ListOrder::NewestFirst;

    fn filter(&self) -> ListFilter {
        ListFilter::all().equal("status", self.status.map(LeadStatus::as_str))
    }

    fn item(row: LeadRow) -> Result<LeadSummary, sqlx::Error> {
        Ok(row.into())
    }

    fn key(lead: &LeadSummary) -> TimeKey {
        TimeKey {
            created_at: lead.created_at,
            id: lead.lead_id.clone(),
        }
    }
}

/// Returns a lead.
pub(crate) async fn find(pool: &PgPool, id: &str) -> Result<Option<LeadRow>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM leads WHERE lead_id = $1")
        .bind(id)
        .fetch_optional(pool)
        .await
}

/// Returns a lead and locks it until the transaction ends.
pub(crate) async fn lock(
    transaction: &mut PgConnection,
    id: &str,
) -> Result<Option<LeadRow>, sqlx::Error> {
    sqlx::query_as("SELECT * FROM leads WHERE lead_id = $1 FOR UPDATE")
        .bind(id)
        .fetch_optional(transaction)
        .await
}

/// Applies a patch to a lead. Returns the resulting lead, or `None` if it does not exist. An
/// empty patch changes nothing.
pub(crate) async fn update(
    pool: &PgPool,
    id: &str,
    patch: &LeadPatch,
) -> Result<Option<LeadRow>, sqlx::Error> {
    sqlx::query_as(
        "UPDATE leads
            SET status = coalesce($2, status), notes = coalesce($3, notes),
                updated_at = greatest(updated_at,
                                      CASE WHEN num_nonnulls($2::text, $3::text) > 0
                                           THEN clock_timestamp() END)
          WHERE lead_id = $1
         RETURNING *",
    )
    .bind(id)
    .bind(patch.status.map(LeadStatus::as_str))
    .bind(patch.notes.as_deref())
    .fetch_optional(pool)
    .await
}

/// Records the client to which a lead was converted.
pub(crate) async fn mark_converted(
    transaction: &mut PgConnection,
    id: &str,
    client: &ConvertedClient,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE leads
            SET status = $2, converted_client_id = $3, converted_at = $4, updated_at = $4
          WHERE lead_id = $1",
    )
    .bind(id)
    .bind(LeadStatus::Converted.as_str())
    .bind(&client.client_id)
    .bind(client.at)
    .execute(transaction)
    .await?;
    Ok(())
}
