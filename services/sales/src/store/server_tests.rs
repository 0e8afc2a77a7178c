//! Tests against a database.

use chrono::{DateTime, Utc};
use dm_contracts::api::sales::{ClientSummary, LeadDetail, LeadStatus};
use dm_contracts::time;
use dm_test_kit::read_list;
use dm_test_servers::assert_error_code;
use sqlx::PgPool;

use super::clients::{self, ClientListSource};
use super::leads::{self, LeadListSource, LeadRow};
use crate::domain::{ConvertedClient, LeadPatch, NewLead};

async fn create_database() -> PgPool {
    dm_test_servers::create_database("sales", &crate::MIGRATIONS).await
}

fn new_lead() -> NewLead {
    NewLead {
        company_name: "B\u{fc}ro & S\u{f6}hne \u{1f4c4}".into(),
        contact_name: "Al O'Hara".into(),
        contact_email: "al@lackawanna.gov".into(),
        phone: "570-555-0100".into(),
        notes: "call back,\n\u{201e}after noon\u{201c}".into(),
    }
}

async fn insert(pool: &PgPool) -> LeadRow {
    leads::insert(pool, &new_lead(), "jhalpert").await.unwrap()
}

async fn find(pool: &PgPool, id: &str) -> LeadDetail {
    leads::find(pool, id).await.unwrap().unwrap().into()
}

/// Converts a lead in a transaction.
async fn convert(pool: &PgPool, lead: &LeadRow) -> ConvertedClient {
    let mut transaction = pool.begin().await.unwrap();
    let client = clients::insert(&mut transaction, lead, "dschrute")
        .await
        .unwrap();
    leads::mark_converted(&mut transaction, &lead.lead_id, &client)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    client
}

async fn execute(pool: &PgPool, statement: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(statement).execute(pool).await.map(|_| ())
}

fn at(text: &str) -> DateTime<Utc> {
    time::parse(text).unwrap()
}

#[tokio::test]
async fn inserted_lead_is_found_with_all_its_data() {
    let pool = create_database().await;
    let inserted: LeadDetail = insert(&pool).await.into();
    assert_eq!(
        inserted,
        LeadDetail {
            lead_id: "lead_4001".into(),
            company_name: "B\u{fc}ro & S\u{f6}hne \u{1f4c4}".into(),
            contact_name: "Al O'Hara".into(),
            contact_email: "al@lackawanna.gov".into(),
            phone: "570-555-0100".into(),
            status: "NEW".into(),
            notes: "call back,\n\u{201e}after noon\u{201c}".into(),
            created_by: "jhalpert".into(),
            created_at: inserted.created_at,
            updated_at: inserted.created_at,
            converted_client_id: None,
            converted_at: None,
        }
    );
    assert_eq!(find(&pool, "lead_4001").await, inserted);
    assert_eq!(insert(&pool).await.lead_id, "lead_4002");
}

#[tokio::test]
async fn missing_lead_is_not_found() {
    let pool = create_database().await;
    insert(&pool).await;
    let mut connection = pool.acquire().await.unwrap();
    let patch = LeadPatch {
        status: Some(LeadStatus::Contacted),
        notes: None,
    };
    for id in ["lead_1", "LEAD_4001", ""] {
        assert!(leads::find(&pool, id).await.unwrap().is_none());
        let locked = leads::lock(&mut connection, id).await.unwrap();
        assert!(locked.is_none());
        let updated = leads::update(&pool, id, &patch).await.unwrap();
        assert!(updated.is_none());
    }
    assert_eq!(find(&pool, "lead_4001").await.status, "NEW");
}

#[tokio::test]
async fn patch_changes_only_the_given_fields_of_its_lead() {
    let pool = create_database().await;
    let (id, other) = (insert(&pool).await.lead_id, insert(&pool).await);
    let notes = "call back,\n\u{201e}after noon\u{201c}";
    for (status, new_notes, expected) in [
        (Some(LeadStatus::Contacted), None, ("CONTACTED", notes)),
        (None, Some(""), ("CONTACTED", "")),
        (Some(LeadStatus::New), Some("\u{e9}"), ("NEW", "\u{e9}")),
    ] {
        let patch = LeadPatch {
            status,
            notes: new_notes.map(str::to_owned),
        };
        let updated = leads::update(&pool, &id, &patch).await.unwrap().unwrap();
        let updated = LeadDetail::from(updated);
        assert_eq!((&*updated.status, &*updated.notes), expected);
        assert_eq!(updated.company_name, new_lead().company_name);
        assert_eq!(find(&pool, &id).await, updated);
    }
    assert_eq!(find(&pool, "lead_4002").await, other.into());
}

#[tokio::test]
async fn time_of_the_update_never_goes_back_and_an_empty_patch_keeps_it() {
    let pool = create_database().await;
    let id = insert(&pool).await.lead_id;
    let (past, future) = (at("2020-02-03T08:00:00Z"), at("2999-02-03T08:00:00Z"));
    let empty = || LeadPatch {
        status: None,
        notes: None,
    };
    let with_notes = || LeadPatch {
        notes: Some("x".into()),
        ..empty()
    };
    for (before, patch, is_kept) in [
        (past, empty(), true),
        (past, with_notes(), false),
        (future, with_notes(), true),
    ] {
        sqlx::query("UPDATE leads SET updated_at = $1")
            .bind(before)
            .execute(&pool)
            .await
            .unwrap();
        let updated = leads::update(&pool, &id, &patch).await.unwrap().unwrap();
        let after = LeadDetail::from(updated).updated_at;
        assert!(after >= before, "{after} {patch:?}");
        assert_eq!(after == before, is_kept, "{before} {patch:?}");
    }
}

#[tokio::test]
async fn locked_lead_cannot_be_locked_by_another_transaction() {
    let pool = create_database().await;
    let (id, other) = (insert(&pool).await.lead_id, insert(&pool).await.lead_id);
    let mut first = pool.begin().await.unwrap();
    let lead = leads::lock(&mut first, &id).await.unwrap().unwrap();
    assert_eq!(LeadDetail::from(lead), find(&pool, &id).await);

    let mut second = pool.begin().await.unwrap();
    sqlx::query("SET LOCAL lock_timeout = '50ms'")
        .execute(&mut *second)
        .await
        .unwrap();
    let unlocked = leads::lock(&mut second, &other).await.unwrap();
    assert!(unlocked.is_some());
    assert_error_code(leads::lock(&mut second, &id).await, "55P03");
    drop(second);

    first.rollback().await.unwrap();
    let mut third = pool.begin().await.unwrap();
    assert!(leads::lock(&mut third, &id).await.unwrap().is_some());
}

#[tokio::test]
async fn converted_lead_keeps_its_client_with_any_status() {
    let pool = create_database().await;
    let (lead, other) = (insert(&pool).await, insert(&pool).await);
    assert_eq!(lead.converted_client(), None);
    let client = convert(&pool, &lead).await;
    assert_eq!(client.client_id, "client_7001");

    let converted = find(&pool, "lead_4001").await;
    assert_eq!(converted.status, "CONVERTED");
    assert_eq!(
        converted.converted_client_id.as_deref(),
        Some("client_7001")
    );
    assert_eq!(converted.converted_at, Some(client.at));
    assert_eq!(converted.updated_at, client.at);
    assert_eq!(converted.notes, new_lead().notes);
    assert_eq!(find(&pool, "lead_4002").await, other.into());

    let patch = LeadPatch {
        status: Some(LeadStatus::Qualified),
        notes: None,
    };
    let qualified = leads::update(&pool, "lead_4001", &patch).await.unwrap();
    let qualified = qualified.unwrap();
    assert_eq!(qualified.status, "QUALIFIED");
    assert_eq!(qualified.converted_client(), Some(client));
}

#[tokio::test]
async fn lead_becomes_one_client_at_most() {
    let pool = create_database().await;
    let mut lead = insert(&pool).await;
    convert(&pool, &lead).await;
    let mut connection = pool.acquire().await.unwrap();
    let second = clients::insert(&mut connection, &lead, "dschrute").await;
    assert_error_code(second, "23505");
    assert_error_code(execute(&pool, "DELETE FROM leads").await, "23503");
    lead.lead_id = "lead_1".into();
    let of_missing_lead = clients::insert(&mut connection, &lead, "dschrute").await;
    assert_error_code(of_missing_lead, "23503");

    let phones_and_creators: Vec<(String, String)> =
        sqlx::query_as("SELECT phone, created_by FROM clients")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(
        phones_and_creators,
        [("570-555-0100".to_owned(), "dschrute".to_owned())]
    );
}

#[tokio::test]
async fn lists_have_their_rows_newest_first() {
    let pool = create_database().await;
    for _ in 0..3 {
        let lead = insert(&pool).await;
        convert(&pool, &lead).await;
    }
    for statement in [
        "UPDATE leads SET created_at = '2026-02-03T08:00:00Z', status = 'QUALIFIED'
          WHERE lead_id <> 'lead_4001'",
        "UPDATE leads SET created_at = '2026-02-03T08:00:00.000001Z', status = 'NEW'
          WHERE lead_id = 'lead_4001'",
        "UPDATE clients SET created_at = '2026-02-03T08:00:00Z' WHERE client_id <> 'client_7002'",
        "UPDATE clients SET created_at = '2026-02-03T09:00:00Z' WHERE client_id = 'client_7002'",
    ] {
        execute(&pool, statement).await.unwrap();
    }

    let all = read_list(&pool, LeadListSource { status: None }).await;
    let ids: Vec<_> = all.iter().map(|lead| lead.lead_id.as_str()).collect();
    assert_eq!(ids, ["lead_4001", "lead_4003", "lead_4002"]);
    assert_eq!(all[0].status, "NEW");
    assert_eq!(all[0].created_at, at("2026-02-03T08:00:00.000001Z"));
    assert_eq!(all[0].converted_client_id.as_deref(), Some("client_7001"));
    let status = Some(LeadStatus::Qualified);
    let qualified = read_list(&pool, LeadListSource { status }).await;
    assert_eq!(qualified, all[1..]);

    let clients = read_list(&pool, ClientListSource).await;
    let ids: Vec<_> = clients.iter().map(|client| &*client.client_id).collect();
    assert_eq!(ids, ["client_7002", "client_7003", "client_7001"]);
    assert_eq!(
        clients[0],
        ClientSummary {
            client_id: "client_7002".into(),
            source_lead_id: "lead_4002".into(),
            company_name: "B\u{fc}ro & S\u{f6}hne \u{1f4c4}".into(),
            contact_name: "Al O'Hara".into(),
            contact_email: "al@lackawanna.gov".into(),
            created_at: at("2026-02-03T09:00:00Z"),
        }
    );
}

#[tokio::test]
async fn table_refuses_an_unknown_status_and_half_a_conversion() {
    let pool = create_database().await;
    let id = insert(&pool).await.lead_id;
    for status in LeadStatus::ALL {
        let patch = LeadPatch {
            status: Some(status),
            notes: None,
        };
        let updated = leads::update(&pool, &id, &patch).await.unwrap();
        assert!(updated.is_some(), "{status:?}");
    }
    for statement in [
        "UPDATE leads SET status = 'LOST'",
        "UPDATE leads SET converted_client_id = 'client_7001'",
        "UPDATE leads SET converted_at = now()",
    ] {
        assert_error_code(execute(&pool, statement).await, "23514");
    }
}
