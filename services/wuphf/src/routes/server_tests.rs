//! Tests of requests against a database.

use dm_contracts::time;
use dm_test_kit::{TestService, USER, field_texts};
use serde_json::Value;

/// The notifications of the user that [`start_with_notifications`] inserts, newest first: id, hour
/// and whether it is read. Those of one hour have the same time.
const NOTIFICATIONS: [(&str, u32, bool); 6] = [
    ("ntf_1003", 10, false),
    ("ntf_1008", 9, true),
    ("ntf_1005", 9, false),
    ("ntf_1001", 9, false),
    ("ntf_1009", 8, true),
    ("ntf_1002", 7, false),
];

async fn start() -> TestService {
    let routes = |database| super::router().with_state(database);
    TestService::start(&crate::SCHEMA, routes).await
}

async fn insert(service: &TestService, user: &str, (id, hour, is_read): (&str, u32, bool)) {
    sqlx::query(
        "INSERT INTO notifications (notification_id, user_id, kind, title, body, deep_link,
                                    created_at, is_read, read_at)
         VALUES ($1, $2, 'ORDER_PLACED', 'title', 'body', '/portal', $3, $4,
                 CASE WHEN $4 THEN $3 END)",
    )
    .bind(id)
    .bind(user)
    .bind(time::parse(&format!("2026-02-03T{hour:02}:00:00Z")).unwrap())
    .bind(is_read)
    .execute(&service.pool)
    .await
    .unwrap();
}

/// Returns a service in which another user has notifications, too.
async fn start_with_notifications() -> TestService {
    let service = start().await;
    for notification in NOTIFICATIONS.into_iter().rev() {
        insert(&service, USER, notification).await;
    }
    for other in [("ntf_1004", 9, false), ("ntf_1006", 11, true)] {
        insert(&service, "dschrute", other).await;
    }
    service
}

#[tokio::test]
async fn pages_of_any_size_have_each_notification_of_the_user_once() {
    let service = start_with_notifications().await;
    let all = NOTIFICATIONS.map(|(id, ..)| id).to_vec();
    let unread = ["ntf_1003", "ntf_1005", "ntf_1001", "ntf_1002"].to_vec();
    let id = "notificationId";
    for (filter, mut ids) in [("unreadOnly=false", all), ("unreadOnly=true", unread)] {
        let path = format!("/internal/notifications?{filter}");
        service.assert_pages(&path, id, &ids).await;
        let newest_first = format!("{path}&order=newest");
        service.assert_pages(&newest_first, id, &ids).await;
        ids.reverse();
        let oldest_first = format!("{path}&order=oldest");
        service.assert_pages(&oldest_first, id, &ids).await;
    }
    for query in ["unreadOnly=yes", "limit=0", "limit=1001", "cursor=ntf_1003"] {
        let path = format!("/internal/notifications?{query}");
        let response = service.get(&path).await;
        assert_eq!(response, Err("VALIDATION_ERROR"), "{query}");
    }
}

#[tokio::test]
async fn part_of_the_list_counts_all_unread_notifications_of_the_user() {
    let service = start_with_notifications().await;
    let counts = |list: &Value| (list["total"].as_u64(), list["unreadCount"].as_u64());
    for (query, expected) in [
        ("", (6, 4)),
        ("?limit=6", (6, 4)),
        ("?limit=2", (6, 4)),
        ("?unreadOnly=true", (4, 4)),
        ("?limit=1&unreadOnly=true", (4, 4)),
    ] {
        let path = format!("/internal/notifications{query}");
        let list = service.get(&path).await.unwrap();
        let (total, unread) = expected;
        assert_eq!(counts(&list), (Some(total), Some(unread)), "{query}");
    }
}

#[tokio::test]
async fn response_without_limit_has_the_newest_100_notifications() {
    let service = start().await;
    sqlx::query(
        "INSERT INTO notifications (notification_id, user_id, kind, title, body, deep_link,
                                    created_at)
         SELECT 'ntf_' || number, $1, 'ORDER_PLACED', 'title', 'body', '/portal',
                '2026-02-03'::timestamptz + number * interval '1 second'
           FROM generate_series(1, 101) AS number",
    )
    .bind(USER)
    .execute(&service.pool)
    .await
    .unwrap();
    let list = service.get("/internal/notifications").await.unwrap();
    let ids: Vec<String> = (2..=101)
        .rev()
        .map(|number| format!("ntf_{number}"))
        .collect();
    assert_eq!(field_texts(&list, "notificationId"), ids);
    let cursor = list["nextCursor"].as_str().unwrap();
    let path = format!("/internal/notifications?cursor={cursor}");
    let rest = service.get(&path).await.unwrap();
    assert_eq!(field_texts(&rest, "notificationId"), ["ntf_1"]);
    assert_eq!(rest["total"], 101);
}

#[tokio::test]
async fn notification_that_was_read_leaves_the_list_of_unread_ones() {
    let service = start_with_notifications().await;
    let path = "/internal/notifications/ntf_1005/read";
    let first = service.post(path, &Value::Null).await.unwrap();
    assert_eq!(first["isRead"], true);
    assert_eq!(service.post(path, &Value::Null).await.as_ref(), Ok(&first));
    let unread = service.get("/internal/notifications?unreadOnly=true").await;
    assert_eq!(
        field_texts(&unread.unwrap(), "notificationId"),
        ["ntf_1003", "ntf_1001", "ntf_1002"]
    );
    // The notification of another user.
    let path = "/internal/notifications/ntf_1004/read";
    let response = service.post(path, &Value::Null).await;
    assert_eq!(response, Err("NOTIFICATION_NOT_FOUND"));
}
