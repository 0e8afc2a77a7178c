//! The realm in its normal form: what Keycloak exports, without ids, keys and secrets.

use serde_json::{Map, Value};

use super::object::SchemaDocument;

/// The document's name.
pub(super) const DOCUMENT_NAME: &str = "realm";

/// Keys that are other in every realm, or nobody's business.
const IGNORED_KEYS: [&str; 14] = [
    "id",
    "_id",
    "containerId",
    "secret",
    "privateKey",
    "certificate",
    "kid",
    "keycloakVersion",
    "internalId",
    "flowId",
    "authenticationConfig",
    "parentId",
    "lastSync",
    "users",
];

/// Where a realm has its keys.
const KEY_PROVIDERS: &str = "org.keycloak.keys.KeyProvider";
/// How the providers of keys are called that a realm makes for itself, when it is made or when
/// it first needs one: what is there depends on what was asked of it.
const GENERATED_SUFFIX: &str = "-generated";

/// What tells an object of a list from the next one.
const NAME_KEYS: [&str; 6] = [
    "clientId",
    "name",
    "alias",
    "username",
    "providerId",
    "authenticator",
];

/// The realm that Keycloak exports.
pub(super) fn to_document(export: &Value) -> SchemaDocument {
    let mut values = Vec::new();
    for (key, value) in export.as_object().into_iter().flatten() {
        if IGNORED_KEYS.contains(&key.as_str()) {
            continue;
        }
        match value {
            Value::Array(list)
                if list.iter().all(|it| object_name(it).is_some()) && !list.is_empty() =>
            {
                values.extend(list.iter().map(|value| {
                    let name = object_name(value).unwrap_or_default().to_owned();
                    (key.clone(), name, normalize(value))
                }));
            }
            value => values.push(("setting".to_owned(), key.clone(), normalize(value))),
        }
    }
    SchemaDocument::from_values(DOCUMENT_NAME, values)
}

fn object_name(value: &Value) -> Option<&str> {
    NAME_KEYS.iter().find_map(|key| value.get(key)?.as_str())
}

fn is_ignored(key: &str, value: &Value) -> bool {
    let are_generated = || {
        let mut providers = value.as_array().into_iter().flatten();
        providers.all(|it| {
            let provider = it["providerId"].as_str();
            provider.is_some_and(|provider| provider.ends_with(GENERATED_SUFFIX))
        })
    };
    IGNORED_KEYS.contains(&key) || (key == KEY_PROVIDERS && are_generated())
}

/// A value without what is left out, and with lists in an order of their own.
fn normalize(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map
                .iter()
                .filter(|(key, value)| !is_ignored(key, value))
                .map(|(key, value)| (key.clone(), normalize(value)));
            Value::Object(kept.collect::<Map<_, _>>())
        }
        Value::Array(values) => {
            let mut values: Vec<Value> = values.iter().map(normalize).collect();
            values.sort_by_key(|value| {
                let name = object_name(value).unwrap_or_default().to_owned();
                (name, super::object::sort_keys(value.clone()).to_string())
            });
            Value::Array(values)
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn two_realms_that_are_alike_are_the_same() {
        let realm = |id: &str, first: &str, second: &str| {
            json!({
                "id": id, "realm": "scranton", "keycloakVersion": id,
                "clients": [{"id": id, "clientId": "web", "secret": id,
                             "redirectUris": [first, second]}],
                "components": {"keys": [{"id": id, "name": "rsa", "config": {"privateKey": [id]}}]},
                "requiredActions": [],
            })
        };
        let (one, other) = (
            to_document(&realm("1", "a", "b")),
            to_document(&realm("2", "b", "a")),
        );
        assert_eq!(one, other);
        let kinds: Vec<_> = one
            .objects
            .iter()
            .map(|it| (it.kind.as_str(), it.name.as_str()))
            .collect();
        assert_eq!(
            kinds,
            [
                ("clients", "web"),
                ("setting", "components"),
                ("setting", "realm"),
                ("setting", "requiredActions")
            ]
        );
    }

    #[test]
    fn keys_that_a_realm_makes_for_itself_are_no_part_of_it() {
        let realm = |providers: &[&str]| {
            let providers: Vec<_> = providers
                .iter()
                .map(|provider| json!({"name": "a", "providerId": provider, "config": {}}))
                .collect();
            to_document(
                &json!({"components": {"org.keycloak.keys.KeyProvider": providers, "other": []}}),
            )
        };
        let made = realm(&["rsa-generated", "aes-generated"]);
        assert_eq!(made, realm(&["hmac-generated"]));
        assert_eq!(made, realm(&[]));
        assert_ne!(made, realm(&["rsa-generated", "java-keystore"]));
    }
}
