//! Tokens of a realm with keys of its own, proved by keys that are fetched from it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jsonwebtoken::jwk::AlgorithmParameters;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::keys::{FetchIntervals, KeyError, RealmKeys};
use super::testing::{SigningKey, TestRealm, access_claims};
use super::tokens::{AccessClaims, TokenError, TokenVerifier};

const MOBILE_CLIENTS: &[&str] = &["warehouse-mobile"];

/// Ask whenever there is a reason to.
const NO_WAIT: FetchIntervals = FetchIntervals {
    min_interval: Duration::ZERO,
    initial_interval: Duration::ZERO,
    max_age: Duration::from_secs(600),
};

impl TestRealm {
    fn verifier(&self) -> TokenVerifier {
        TokenVerifier::new(self.keys(NO_WAIT), "scranton-branch")
    }
}

async fn verify_access(verifier: &TokenVerifier, token: &str) -> Result<AccessClaims, TokenError> {
    verifier.verify_access_token(token, MOBILE_CLIENTS).await
}

fn forge_token(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |value: &Value| BASE64URL.encode(value.to_string());
    format!(
        "{}.{}.{}",
        part(header),
        part(claims),
        BASE64URL.encode(signature)
    )
}

#[tokio::test]
async fn a_good_token_is_taken_under_any_host_name() {
    let signer = SigningKey::new("one");
    let verifier = TestRealm::with_keys(&[&signer]).await.verifier();
    for issuer in [
        "http://localhost:8080/realms/scranton-branch",
        "http://host.docker.internal:8080/realms/scranton-branch",
        "https://sso.dundermifflin.example/realms/scranton-branch",
    ] {
        let token = signer.sign(&access_claims(json!({ "iss": issuer })));
        let user = verify_access(&verifier, &token).await.unwrap().into_user();
        assert_eq!(user.id, "dphilbin");
        assert_eq!(user.display_name, "Darryl Philbin");
        assert_eq!(user.roles, ["warehouse-operator"]);
    }
}

#[tokio::test]
async fn tokens_that_say_the_wrong_thing_are_refused() {
    let signer = SigningKey::new("one");
    let verifier = TestRealm::with_keys(&[&signer]).await.verifier();
    let now = get_current_timestamp();
    for changes in [
        json!({"exp": now - 60}),
        json!({"exp": null}),
        json!({"exp": "tomorrow"}),
        json!({"nbf": now + 60}),
        json!({"iss": "http://localhost:8080/realms/master"}),
        json!({"iss": "http://localhost:8080/realms/scranton-branch/"}),
        json!({"iss": "http://localhost:8080/x/realms/scranton-branch"}),
        json!({"iss": "http://localhost:8080/realms/scranton-branch?x"}),
        json!({"iss": "file:///realms/scranton-branch"}),
        json!({"iss": "/realms/scranton-branch"}),
        json!({"iss": null}),
        json!({"typ": "ID"}),
        json!({"typ": "Refresh"}),
        json!({"typ": null}),
        json!({"azp": "dunder-observability"}),
        json!({"azp": null}),
        json!({"realm_access": "manager"}),
    ] {
        let token = signer.sign(&access_claims(changes.clone()));
        assert!(
            verify_access(&verifier, &token).await.is_err(),
            "{changes} is taken"
        );
    }
    let nearly = signer.sign(&access_claims(json!({"exp": now - 2})));
    assert!(verify_access(&verifier, &nearly).await.is_ok(), "no leeway");
}

#[tokio::test]
async fn signatures_that_are_not_the_keys_are_refused() {
    let signer = SigningKey::new("one");
    let other = SigningKey::new("one");
    let unknown = SigningKey::new("two");
    let verifier = TestRealm::with_keys(&[&signer]).await.verifier();
    let wanted = access_claims(json!({"preferred_username": "mscott"}));
    let good = signer.sign(&access_claims(json!({})));
    let mut parts = good.split('.');
    let (head, signature) = (parts.next().unwrap(), parts.nth(1).unwrap());
    let body = BASE64URL.encode(wanted.to_string());
    for token in [
        other.sign(&wanted),
        unknown.sign(&wanted),
        format!("{head}.{body}.{signature}"),
        format!("{head}.{body}."),
        good[..good.len() - 5].to_owned(),
        "x".repeat(100_000),
    ] {
        assert!(
            verify_access(&verifier, &token).await.is_err(),
            "{token:.60}"
        );
    }
    assert!(matches!(
        verify_access(&verifier, &unknown.sign(&wanted)).await,
        Err(TokenError::Key(KeyError::Unknown))
    ));
}

#[tokio::test]
async fn the_token_does_not_choose_the_algorithm() {
    let signer = SigningKey::new("one");
    let verifier = TestRealm::with_keys(&[&signer]).await.verifier();
    let wanted = access_claims(json!({"preferred_username": "mscott"}));
    for algorithm in ["none", "None", "NONE", ""] {
        let header = json!({"alg": algorithm, "typ": "JWT", "kid": "one"});
        let token = forge_token(&header, &wanted, b"");
        assert!(
            verify_access(&verifier, &token).await.is_err(),
            "{algorithm}"
        );
    }
    // The public key as a shared secret, in every form it is known in.
    let AlgorithmParameters::RSA(public) = &signer.public.algorithm else {
        panic!("no RSA key");
    };
    let modulus = BASE64URL.decode(&public.n).unwrap();
    let whole = serde_json::to_vec(&signer.public).unwrap();
    for secret in [public.n.as_bytes(), &modulus, &whole, b""] {
        let header = Header {
            kid: Some("one".into()),
            ..Header::new(Algorithm::HS256)
        };
        let token = encode(&header, &wanted, &EncodingKey::from_secret(secret)).unwrap();
        assert!(verify_access(&verifier, &token).await.is_err());
    }
    // The key says RS256: neither another hash nor another padding.
    for algorithm in [Algorithm::RS512, Algorithm::PS256] {
        let header = Header {
            kid: Some("one".into()),
            ..Header::new(algorithm)
        };
        let token = encode(&header, &wanted, &signer.key).unwrap();
        assert!(
            verify_access(&verifier, &token).await.is_err(),
            "{algorithm:?}"
        );
    }
    let without = encode(&Header::new(Algorithm::RS256), &wanted, &signer.key).unwrap();
    assert!(
        verify_access(&verifier, &without).await.is_err(),
        "names no key"
    );
}

#[tokio::test]
async fn a_token_may_be_good_and_name_nobody() {
    let signer = SigningKey::new("one");
    let verifier = TestRealm::with_keys(&[&signer]).await.verifier();
    for name in [json!(null), json!(""), json!("  ")] {
        let token = signer.sign(&access_claims(json!({"preferred_username": name})));
        let claims = verify_access(&verifier, &token).await.unwrap();
        assert!(!claims.has_username());
        assert_eq!(claims.into_user().id, "unknown-user");
    }
}

#[tokio::test]
async fn the_display_name_falls_back() {
    let signer = SigningKey::new("one");
    let verifier = TestRealm::with_keys(&[&signer]).await.verifier();
    for (changes, name) in [
        (json!({"name": "Darryl P"}), "Darryl P"),
        (json!({"name": null, "given_name": "Darryl"}), "Darryl"),
        (json!({"name": " ", "given_name": null}), "dphilbin"),
    ] {
        let token = signer.sign(&access_claims(changes));
        let user = verify_access(&verifier, &token).await.unwrap().into_user();
        assert_eq!(user.display_name, name);
    }
}

#[tokio::test]
async fn an_identity_token_is_for_this_client_and_this_login() {
    let signer = SigningKey::new("one");
    let verifier = TestRealm::with_keys(&[&signer]).await.verifier();
    let good = json!({"typ": "ID", "aud": "gateway", "azp": "gateway", "nonce": "n"});
    let prove = async |changes: Value| {
        let mut said = access_claims(good.clone());
        for (name, value) in changes.as_object().unwrap() {
            said[name] = value.clone();
        }
        verifier
            .verify_id_token(&signer.sign(&said), "gateway", "n")
            .await
    };
    assert_eq!(prove(json!({})).await.unwrap().sub.as_deref(), Some("8d2f"));
    assert!(prove(json!({"aud": ["account", "gateway"]})).await.is_ok());
    for changes in [
        json!({"nonce": "another"}),
        json!({"nonce": null}),
        json!({"aud": "account"}),
        json!({"aud": null}),
        json!({"azp": "warehouse-mobile"}),
        json!({"iss": "http://localhost:8080/realms/master"}),
        json!({"exp": 1}),
    ] {
        assert!(prove(changes.clone()).await.is_err(), "{changes} is taken");
    }
}

#[tokio::test]
async fn made_up_key_ids_do_not_reach_keycloak() {
    let signer = SigningKey::new("one");
    let realm = TestRealm::with_keys(&[&signer]).await;
    let keys = realm.keys(FetchIntervals::default());
    for _ in 0..50 {
        assert_eq!(keys.find("made-up").await.unwrap_err(), KeyError::Unknown);
        assert!(keys.find("one").await.is_ok());
    }
    assert_eq!(realm.key_request_count(), 1);
}

#[tokio::test]
async fn many_who_wait_for_a_key_ask_once() {
    let signer = SigningKey::new("one");
    let realm = TestRealm::with_keys(&[&signer]).await;
    let keys = realm.keys(FetchIntervals::default());
    let asking = (0..20).map(|_| keys.find("one"));
    let found = futures_util::future::join_all(asking).await;
    assert!(found.iter().all(Result::is_ok));
    assert_eq!(realm.key_request_count(), 1);
}

#[tokio::test]
async fn a_new_key_is_fetched_and_a_withdrawn_one_is_forgotten() {
    let (old, new) = (SigningKey::new("old"), SigningKey::new("new-key"));
    let realm = TestRealm::with_keys(&[&old]).await;
    let keys = realm.keys(NO_WAIT);
    assert!(keys.find("old").await.is_ok());
    realm.publish_keys(&[&new]);
    assert!(keys.find("new-key").await.is_ok());
    assert_eq!(keys.find("old").await.unwrap_err(), KeyError::Unknown);
}

#[tokio::test]
async fn the_first_key_of_a_realm_is_fetched_soon() {
    let realm = TestRealm::with_keys(&[]).await;
    let keys = realm.keys(FetchIntervals {
        initial_interval: Duration::ZERO,
        ..FetchIntervals::default()
    });
    assert_eq!(keys.find("one").await.unwrap_err(), KeyError::Unknown);
    realm.publish_keys(&[&SigningKey::new("one")]);
    assert!(keys.find("one").await.is_ok());
}

#[tokio::test]
async fn old_keys_are_used_while_they_are_fetched_again() {
    let signer = SigningKey::new("one");
    let realm = TestRealm::with_keys(&[&signer]).await;
    let keys = realm.keys(FetchIntervals {
        max_age: Duration::ZERO,
        ..NO_WAIT
    });
    assert!(keys.find("one").await.is_ok());
    realm.publish_keys(&[]);
    assert!(keys.find("one").await.is_ok(), "the caller had to wait");
    // A withdrawn key is gone once the fetch behind the scenes has ended.
    tokio::time::timeout(Duration::from_secs(30), async {
        while keys.find("one").await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn keys_are_kept_while_keycloak_is_away() {
    let signer = SigningKey::new("one");
    let realm = TestRealm::with_keys(&[&signer]).await;
    let keys = realm.keys(NO_WAIT);
    assert!(keys.find("one").await.is_ok());
    *realm.published_keys.lock().unwrap() = json!("an error page");
    assert_eq!(keys.find("two").await.unwrap_err(), KeyError::Unknown);
    realm.server.abort();
    assert_eq!(keys.find("two").await.unwrap_err(), KeyError::Unknown);
    assert!(keys.find("one").await.is_ok());
}

#[tokio::test]
async fn without_any_key_nothing_is_decided() {
    let realm = TestRealm::with_keys(&[]).await;
    *realm.published_keys.lock().unwrap() = json!("an error page");
    let keys = realm.keys(NO_WAIT);
    assert_eq!(keys.find("one").await.unwrap_err(), KeyError::Unavailable);
    let signer = SigningKey::new("one");
    let token = signer.sign(&access_claims(json!({})));
    let refusal = verify_access(&realm.verifier(), &token).await.unwrap_err();
    assert!(refusal.is_keys_unavailable());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_text_is_refused_and_breaks_nothing(token in "[A-Za-z0-9_.=-]{0,80}|\\PC{0,40}") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let unreachable = RealmKeys::new(
                crate::downstream::build_client().unwrap(),
                "http://127.0.0.1:1/certs".to_owned(),
                FetchIntervals::default(),
            );
            let verifier = TokenVerifier::new(unreachable, "scranton-branch");
            assert!(verify_access(&verifier, &token).await.is_err());
        });
    }
}
