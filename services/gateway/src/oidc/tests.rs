//! Verification of tokens of a test realm with keys that are fetched from it.

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

/// Intervals that permit a fetch at any time.
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
async fn valid_token_is_accepted_for_any_host_name_of_the_issuer() {
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
async fn token_with_an_invalid_claim_is_rejected() {
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
            "{changes} is accepted"
        );
    }
    let just_expired = signer.sign(&access_claims(json!({"exp": now - 2})));
    assert!(
        verify_access(&verifier, &just_expired).await.is_ok(),
        "no leeway"
    );
}

#[tokio::test]
async fn token_with_a_foreign_signature_is_rejected() {
    let signer = SigningKey::new("one");
    let other = SigningKey::new("one");
    let unknown = SigningKey::new("two");
    let verifier = TestRealm::with_keys(&[&signer]).await.verifier();
    let claims = access_claims(json!({"preferred_username": "mscott"}));
    let good = signer.sign(&access_claims(json!({})));
    let mut parts = good.split('.');
    let (head, signature) = (parts.next().unwrap(), parts.nth(1).unwrap());
    let body = BASE64URL.encode(claims.to_string());
    for token in [
        other.sign(&claims),
        unknown.sign(&claims),
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
        verify_access(&verifier, &unknown.sign(&claims)).await,
        Err(TokenError::Key(KeyError::Unknown))
    ));
}

#[tokio::test]
async fn token_cannot_choose_the_algorithm() {
    let signer = SigningKey::new("one");
    let verifier = TestRealm::with_keys(&[&signer]).await.verifier();
    let claims = access_claims(json!({"preferred_username": "mscott"}));
    for algorithm in ["none", "None", "NONE", ""] {
        let header = json!({"alg": algorithm, "typ": "JWT", "kid": "one"});
        let token = forge_token(&header, &claims, b"");
        assert!(
            verify_access(&verifier, &token).await.is_err(),
            "{algorithm}"
        );
    }
    // The public key as a shared secret, in each of its encodings.
    let AlgorithmParameters::RSA(public) = &signer.public.algorithm else {
        panic!("no RSA key");
    };
    let modulus = BASE64URL.decode(&public.n).unwrap();
    let json_key = serde_json::to_vec(&signer.public).unwrap();
    for secret in [public.n.as_bytes(), &modulus, &json_key, b""] {
        let header = Header {
            kid: Some("one".into()),
            ..Header::new(Algorithm::HS256)
        };
        let token = encode(&header, &claims, &EncodingKey::from_secret(secret)).unwrap();
        assert!(verify_access(&verifier, &token).await.is_err());
    }
    // The key declares RS256: no other hash and no other padding.
    for algorithm in [Algorithm::RS512, Algorithm::PS256] {
        let header = Header {
            kid: Some("one".into()),
            ..Header::new(algorithm)
        };
        let token = encode(&header, &claims, &signer.key).unwrap();
        assert!(
            verify_access(&verifier, &token).await.is_err(),
            "{algorithm:?}"
        );
    }
    let without_key_id = encode(&Header::new(Algorithm::RS256), &claims, &signer.key).unwrap();
    assert!(
        verify_access(&verifier, &without_key_id).await.is_err(),
        "accepted without a key id"
    );
}

#[tokio::test]
async fn token_without_a_username_is_valid_and_has_no_username() {
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
async fn display_name_falls_back_to_given_name_and_username() {
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
async fn id_token_requires_this_client_and_this_nonce() {
    let signer = SigningKey::new("one");
    let verifier = TestRealm::with_keys(&[&signer]).await.verifier();
    let valid = json!({"typ": "ID", "aud": "gateway", "azp": "gateway", "nonce": "n"});
    let verify = async |changes: Value| {
        let mut claims = access_claims(valid.clone());
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        verifier
            .verify_id_token(&signer.sign(&claims), "gateway", "n")
            .await
    };
    assert_eq!(
        verify(json!({})).await.unwrap().sub.as_deref(),
        Some("8d2f")
    );
    assert!(verify(json!({"aud": ["account", "gateway"]})).await.is_ok());
    for changes in [
        json!({"nonce": "another"}),
        json!({"nonce": null}),
        json!({"aud": "account"}),
        json!({"aud": null}),
        json!({"azp": "warehouse-mobile"}),
        json!({"iss": "http://localhost:8080/realms/master"}),
        json!({"exp": 1}),
    ] {
        assert!(
            verify(changes.clone()).await.is_err(),
            "{changes} is accepted"
        );
    }
}

#[tokio::test]
async fn unknown_key_ids_cause_no_further_fetch() {
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
async fn concurrent_lookups_share_one_fetch() {
    let signer = SigningKey::new("one");
    let realm = TestRealm::with_keys(&[&signer]).await;
    let keys = realm.keys(FetchIntervals::default());
    let lookups = (0..20).map(|_| keys.find("one"));
    let results = futures_util::future::join_all(lookups).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(realm.key_request_count(), 1);
}

#[tokio::test]
async fn new_key_is_fetched_and_withdrawn_key_is_dropped() {
    let (old, new) = (SigningKey::new("old"), SigningKey::new("new-key"));
    let realm = TestRealm::with_keys(&[&old]).await;
    let keys = realm.keys(NO_WAIT);
    assert!(keys.find("old").await.is_ok());
    realm.publish_keys(&[&new]);
    assert!(keys.find("new-key").await.is_ok());
    assert_eq!(keys.find("old").await.unwrap_err(), KeyError::Unknown);
}

#[tokio::test]
async fn first_key_of_a_realm_is_fetched_after_the_initial_interval() {
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
async fn outdated_key_is_used_during_the_background_fetch() {
    let signer = SigningKey::new("one");
    let realm = TestRealm::with_keys(&[&signer]).await;
    let keys = realm.keys(FetchIntervals {
        max_age: Duration::ZERO,
        ..NO_WAIT
    });
    assert!(keys.find("one").await.is_ok());
    realm.publish_keys(&[]);
    assert!(keys.find("one").await.is_ok(), "the caller had to wait");
    // A withdrawn key is gone when the background fetch has ended.
    tokio::time::timeout(Duration::from_secs(30), async {
        while keys.find("one").await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn cached_keys_are_kept_while_keycloak_is_unreachable() {
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
async fn token_is_undecided_while_no_keys_were_fetched() {
    let realm = TestRealm::with_keys(&[]).await;
    *realm.published_keys.lock().unwrap() = json!("an error page");
    let keys = realm.keys(NO_WAIT);
    assert_eq!(keys.find("one").await.unwrap_err(), KeyError::Unavailable);
    let signer = SigningKey::new("one");
    let token = signer.sign(&access_claims(json!({})));
    let error = verify_access(&realm.verifier(), &token).await.unwrap_err();
    assert!(error.is_keys_unavailable());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn arbitrary_text_is_rejected_without_a_panic(token in "[A-Za-z0-9_.=-]{0,80}|\\PC{0,40}") {
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
