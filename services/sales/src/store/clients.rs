//! The table `clients`.

use chrono::{DateTime, Utc};
use dm_contracts::api::sales::ClientSummary;
use dm_kit::http::{ListChunk, ListSource, Paging};
use sqlx::postgres::PgPool;
use sqlx::{FromRow, PgConnection};

use super::leads::LeadRow;
use crate::domain::ConvertedClient;

#[derive(Debug, FromRow)]
struct ClientRow {
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

/// The list of all clients, newest first.
pub(crate) struct ClientListSource(pub(crate) PgPool);

impl ListSource for ClientListSource {
    type Item = ClientSummary;
    type Key = (DateTime<Utc>, String);

    async fn fetch_after(
        &self,
        key: Option<&Self::Key>,
        limit: i64,
    ) -> Result<ListChunk<ClientSummary>, sqlx::Error> {
        let query = sqlx::query(
            "SELECT client_id, source_lead_id, company_name, contact_name, contact_email,
                    created_at
               FROM clients
              WHERE (created_at, client_id) < (coalesce($1, 'infinity'), $2)
              ORDER BY created_at DESC, client_id DESC LIMIT $3",
        )
        .bind(key.map(|(created_at, _)| *created_at))
        .bind(key.map_or("", |(_, id)| id))
        .bind(limit);
        let chunk = ListChunk::<ClientRow>::read(&self.0, query, limit).await?;
        Ok(chunk.map(ClientSummary::from))
    }

    fn key(client: &ClientSummary) -> Self::Key {
        (client.created_at, client.client_id.clone())
    }
}

/// Returns a page of the clients, newest first.
pub(crate) async fn fetch_page(
    pool: &PgPool,
    paging: Paging,
) -> Result<Vec<ClientSummary>, sqlx::Error> {
    let clients: Vec<ClientRow> = sqlx::query_as(
        "SELECT client_id, source_lead_id, company_name, contact_name, contact_email, created_at
           FROM clients
          ORDER BY created_at DESC, client_id DESC LIMIT $1 OFFSET $2",
    )
    .bind(paging.limit())
    .bind(paging.offset())
    .fetch_all(pool)
    .await?;
    Ok(clients.into_iter().map(ClientSummary::from).collect())
}

/// Returns the number of clients.
pub(crate) async fn count(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM clients")
        .fetch_one(pool)
        .await
}
