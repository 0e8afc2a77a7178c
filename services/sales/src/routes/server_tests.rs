//! Tests of requests against a database.

use dm_contracts::DomainEvent as _;
use dm_contracts::events::LeadConverted;
use dm_contracts::time;
use dm_test_kit::{TestService, USER, event_types, field_texts};
use serde_json::Value;

/// The leads that [`start_with_leads`] inserts, in their order: id, hour and status. Leads of one
/// hour have the same time.
const LEADS: [(&str, u32, &str); 6] = [
    ("lead_4003", 10, "NEW"),
    ("lead_4005", 9, "QUALIFIED"),
    ("lead_4004", 9, "NEW"),
    ("lead_4001", 9, "QUALIFIED"),
    ("lead_4006", 8, "DISQUALIFIED"),
    ("lead_4002", 7, "NEW"),
];

async fn start() -> TestService {
    let routes = |database| super::router().with_state(database);
    TestService::start(&crate::SCHEMA, routes).await
}

async fn start_with_leads() -> TestService {
    let service = start().await;
    for (id, hour, status) in LEADS.into_iter().rev() {
        sqlx::query(
            "INSERT INTO leads (lead_id, company_name, contact_name, contact_email, phone, status,
                                created_by, created_at, updated_at)
             VALUES ($1, 'Lackawanna', 'Al', 'al@lackawanna.gov', '570-555-0100', $2,
                     'jhalpert', $3, $3)",
        )
        .bind(id)
        .bind(status)
        .bind(time::parse(&format!("2026-02-03T{hour:02}:00:00Z")).unwrap())
        .execute(&service.pool)
        .await
        .unwrap();
    }
    service
}

async fn convert(service: &TestService, id: &str) -> Result<Value, &'static str> {
    let path = format!("/internal/sales/leads/{id}/convert");
    service.post(&path, &Value::Null).await
}

#[tokio::test]
async fn pages_of_any_size_have_each_lead_once() {
    let service = start_with_leads().await;
    let (path, id) = ("/internal/sales/leads", "leadId");
    let mut ids = LEADS.map(|(id, ..)| id);
    service.assert_pages(path, id, &ids).await;
    service.assert_numbered_pages(path, id, &ids).await;
    let newest_first = format!("{path}?order=newest");
    service.assert_pages(&newest_first, id, &ids).await;
    ids.reverse();
    let oldest_first = format!("{path}?order=oldest");
    service.assert_pages(&oldest_first, id, &ids).await;
}

#[tokio::test]
async fn status_selects_leads_on_all_pages() {
    let service = start_with_leads().await;
    for (status, expected) in [
        ("NEW", &["lead_4003", "lead_4004", "lead_4002"][..]),
        ("QUALIFIED", &["lead_4005", "lead_4001"]),
        ("DISQUALIFIED", &["lead_4006"]),
        ("CONTACTED", &[]),
    ] {
        let path = format!("/internal/sales/leads?status={status}");
        for paging in ["", "&limit=1", "&limit=2"] {
            let path = format!("{path}{paging}");
            let pages = service.read_pages(&path, "leadId").await;
            assert_eq!(pages.concat(), expected, "{path}");
        }
        let page = service.get(&format!("{path}&page=0&size=2")).await.unwrap();
        let first: Vec<_> = expected.iter().copied().take(2).collect();
        assert_eq!(field_texts(&page, "leadId"), first, "{status}");
        assert_eq!(page["total"], expected.len(), "{status}");
    }
    for query in [
        "status=new",
        "status=LOST",
        "page=0&limit=1",
        "page=-1",
        "size=0",
        "size=501",
    ] {
        let response = service.get(&format!("/internal/sales/leads?{query}")).await;
        assert_eq!(response, Err("VALIDATION_ERROR"), "{query}");
    }
}

#[tokio::test]
async fn qualified_lead_is_converted_and_published_once() {
    let service = start_with_leads().await;
    let first = convert(&service, "lead_4001").await.unwrap();
    assert_eq!(first["clientId"], "client_7001");
    assert_eq!(first["alreadyConverted"], false);
    let mut second = convert(&service, "lead_4001").await.unwrap();
    assert_eq!(second["alreadyConverted"].take(), true);
    second["alreadyConverted"] = false.into();
    assert_eq!(second, first);

    let outbox = service.outbox().await;
    assert_eq!(event_types(&outbox), [LeadConverted::TYPE]);
    assert_eq!(outbox[0].subject, "lead/lead_4001");
    let event: LeadConverted = outbox[0].parse_data().unwrap();
    assert_eq!(event.lead_id, "lead_4001");
    assert_eq!(event.client_id, "client_7001");
    assert_eq!(event.company_name, "Lackawanna");
    assert_eq!(event.converted_by, USER);
    let at = first["convertedAt"].as_str().and_then(time::parse);
    assert_eq!(Some(event.converted_at), at);
    let converted = service.get("/internal/sales/leads?status=CONVERTED").await;
    assert_eq!(field_texts(&converted.unwrap(), "leadId"), ["lead_4001"]);
}

#[tokio::test]
async fn lead_that_is_not_qualified_is_not_converted() {
    let service = start_with_leads().await;
    for (id, code) in [
        ("lead_4003", "LEAD_NOT_QUALIFIED"),
        ("lead_4006", "LEAD_NOT_QUALIFIED"),
        ("lead_1", "LEAD_NOT_FOUND"),
    ] {
        assert_eq!(convert(&service, id).await, Err(code), "{id}");
    }
    assert!(service.outbox().await.is_empty());
    let clients = service.get("/internal/sales/clients").await.unwrap();
    assert_eq!(clients["total"], 0);
}

#[tokio::test]
async fn concurrent_conversions_create_and_publish_one_client() {
    let service = start_with_leads().await;
    let convert = || convert(&service, "lead_4001");
    let (first, second, third) = tokio::join!(convert(), convert(), convert());
    let conversions = [first, second, third].map(Result::unwrap);
    let clients = conversions.each_ref().map(|lead| &lead["clientId"]);
    assert_eq!(clients, ["client_7001"; 3]);
    let created = conversions.iter();
    let created = created.filter(|lead| lead["alreadyConverted"] == false);
    assert_eq!(created.count(), 1, "{conversions:?}");
    assert_eq!(service.outbox().await.len(), 1);
}

#[tokio::test]
async fn pages_of_any_size_have_each_client_once() {
    let service = start_with_leads().await;
    sqlx::query("UPDATE leads SET status = 'QUALIFIED'")
        .execute(&service.pool)
        .await
        .unwrap();
    for (id, ..) in LEADS {
        convert(&service, id).await.unwrap();
    }
    // All but the first client have the same time.
    sqlx::query("UPDATE clients SET created_at = '2026-02-03' WHERE client_id <> 'client_7001'")
        .execute(&service.pool)
        .await
        .unwrap();
    sqlx::query("UPDATE clients SET created_at = '2026-02-04' WHERE client_id = 'client_7001'")
        .execute(&service.pool)
        .await
        .unwrap();
    let newest_first = [
        "client_7001",
        "client_7006",
        "client_7005",
        "client_7004",
        "client_7003",
        "client_7002",
    ];
    let (path, id) = ("/internal/sales/clients", "clientId");
    service.assert_pages(path, id, &newest_first).await;
    service.assert_numbered_pages(path, id, &newest_first).await;
}
