//! The topology of the broker in a normal form: objects by name, without passwords.

use serde_json::{Map, Value};

use super::object::SchemaDocument;

/// The name of the document.
pub(super) const DOCUMENT_NAME: &str = "broker";

/// The lists of the topology, with the kind of their objects and the keys that identify an object.
const OBJECT_LISTS: [(&str, &str, &[&str]); 7] = [
    ("users", "user", &["name"]),
    ("permissions", "permission", &["user"]),
    (
        "topic_permissions",
        "topic permission",
        &["user", "exchange"],
    ),
    ("exchanges", "exchange", &["name"]),
    ("queues", "queue", &["name"]),
    (
        "bindings",
        "binding",
        &["source", "destination", "routing_key"],
    ),
    ("policies", "policy", &["name"]),
];

/// Returns the document of definitions in the format that the broker exports and imports.
pub(super) fn to_document(definitions: &Value) -> SchemaDocument {
    let mut values = Vec::new();
    for (list, kind, keys) in OBJECT_LISTS {
        for value in definitions[list].as_array().into_iter().flatten() {
            let text = |key: &&str| value[*key].as_str().unwrap_or_default().to_owned();
            let name: Vec<String> = keys.iter().map(text).collect();
            values.push((kind.to_owned(), name.join(" → "), normalize(value)));
        }
    }
    SchemaDocument::from_values(DOCUMENT_NAME, values)
}

/// Removes values that differ between equal objects: password hashes, and defaults that the broker
/// exports and a fixture omits.
fn normalize(value: &Value) -> Value {
    let mut normalized = Map::new();
    for (key, value) in value.as_object().into_iter().flatten() {
        let is_default = match (key.as_str(), value) {
            ("password" | "password_hash" | "hashing_algorithm" | "vhost", _) => true,
            ("internal" | "auto_delete", Value::Bool(false)) => true,
            ("arguments" | "limits", Value::Object(map)) => map.is_empty(),
            _ => false,
        };
        if !is_default {
            normalized.insert(key.clone(), value.clone());
        }
    }
    Value::Object(normalized)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn to_document_ignores_defaults_and_password_hashes() {
        let fixture = json!({
            "users": [{"name": "a", "password": "x", "tags": [], "limits": {}}],
            "queues": [{"name": "q", "vhost": "/", "durable": true, "auto_delete": false,
                        "arguments": {"x-queue-type": "quorum"}}],
            "bindings": [{"source": "e", "destination": "q", "routing_key": "k", "vhost": "/",
                          "destination_type": "queue", "arguments": {}}],
        });
        let live = json!({
            "rabbit_version": "4.0.5",
            "users": [{"name": "a", "password_hash": "y", "hashing_algorithm": "z", "tags": []}],
            "queues": [{"durable": true, "name": "q", "vhost": "/", "auto_delete": false,
                        "arguments": {"x-queue-type": "quorum"}}],
            "bindings": [{"source": "e", "destination": "q", "routing_key": "k",
                          "destination_type": "queue"}],
        });
        assert_eq!(to_document(&fixture), to_document(&live));
        assert_eq!(to_document(&live).objects[0].name, "e → q → k");
    }
}
