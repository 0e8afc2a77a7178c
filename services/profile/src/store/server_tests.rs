//! Tests against a database.

use chrono::{DateTime, Utc};
use dm_contracts::App;
use dm_contracts::api::profile::{AppSettings, Person, Preferences, Profile};
use dm_contracts::time;
use dm_test_servers::assert_error_code;
use sqlx::PgPool;

use super::{app_settings, avatars, profiles};
use crate::domain::{NewAppSettings, ProfileSettings};

const CHECK_VIOLATION: &str = "23514";

/// The maximum number of bytes of an avatar.
const MAX_AVATAR_BYTES: usize = 1_048_576;

async fn create_database() -> PgPool {
    dm_test_servers::create_database("profile", &crate::MIGRATIONS).await
}

fn settings() -> ProfileSettings {
    ProfileSettings {
        full_name: "J\u{fc}rgen \u{201e}Jim\u{201c} Halpert \u{1f4ce}".into(),
        email: "jim@example.com".into(),
        title: "Sales\nRep".into(),
        phone: String::new(),
        default_app: App::WarehouseMobile,
        notifications_enabled: false,
    }
}

fn other_settings() -> ProfileSettings {
    ProfileSettings {
        full_name: "Dwight".into(),
        email: "dwight@example.com".into(),
        title: String::new(),
        phone: "570-555-0100".into(),
        default_app: App::Portal,
        notifications_enabled: true,
    }
}

async fn save(pool: &PgPool, user_id: &str, settings: &ProfileSettings) -> Profile {
    let mut transaction = pool.begin().await.unwrap();
    let saved = profiles::save(&mut transaction, user_id, settings)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    saved
}

/// Saves settings of the portal.
async fn save_settings(
    pool: &PgPool,
    user_id: &str,
    read_version: i64,
    settings: &str,
) -> Result<Option<AppSettings>, sqlx::Error> {
    let new = NewAppSettings {
        read_version,
        settings: settings.into(),
    };
    app_settings::save(pool, user_id, App::Portal, &new).await
}

async fn find_settings(pool: &PgPool, user_id: &str, app: App) -> Option<(i64, String)> {
    let found = app_settings::find(pool, user_id, app).await.unwrap()?;
    assert_eq!(found.app, app);
    Some((found.version, found.settings.get().to_owned()))
}

fn at(text: &str) -> DateTime<Utc> {
    time::parse(text).unwrap()
}

#[tokio::test]
async fn user_without_data_is_not_found() {
    let pool = create_database().await;
    save(&pool, "jhalpert", &settings()).await;
    avatars::save(&pool, "jhalpert", b"png").await.unwrap();
    save_settings(&pool, "jhalpert", 0, "{}").await.unwrap();
    for user_id in ["JHALPERT", "jhalpert ", ""] {
        assert_eq!(profiles::find(&pool, user_id).await.unwrap(), None);
        let name = profiles::find_full_name(&pool, user_id).await;
        assert_eq!(name.unwrap(), None);
        assert!(avatars::find(&pool, user_id).await.unwrap().is_none());
        avatars::delete(&pool, user_id).await.unwrap();
        assert_eq!(find_settings(&pool, user_id, App::Portal).await, None);
    }
    assert!(avatars::find(&pool, "jhalpert").await.unwrap().is_some());
}

#[tokio::test]
async fn saved_profile_is_found_and_replaced_with_all_its_data() {
    let pool = create_database().await;
    let other = save(&pool, "dschrute", &other_settings()).await;
    let saved = save(&pool, "jhalpert", &settings()).await;
    let expected = Profile {
        user_id: "jhalpert".into(),
        profile: Person {
            full_name: "J\u{fc}rgen \u{201e}Jim\u{201c} Halpert \u{1f4ce}".into(),
            email: "jim@example.com".into(),
            title: "Sales\nRep".into(),
            phone: String::new(),
        },
        preferences: Preferences {
            default_app: "warehouse-mobile".into(),
            notifications_enabled: false,
        },
        created_at: saved.created_at,
        updated_at: saved.created_at,
    };
    assert_eq!(saved, expected);
    let found = profiles::find(&pool, "jhalpert").await.unwrap();
    assert_eq!(found, Some(expected));

    let replaced = save(&pool, "jhalpert", &other_settings()).await;
    let expected = Profile {
        user_id: "jhalpert".into(),
        created_at: saved.created_at,
        updated_at: replaced.updated_at,
        profile: Person {
            full_name: "Dwight".into(),
            email: "dwight@example.com".into(),
            title: String::new(),
            phone: "570-555-0100".into(),
        },
        preferences: Preferences {
            default_app: "portal".into(),
            notifications_enabled: true,
        },
    };
    assert_eq!(replaced, expected);
    let found = profiles::find(&pool, "jhalpert").await.unwrap();
    assert_eq!(found, Some(expected));
    let name = profiles::find_full_name(&pool, "jhalpert").await;
    assert_eq!(name.unwrap().as_deref(), Some("Dwight"));
    let found = profiles::find(&pool, "dschrute").await.unwrap();
    assert_eq!(found, Some(other));
}

#[tokio::test]
async fn initial_profile_does_not_replace_one() {
    let pool = create_database().await;
    for initial in [settings(), other_settings()] {
        profiles::insert_if_absent(&pool, "jhalpert", &initial)
            .await
            .unwrap();
        let profile = profiles::find(&pool, "jhalpert").await.unwrap().unwrap();
        assert_eq!(
            profile.profile.full_name,
            "J\u{fc}rgen \u{201e}Jim\u{201c} Halpert \u{1f4ce}"
        );
        assert_eq!(profile.profile.email, "jim@example.com");
        assert_eq!(profile.profile.title, "Sales\nRep");
        assert_eq!(profile.profile.phone, "");
        assert_eq!(profile.preferences.default_app, "warehouse-mobile");
        assert!(!profile.preferences.notifications_enabled);
        assert_eq!(profile.created_at, profile.updated_at);
    }
}

#[tokio::test]
async fn time_of_an_update_never_goes_back() {
    let pool = create_database().await;
    save(&pool, "jhalpert", &settings()).await;
    avatars::save(&pool, "jhalpert", b"png").await.unwrap();
    save_settings(&pool, "jhalpert", 0, "{}").await.unwrap();
    let (past, future) = (at("2020-02-03T08:00:00Z"), at("2999-02-03T08:00:00Z"));
    for (version, before, is_kept) in [(1, past, false), (2, future, true)] {
        for statement in [
            "UPDATE user_profiles SET updated_at = $1",
            "UPDATE avatars SET updated_at = $1",
            "UPDATE app_settings SET updated_at = $1",
        ] {
            let update = sqlx::query(statement).bind(before);
            update.execute(&pool).await.unwrap();
        }
        let profile = save(&pool, "jhalpert", &other_settings()).await;
        avatars::save(&pool, "jhalpert", b"second").await.unwrap();
        let avatar = sqlx::query_scalar("SELECT updated_at FROM avatars");
        let avatar: DateTime<Utc> = avatar.fetch_one(&pool).await.unwrap();
        let settings = save_settings(&pool, "jhalpert", version, "{}").await;
        let settings = settings.unwrap().unwrap().updated_at.unwrap();
        for after in [profile.updated_at, avatar, settings] {
            assert!(after >= before, "{after}");
            assert_eq!(after == before, is_kept, "{after}");
        }
    }
}

#[tokio::test]
async fn saved_avatar_replaces_the_one_of_its_user() {
    let pool = create_database().await;
    // The entity tags are from sha256sum.
    let first_tag = "823ceb99fcef5252333ede1b2202341c3b287b6d47571963e6b0ddf393a24f82";
    let second_tag = "16367aacb67a4a017c8da8ab95682ccb390863780f7114dda0a0e0c55644c7c4";
    avatars::save(&pool, "dschrute", b"second").await.unwrap();
    for (png, tag) in [(&b"\x89PNG\r\n"[..], first_tag), (b"second", second_tag)] {
        let saved = avatars::save(&pool, "jhalpert", png).await.unwrap();
        assert_eq!(saved, tag);
        let found = avatars::find(&pool, "jhalpert").await.unwrap().unwrap();
        assert_eq!((&*found.png, &*found.etag), (png, tag));
    }
    for _ in 0..2 {
        avatars::delete(&pool, "jhalpert").await.unwrap();
        assert!(avatars::find(&pool, "jhalpert").await.unwrap().is_none());
    }
    let other = avatars::find(&pool, "dschrute").await.unwrap().unwrap();
    assert_eq!((&*other.png, &*other.etag), (&b"second"[..], second_tag));
}

#[tokio::test]
async fn settings_are_kept_as_they_were_written() {
    let pool = create_database().await;
    // jsonb would not keep any of these.
    let texts = [
        r#"{ "b" : 1.0e2, "a": 1, "b": 100000000000000000000.10 }"#,
        "{\"k\u{e9}y\":\"\\u00e9 \\ud83d\\udcc4\"}",
        r#"{"nul":"\u0000","half":"\ud800"}"#,
    ];
    for (version, text) in (0..).zip(texts) {
        let saved = save_settings(&pool, "jhalpert", version, text).await;
        let saved = saved.unwrap().unwrap();
        assert_eq!((saved.version, saved.settings.get()), (version + 1, text));
        let found = app_settings::find(&pool, "jhalpert", App::Portal).await;
        let found = found.unwrap().unwrap();
        assert_eq!((found.version, found.settings.get()), (version + 1, text));
        assert!(saved.updated_at.is_some());
        assert_eq!(found.updated_at, saved.updated_at);
    }
}

#[tokio::test]
async fn settings_are_saved_only_after_their_current_version() {
    let pool = create_database().await;
    for (read_version, settings, saved_version) in [
        (1, r#"{"n":1}"#, None),
        (0, r#"{"n":2}"#, Some(1)),
        (0, r#"{"n":3}"#, None),
        (2, r#"{"n":4}"#, None),
        (i64::MAX, r#"{"n":5}"#, None),
        (1, r#"{"n":6}"#, Some(2)),
        (1, r#"{"n":7}"#, None),
    ] {
        let saved = save_settings(&pool, "jhalpert", read_version, settings).await;
        let saved = saved.unwrap().map(|saved| saved.version);
        assert_eq!(saved, saved_version, "{settings}");
    }
    // Neither another user nor another app has them.
    let new = NewAppSettings {
        read_version: 0,
        settings: "{}".into(),
    };
    for app in [App::Infinity, App::WarehouseMobile, App::Accounting] {
        assert_eq!(find_settings(&pool, "jhalpert", app).await, None);
        let saved = app_settings::save(&pool, "jhalpert", app, &new).await;
        assert_eq!(saved.unwrap().unwrap().version, 1);
    }
    assert_eq!(find_settings(&pool, "dschrute", App::Portal).await, None);
    let saved = save_settings(&pool, "dschrute", 0, "{}").await;
    assert_eq!(saved.unwrap().unwrap().version, 1);
    assert_eq!(
        find_settings(&pool, "jhalpert", App::Portal).await,
        Some((2, r#"{"n":6}"#.into()))
    );
}

#[tokio::test]
async fn one_of_concurrent_saves_with_the_same_version_succeeds() {
    let pool = create_database().await;
    for version in [0, 1, 2] {
        let outcomes = tokio::join!(
            save_settings(&pool, "jhalpert", version, r#"{"n":0}"#),
            save_settings(&pool, "jhalpert", version, r#"{"n":1}"#),
            save_settings(&pool, "jhalpert", version, r#"{"n":2}"#),
            save_settings(&pool, "jhalpert", version, r#"{"n":3}"#),
        );
        let outcomes = [outcomes.0, outcomes.1, outcomes.2, outcomes.3];
        let outcomes = outcomes.into_iter().map(Result::unwrap);
        let saved: Vec<AppSettings> = outcomes.flatten().collect();
        assert_eq!(saved.len(), 1, "{saved:?}");
        assert_eq!(
            find_settings(&pool, "jhalpert", App::Portal).await,
            Some((version + 1, saved[0].settings.get().into()))
        );
    }
}

#[tokio::test]
async fn tables_refuse_data_that_the_service_does_not_know() {
    let pool = create_database().await;
    for (app, name) in [
        (App::Infinity, "infinity"),
        (App::Accounting, "accounting"),
        (App::WarehouseMobile, "warehouse-mobile"),
        (App::Portal, "portal"),
    ] {
        let with_app = ProfileSettings {
            default_app: app,
            ..settings()
        };
        let saved = save(&pool, "jhalpert", &with_app).await;
        assert_eq!(saved.preferences.default_app, name);
    }
    let largest = vec![0; MAX_AVATAR_BYTES];
    avatars::save(&pool, "jhalpert", &largest).await.unwrap();
    for png in [vec![], vec![0; MAX_AVATAR_BYTES + 1]] {
        let saved = avatars::save(&pool, "jhalpert", &png).await;
        assert_error_code(saved, CHECK_VIOLATION);
    }
    let found = avatars::find(&pool, "jhalpert").await.unwrap().unwrap();
    assert_eq!(found.png.len(), MAX_AVATAR_BYTES);

    for text in ["[]", "null", "\"{}\""] {
        let saved = save_settings(&pool, "jhalpert", 0, text).await;
        assert_error_code(saved, CHECK_VIOLATION);
    }
    save_settings(&pool, "jhalpert", 0, "{}").await.unwrap();
    for statement in [
        "UPDATE user_profiles SET default_app = 'portal'",
        "UPDATE app_settings SET app = 'portal'",
        "UPDATE app_settings SET version = 0",
    ] {
        let outcome = sqlx::query(statement).execute(&pool).await;
        assert_error_code(outcome, CHECK_VIOLATION);
    }
}
