//! The table `clients`.

use chrono::{DateTime, Utc};
use dm_contracts::api::sales::ClientSummary;
use dm_kit::http::{ListFilter, ListOrder, TableList, TimeKey};
use sqlx::{FromRow, PgConnection};

use super::leads::LeadRow;
use crate::domain::ConvertedClient;

/// A row of the list of clients.
#[derive(Debug, FromRow)]
pub(crate) struct ClientRow {
    client_id: String,
    source_lead_id: String,
    company_name: String,
    contact_name: String,
    contact_email: String,
    created_at: DateTime<Utc>,
}

impl From<ClientRow> for ClientSummary {
    fn from(client: ClientRow) -> Self {
        Self {
            client_id: client.client_id,
            source_lead_id: client.source_lead_id,
            company_name: client.company_name,
            contact_name: client.contact_name,
            contact_email: client.contact_email,
            created_at: client.created_at,
        }
    }
}

/// Inserts the client of a lead. The timestamp is from the clock of the database, with which
/// retention and reconcile compare it.
pub(crate) async fn insert(
    transaction: &mut PgConnection,
    lead: &LeadRow,
    created_by: &str,
) -> Result<ConvertedClient, sqlx::Error> {
    let (client_id, at) = sqlx::query_as(
        "INSERT INTO clients (source_lead_id, company_name, contact_name, contact_email, phone,
                              created_by, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp())
         RETURNING client_id, created_at",
    )
    .bind(&lead.lead_id)
    .bind(&lead.company_name)
    .bind(&lead.contact_name)
    .bind(&lead.contact_email)
    .bind(&lead.phone)
    .bind(created_by)
    .fetch_one(transaction)
    .await?;
    Ok(ConvertedClient { client_id, at })
}

/// The list of clients, newest first.
pub(crate) struct ClientListSource;

impl TableList for ClientListSource {
    type Row = ClientRow;
    type Item = ClientSummary;
    type Key = TimeKey;

    const TABLE: &'static str = "clients";
    const COLUMNS: &'static str = "client_id, source_lead_id, company_name, contact_name, \
                                   contact_email, created_at";
    const ID: &'static str = "client_id";
    const ORDER: ListOrder = ListOrder::NewestFirst;

    fn filter(&self) -> ListFilter {
        ListFilter::all()
    }

    fn item(row: ClientRow) -> Result<ClientSummary, sqlx::Error> {
        Ok(row.into())
    }

    fn key(client: &ClientSummary) -> TimeKey {
        TimeKey {
            created_at: client.created_at,
            id: client.client_id.clone(),
        }
    }
}
