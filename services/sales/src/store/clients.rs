//! The table `clients`.

use chrono::{DateTime, Utc};
use dm_contracts::api::sales::ClientSummary;
use dm_kit::http::{Chunk, Paging, Rows};
use sqlx::postgres::PgPool;
use sqlx::{FromRow, PgConnection};

use super::leads::Lead;
use crate::domain::Converted;

#[derive(Debug, FromRow)]
struct Client {
    client_id: String,
    source_lead_id: String,
    company_name: String,
    contact_name: String,
    contact_email: String,
    created_at: DateTime<Utc>,
}

impl From<Client> for ClientSummary {
    fn from(client: Client) -> Self {
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

/// Makes a client of a lead. When that was is the database's to say: retention goes by its
/// clock, and so does whoever asks what of this is still in the outbox.
pub(crate) async fn insert(
    transaction: &mut PgConnection,
    lead: &Lead,
    created_by: &str,
) -> Result<Converted, sqlx::Error> {
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
    Ok(Converted { client_id, at })
}

/// All clients, newest first.
pub(crate) struct Listed(pub(crate) PgPool);

impl Rows for Listed {
    type Item = ClientSummary;
    type Key = (DateTime<Utc>, String);

    async fn after(
        &self,
        key: Option<&Self::Key>,
        limit: i64,
    ) -> Result<Chunk<ClientSummary>, sqlx::Error> {
        let query = sqlx::query(
            "SELECT client_id, source_lead_id, company_name, contact_name, contact_email,
                    created_at
               FROM clients
              WHERE (created_at, client_id) < (coalesce($1, 'infinity'), $2)
              ORDER BY created_at DESC, client_id DESC LIMIT $3",
        )
        .bind(key.map(|(at, _)| *at))
        .bind(key.map_or("", |(_, id)| id))
        .bind(limit);
        let chunk = Chunk::<Client>::read(&self.0, query, limit).await?;
        Ok(chunk.map(ClientSummary::from))
    }

    fn key(client: &ClientSummary) -> Self::Key {
        (client.created_at, client.client_id.clone())
    }
}

/// A page of the clients, newest first.
pub(crate) async fn list(pool: &PgPool, paging: Paging) -> Result<Vec<ClientSummary>, sqlx::Error> {
    let clients: Vec<Client> = sqlx::query_as(
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

/// How many clients there are.
pub(crate) async fn count(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM clients")
        .fetch_one(pool)
        .await
}
