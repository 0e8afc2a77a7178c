//! Tests of the effects of events on the table and the outbox.

use dm_contracts::api::notification::Notification;
use dm_contracts::envelope::SPEC_VERSION;
use dm_contracts::events::{
    ExpenseDecided, OrderCancelled, OrderCreated, OrderReinstated, OrderStatusChanged,
    ShipmentDispatched,
};
use dm_contracts::{DomainEvent, time};
use dm_kit::http::MAX_USER_ID_LENGTH;
use dm_test_kit::{TestService, USER, event_types};
use serde_json::{Value, json};

use super::*;

async fn start() -> TestService {
    let routes = |database| crate::routes::router().with_state(database);
    TestService::start(&crate::SCHEMA, routes).await
}

fn event<E: DomainEvent>(id: &str, data: Value) -> Envelope {
    Envelope {
        specversion: SPEC_VERSION.into(),
        id: id.into(),
        event_type: E::TYPE.into(),
        source: E::SOURCE.into(),
        subject: String::new(),
        time: "2026-02-03T10:00:00Z".into(),
        datacontenttype: "application/json".into(),
        data,
    }
}

fn order_created(id: &str, user: &str) -> Envelope {
    event::<OrderCreated>(id, json!({"orderId": "ord_1", "createdBy": user}))
}

async fn process(service: &TestService, event: &Envelope) {
    let processed = service.process(&NotificationHandler, event).await;
    processed.unwrap();
}

/// Returns the notifications of [`USER`], newest first.
async fn notifications_of_user(service: &TestService) -> Vec<Notification> {
    let list = service.get("/internal/notifications").await.unwrap();
    serde_json::from_value(list["items"].clone()).unwrap()
}

#[tokio::test]
async fn each_notification_is_stored_and_published_with_its_data() {
    let service = start().await;
    let order = json!({
        "orderId": "ord_1", "shipmentId": "ship_1", "createdBy": USER, "orderCreatedBy": USER,
    });
    let expense = json!({
        "expenseId": "exp_1", "submitterUserId": USER, "decision": "APPROVED",
    });
    for (event, kind) in [
        (
            event::<OrderCreated>("evt_1", order.clone()),
            "ORDER_PLACED",
        ),
        (
            event::<ShipmentDispatched>("evt_2", order.clone()),
            "SHIPMENT_DISPATCHED",
        ),
        (
            event::<OrderCancelled>("evt_3", order.clone()),
            "ORDER_CANCELLED",
        ),
        (event::<OrderReinstated>("evt_4", order), "ORDER_REINSTATED"),
        (event::<ExpenseDecided>("evt_5", expense), "EXPENSE_DECIDED"),
    ] {
        process(&service, &event).await;
        let stored = notifications_of_user(&service).await.swap_remove(0);
        assert_eq!(stored.kind, kind);
        assert_eq!(Some(stored.created_at), time::parse(&event.time));
        let outbox = service.outbox().await;
        let last = outbox.last().unwrap();
        assert_eq!(last.event_type, NotificationCreated::TYPE);
        let subject = format!("notification/{}", stored.notification_id);
        assert_eq!(last.subject, subject);
        let created = NotificationCreated {
            notification_id: stored.notification_id,
            user_id: USER.into(),
            kind: stored.kind,
            title: stored.title,
            body: stored.body,
            deep_link: stored.deep_link,
            created_at: stored.created_at,
        };
        assert_eq!(last.parse_data::<NotificationCreated>().unwrap(), created);
    }
    assert_eq!(notifications_of_user(&service).await.len(), 5);
    assert_eq!(service.outbox().await.len(), 5);
}

#[tokio::test]
async fn event_notifies_its_user_once() {
    let service = start().await;
    let first = order_created("evt_1", USER);
    for event in [&first, &first, &order_created("evt_2", USER)] {
        process(&service, event).await;
    }
    let (again, other) = (first, order_created("evt_3", USER));
    tokio::join!(
        process(&service, &again),
        process(&service, &other),
        process(&service, &other),
    );
    assert_eq!(notifications_of_user(&service).await.len(), 3);
    let outbox = service.outbox().await;
    assert_eq!(event_types(&outbox), [NotificationCreated::TYPE; 3]);
    let ids: std::collections::BTreeSet<_> =
        outbox.iter().map(|event| event.subject.as_str()).collect();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn event_without_a_valid_recipient_or_of_another_type_has_no_effect() {
    let service = start().await;
    let too_long = "x".repeat(MAX_USER_ID_LENGTH + 1);
    process(&service, &order_created("evt_1", &too_long)).await;
    let changed = json!({"orderId": "ord_1", "createdBy": USER});
    process(&service, &event::<OrderStatusChanged>("evt_2", changed)).await;
    for user in ["", "x\0"] {
        let event = order_created("evt_3", user);
        let outcome = service.process(&NotificationHandler, &event).await;
        assert!(
            matches!(
                outcome,
                Err(HandlerError::Permanent {
                    reason: "invalid-data",
                    ..
                })
            ),
            "{outcome:?}"
        );
    }
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM notifications")
        .fetch_one(&service.pool)
        .await
        .unwrap();
    assert_eq!(stored, 0);
    assert!(service.outbox().await.is_empty());
}
