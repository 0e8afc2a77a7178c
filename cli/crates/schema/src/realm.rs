//! The realm in a normal form: the export of Keycloak without ids, keys and secrets.

use serde_json::{Map, Value};

use super::object::SchemaDocument;

/// The name of the document.
pub(super) const DOCUMENT_NAME: &str = "realm";

/// Keys that differ in every realm or are secret.
const IGNORED_KEYS: [&str; 16] = [
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
    "lastSync_FULL",
    "lastSync_CHANGED",
    "users",
];

/// The key of the providers of cryptographic keys.
const KEY_PROVIDERS: &str = "org.keycloak.keys.KeyProvider";
/// The suffix of key providers that Keycloak or `dm` creates. Which of them exist depends on earlier
/// requests.
const GENERATED_SUFFIX: &str = "-generated";

/// The keys that identify an object of a list, in order of preference.
const NAME_KEYS: [&str; 6] = [
    "clientId",
    "name",
    "alias",
    "username",
    "providerId",
    "authenticator",
];

/// Returns the document of an exported realm.
pub(super) fn to_document(export: &Value) -> SchemaDocument {
    let mut values = Vec::new();
    for (key, value) in export.as_object().into_iter().flatten() {
        if IGNORED_KEYS.contains(&key.as_str()) {
            continue;
        }
        match value {
            Value::Array(list)
                if list.iter().all(|value| object_name(value).is_some()) && !list.is_empty() =>
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
        providers.all(|provider| {
            let id = provider["providerId"].as_str();
            id.is_some_and(|id| id.ends_with(GENERATED_SUFFIX))
        })
    };
    IGNORED_KEYS.contains(&key) || (key == KEY_PROVIDERS && are_generated())
}

/// Removes ignored keys from a value and sorts its lists.
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
    fn to_document_ignores_ids_secrets_and_list_order() {
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
            .map(|object| (object.kind.as_str(), object.name.as_str()))
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
    fn to_document_ignores_generated_key_providers() {
        let realm = |providers: &[&str]| {
            let providers: Vec<_> = providers
                .iter()
                .map(|provider| json!({"name": "a", "providerId": provider, "config": {}}))
                .collect();
            to_document(
                &json!({"components": {"org.keycloak.keys.KeyProvider": providers, "other": []}}),
            )
        };
        let generated = realm(&["rsa-generated", "aes-generated"]);
        assert_eq!(generated, realm(&["hmac-generated"]));
        assert_eq!(generated, realm(&[]));
        assert_ne!(generated, realm(&["rsa-generated", "java-keystore"]));
    }
}
