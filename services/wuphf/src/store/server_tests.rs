//! Tests against a database.

use chrono::{DateTime, Utc};
use dm_contracts::api::notification::Notification;
use dm_contracts::time;
use dm_test_kit::read_list;
use dm_test_servers::assert_error_code;
use sqlx::{PgConnection, PgPool};

use super::notifications::{self, NotificationListSource};
use crate::domain::NotificationDraft;

async fn create_database() -> PgPool {
    dm_test_servers::create_database("notifications", &crate::MIGRATIONS).await
}

/// Returns a time on a fixed day.
fn at(hour: u32) -> DateTime<Utc> {
    time::parse(&format!("2026-02-03T{hour:02}:00:00.000001Z")).unwrap()
}

fn draft(user_id: &str) -> NotificationDraft {
    NotificationDraft {
        user_id: user_id.into(),
        kind: "ORDER_PLACED",
        title: "Order \u{201e}9001\u{201c} \u{1f4e6}".into(),
        body: "B\u{fc}ro,\n3 boxes".into(),
        deep_link: "/infinity/orders/ord_9001?a=%C3%BC".into(),
        created_at: at(8),
    }
}

async fn insert(
    connection: &mut PgConnection,
    user_id: &str,
    event_id: &str,
) -> Result<Option<Notification>, sqlx::Error> {
    notifications::insert(connection, &draft(user_id), event_id).await
}

/// Inserts notifications about different events for these users, the first with the number 1000.
async fn insert_for(pool: &PgPool, user_ids: &[&str]) {
    let mut connection = pool.acquire().await.unwrap();
    for (index, user_id) in user_ids.iter().enumerate() {
        let inserted = insert(&mut connection, user_id, &format!("evt_{index}")).await;
        assert!(inserted.unwrap().is_some());
    }
}

/// Returns the notifications of a user, newest first, optionally only unread ones.
async fn list(pool: &PgPool, user_id: &str, unread_only: bool) -> Vec<Notification> {
    let source = NotificationListSource {
        user_id: user_id.into(),
        unread_only,
    };
    read_list(pool, source).await
}

#[tokio::test]
async fn inserted_notification_is_listed_with_all_its_data() {
    let pool = create_database().await;
    let mut connection = pool.acquire().await.unwrap();
    let inserted = insert(&mut connection, "jhalpert", "evt_1").await;
    let expected = Notification {
        notification_id: "ntf_1000".into(),
        user_id: "jhalpert".into(),
        kind: "ORDER_PLACED".into(),
        title: "Order \u{201e}9001\u{201c} \u{1f4e6}".into(),
        body: "B\u{fc}ro,\n3 boxes".into(),
        deep_link: "/infinity/orders/ord_9001?a=%C3%BC".into(),
        is_read: false,
        created_at: at(8),
        read_at: None,
    };
    assert_eq!(inserted.unwrap().as_ref(), Some(&expected));
    assert_eq!(list(&pool, "jhalpert", false).await, [expected]);
}

#[tokio::test]
async fn event_notifies_each_user_once() {
    let pool = create_database().await;
    let mut connection = pool.acquire().await.unwrap();
    for (user_id, event_id, is_inserted) in [
        ("jhalpert", "evt_1", true),
        ("jhalpert", "evt_1", false),
        ("dschrute", "evt_1", true),
        ("jhalpert", "evt_2", true),
        ("dschrute", "evt_1", false),
    ] {
        let inserted = insert(&mut connection, user_id, event_id).await;
        assert_eq!(inserted.unwrap().is_some(), is_inserted);
    }
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT user_id, source_event_id FROM notifications
          ORDER BY source_event_id, user_id",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let expected = [
        ("dschrute", "evt_1"),
        ("jhalpert", "evt_1"),
        ("jhalpert", "evt_2"),
    ];
    assert_eq!(
        rows,
        expected.map(|(user, event)| (user.into(), event.into()))
    );
}

#[tokio::test]
async fn notification_waits_for_a_transaction_with_the_same_event() {
    let pool = create_database().await;
    for (commits, number_of_notifications) in [(false, 0), (true, 1)] {
        let mut first = pool.begin().await.unwrap();
        let inserted = insert(&mut first, "jhalpert", "evt_1").await;
        assert!(inserted.unwrap().is_some());

        let mut second = pool.begin().await.unwrap();
        sqlx::query("SET LOCAL lock_timeout = '50ms'")
            .execute(&mut *second)
            .await
            .unwrap();
        let of_other_event = insert(&mut second, "jhalpert", "evt_2").await;
        assert!(of_other_event.unwrap().is_some());
        let blocked = insert(&mut second, "jhalpert", "evt_1").await;
        assert_error_code(blocked, "55P03");
        second.rollback().await.unwrap();

        if commits {
            first.commit().await.unwrap();
        } else {
            first.rollback().await.unwrap();
        }
        let notifications = list(&pool, "jhalpert", false).await;
        assert_eq!(notifications.len(), number_of_notifications);
    }
    let mut connection = pool.acquire().await.unwrap();
    let late = insert(&mut connection, "jhalpert", "evt_1").await;
    assert_eq!(late.unwrap(), None);
}

#[tokio::test]
async fn read_notification_keeps_its_first_time() {
    let pool = create_database().await;
    insert_for(&pool, &["jhalpert", "jhalpert"]).await;
    let unread = list(&pool, "jhalpert", false).await;
    for hour in [9, 10, 7] {
        let marked = notifications::mark_read(&pool, "ntf_1001", "jhalpert", at(hour)).await;
        let expected = Notification {
            is_read: true,
            read_at: Some(at(9)),
            ..unread[0].clone()
        };
        assert_eq!(expected.notification_id, "ntf_1001");
        assert_eq!(marked.unwrap().as_ref(), Some(&expected));
        let listed = list(&pool, "jhalpert", false).await;
        assert_eq!(listed, [expected, unread[1].clone()]);
    }
}

#[tokio::test]
async fn notification_is_read_only_by_its_user() {
    let pool = create_database().await;
    insert_for(&pool, &["jhalpert", "dschrute"]).await;
    for (id, user_id) in [
        ("ntf_1000", "dschrute"),
        ("ntf_1001", "jhalpert"),
        ("ntf_1001", "DSCHRUTE"),
        ("ntf_1", "jhalpert"),
        ("", ""),
    ] {
        let marked = notifications::mark_read(&pool, id, user_id, at(9)).await;
        assert_eq!(marked.unwrap(), None, "{id} {user_id}");
    }
    for user_id in ["jhalpert", "dschrute"] {
        assert_eq!(list(&pool, user_id, true).await.len(), 1, "{user_id}");
    }
}

#[tokio::test]
async fn list_has_the_notifications_of_a_user_newest_first() {
    let pool = create_database().await;
    let users = ["jhalpert", "jhalpert", "dschrute", "jhalpert", "jhalpert"];
    insert_for(&pool, &users).await;
    sqlx::query("UPDATE notifications SET created_at = $1 WHERE notification_id = 'ntf_1000'")
        .bind(at(12))
        .execute(&pool)
        .await
        .unwrap();
    let marked = notifications::mark_read(&pool, "ntf_1003", "jhalpert", at(9)).await;
    assert!(marked.unwrap().is_some());

    for (user_id, unread_only, expected) in [
        (
            "jhalpert",
            false,
            &["ntf_1000", "ntf_1004", "ntf_1003", "ntf_1001"][..],
        ),
        ("jhalpert", true, &["ntf_1000", "ntf_1004", "ntf_1001"]),
        ("dschrute", true, &["ntf_1002"]),
        ("JHALPERT", false, &[]),
    ] {
        let items = list(&pool, user_id, unread_only).await;
        let ids: Vec<_> = items.iter().map(|item| &*item.notification_id).collect();
        assert_eq!(ids, expected, "{user_id} {unread_only}");
    }
}

#[tokio::test]
async fn table_refuses_half_a_read_notification() {
    let pool = create_database().await;
    insert_for(&pool, &["jhalpert"]).await;
    for statement in [
        "UPDATE notifications SET is_read = true",
        "UPDATE notifications SET read_at = now()",
    ] {
        let outcome = sqlx::query(statement).execute(&pool).await;
        assert_error_code(outcome, "23514");
    }
}
