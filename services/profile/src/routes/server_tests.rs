//! Tests of requests against a database.

use dm_contracts::DomainEvent as _;
use dm_contracts::events::ProfileUpdated;
use dm_contracts::headers::USER_DISPLAY_NAME;
use dm_contracts::time;
use dm_test_kit::{TestService, USER, event_types};
use http::Method;
use serde_json::{Value, json};

use super::RouteState;
use crate::avatar_converter::AvatarConverter;

const PROFILE: &str = "/internal/profile/me";
const SETTINGS: &str = "/internal/profile/me/apps/infinity/settings";

async fn start() -> TestService {
    let routes = |database| {
        super::router().with_state(RouteState {
            database,
            converter: AvatarConverter::default(),
        })
    };
    TestService::start(&crate::SCHEMA, routes).await
}

fn profile(full_name: &str, app: &str) -> Value {
    json!({
        "profile": {"fullName": full_name, "email": "jim@example.com"},
        "preferences": {"defaultApp": app, "notificationsEnabled": false},
    })
}

#[tokio::test]
async fn each_saved_profile_is_published_with_its_data() {
    let service = start().await;
    for (name, app) in [("Jim", "infinity"), ("James", "warehouse-mobile")] {
        let saved = service.post(PROFILE, &profile(name, app)).await.unwrap();
        assert_eq!(service.get(PROFILE).await.as_ref(), Ok(&saved));
        let outbox = service.outbox().await;
        let last = outbox.last().unwrap();
        assert_eq!(last.subject, "profile/jhalpert");
        let event: ProfileUpdated = last.parse_data().unwrap();
        assert_eq!(event.user_id, USER);
        assert_eq!(event.full_name, name);
        assert_eq!(event.email, "jim@example.com");
        assert_eq!(event.default_app, app);
        assert!(!event.notifications_enabled);
        assert_eq!(event.updated_by, USER);
        let updated_at = saved["updatedAt"].as_str().and_then(time::parse);
        assert_eq!(Some(event.updated_at), updated_at);
    }
    let outbox = service.outbox().await;
    assert_eq!(event_types(&outbox), [ProfileUpdated::TYPE; 2]);
}

#[tokio::test]
async fn profile_that_is_not_valid_is_neither_saved_nor_published() {
    let service = start().await;
    for invalid in [
        profile(" ", "infinity"),
        profile("Jim", "payroll"),
        json!({"profile": {}}),
        Value::Null,
    ] {
        let response = service.post(PROFILE, &invalid).await;
        assert_eq!(response, Err("VALIDATION_ERROR"), "{invalid}");
    }
    let profiles: i64 = sqlx::query_scalar("SELECT count(*) FROM user_profiles")
        .fetch_one(&service.pool)
        .await
        .unwrap();
    assert_eq!(profiles, 0);
    assert!(service.outbox().await.is_empty());
}

#[tokio::test]
async fn first_request_creates_a_profile_and_publishes_nothing() {
    let service = start().await;
    let body = Value::Null;
    let name = [(USER_DISPLAY_NAME, "Jim Halpert")];
    let (first, second) = tokio::join!(
        service.send(Method::GET, PROFILE, &name, &body),
        service.send(Method::GET, PROFILE, &name, &body),
    );
    let first = first.unwrap();
    assert_eq!(second.as_ref(), Ok(&first));
    assert_eq!(first["profile"]["fullName"], "Jim Halpert");
    assert_eq!(first["preferences"]["defaultApp"], "portal");

    // Another display name does not rename the user.
    let name = [(USER_DISPLAY_NAME, "Other")];
    let third = service.send(Method::GET, PROFILE, &name, &body).await;
    assert_eq!(third.as_ref(), Ok(&first));
    assert!(service.outbox().await.is_empty());
}

#[tokio::test]
async fn app_settings_are_replaced_only_by_a_caller_who_has_read_them() {
    let service = start().await;
    let none = service.get(SETTINGS).await.unwrap();
    assert_eq!(
        (&none["version"], &none["settings"]),
        (&json!(0), &json!({}))
    );
    for (version, settings, expected) in [
        (0, json!({"columns": [1]}), Ok(1)),
        (0, json!({"columns": [2]}), Err("VERSION_CONFLICT")),
        (2, json!({"columns": [3]}), Err("VERSION_CONFLICT")),
        (1, json!({"columns": [4]}), Ok(2)),
        (-1, json!({}), Err("VALIDATION_ERROR")),
    ] {
        let body = json!({"version": version, "settings": settings});
        let saved = service.send(Method::PUT, SETTINGS, &[], &body).await;
        let saved = saved.map(|saved| saved["version"].as_i64().unwrap());
        assert_eq!(saved, expected, "{body}");
    }
    let saved = service.get(SETTINGS).await.unwrap();
    assert_eq!(saved["settings"], json!({"columns": [4]}));
    let other = service.get("/internal/profile/me/apps/payroll/settings");
    assert_eq!(other.await, Err("APP_NOT_FOUND"));
    assert!(service.outbox().await.is_empty());
}
