//! The definitions that the broker imports at its start: users, exchanges, queues.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::future::{try_join, try_join_all};
use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::ComponentError;

/// The project's definitions, loaded once. Errors are reported where the definitions are used:
/// most commands do not need them.
#[derive(Debug, Clone)]
pub(super) struct Definitions {
    path: PathBuf,
    contents: Result<Arc<Value>, DefinitionsError>,
    topology: Result<Arc<DeclaredTopology>, String>,
}

/// The reason why the definitions cannot be used.
#[derive(Debug, Clone)]
enum DefinitionsError {
    Unreadable(Arc<io::Error>),
    Invalid(String),
}

impl DefinitionsError {
    fn message(&self) -> String {
        match self {
            Self::Unreadable(error) => error.to_string(),
            Self::Invalid(reason) => reason.clone(),
        }
    }
}

impl Definitions {
    /// Loads the definitions.
    pub(super) fn load(path: PathBuf) -> Self {
        let contents = std::fs::read(&path)
            .map_err(|error| DefinitionsError::Unreadable(Arc::new(error)))
            .and_then(|text| {
                serde_json::from_slice(&text)
                    .map_err(|error| DefinitionsError::Invalid(error.to_string()))
            });
        let topology = contents
            .as_ref()
            .map_err(DefinitionsError::message)
            .and_then(DeclaredTopology::from_definitions)
            .map(Arc::new)
            .map_err(|reason| format!("{}: {reason}", path.display()));
        Self {
            path,
            contents: contents.map(Arc::new),
            topology,
        }
    }

    /// Returns the objects that must exist for the broker to be ready.
    pub(super) fn topology(&self) -> Result<Arc<DeclaredTopology>, String> {
        self.topology.clone()
    }

    /// Returns the definitions with a password hash for every user.
    pub(super) fn with_passwords(
        &self,
        passwords: &BTreeMap<String, String>,
    ) -> Result<Value, ComponentError> {
        let invalid = |reason: String| ComponentError::InvalidFile {
            path: self.path.clone(),
            reason,
        };
        let mut definitions = match &self.contents {
            Ok(contents) => Value::clone(contents),
            Err(DefinitionsError::Invalid(reason)) => return Err(invalid(reason.clone())),
            Err(DefinitionsError::Unreadable(source)) => {
                return Err(ComponentError::UnreadableFile {
                    path: self.path.clone(),
                    key: "rabbitmq.definitions",
                    source: source.clone(),
                });
            }
        };
        let users = definitions
            .get_mut("users")
            .and_then(Value::as_array_mut)
            .ok_or_else(|| invalid("the file has no list `users`".into()))?;
        for user in users {
            let name = user
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            let Some(password) = passwords.get(&name) else {
                return Err(invalid(format!("user `{name}` has no password in dm.toml")));
            };
            user["password_hash"] = json!(password_hash(&name, password));
            user["hashing_algorithm"] = json!("rabbit_password_hashing_sha256");
        }
        Ok(definitions)
    }
}

/// The objects that must exist for the broker to be ready.
#[derive(Debug, Default, Deserialize)]
pub(super) struct DeclaredTopology {
    #[serde(default)]
    exchanges: Vec<NamedObject>,
    #[serde(default)]
    queues: Vec<NamedObject>,
}

#[derive(Debug, Deserialize)]
struct NamedObject {
    name: String,
}

impl DeclaredTopology {
    fn from_definitions(definitions: &Value) -> Result<Self, String> {
        Self::deserialize(definitions).map_err(|error: serde_json::Error| error.to_string())
    }

    /// Checks that all objects exist, by passive declarations, which create nothing.
    pub(super) async fn check_exists(&self, uri: &str) -> Result<(), lapin::Error> {
        let connection = dm_amqp::connect(uri, "dm readiness").await?;
        let channel = connection.create_channel().await?;
        // All declarations are sent before the first response: they are independent, and the
        // broker answers them in order.
        let exchanges = self.exchanges.iter().map(|exchange| {
            let options = ExchangeDeclareOptions {
                passive: true,
                ..Default::default()
            };
            // A passive declaration only checks the name.
            let kind = ExchangeKind::Topic;
            channel.exchange_declare(
                exchange.name.as_str().into(),
                kind,
                options,
                FieldTable::default(),
            )
        });
        let queues = self.queues.iter().map(|queue| {
            let options = QueueDeclareOptions {
                passive: true,
                ..Default::default()
            };
            channel.queue_declare(queue.name.as_str().into(), options, FieldTable::default())
        });
        try_join(try_join_all(exchanges), try_join_all(queues)).await?;
        connection.close(200, "ready".into()).await
    }
}

/// Computes the hash of RabbitMQ's `rabbit_password_hashing_sha256`: base64 of a
/// four-byte salt and the SHA-256 of salt and password.
///
/// The salt is derived from the user's name and not random, so that the same
/// configuration always gives the same container.
fn password_hash(user: &str, password: &str) -> String {
    let salt = &Sha256::digest(user)[..4];
    let mut hash = salt.to_vec();
    hash.extend_from_slice(
        &Sha256::new()
            .chain_update(salt)
            .chain_update(password)
            .finalize(),
    );
    BASE64.encode(hash)
}

#[cfg(test)]
mod server_tests;

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the definitions of this text with hashes of these passwords.
    fn with_passwords(text: &str, passwords: &[(&str, &str)]) -> Result<Value, String> {
        let passwords = passwords
            .iter()
            .map(|(user, password)| ((*user).to_owned(), (*password).to_owned()));
        load(text)
            .with_passwords(&passwords.collect())
            .map_err(|error| error.to_string())
    }

    fn load(text: &str) -> Definitions {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("d.json");
        std::fs::write(&path, text).unwrap();
        Definitions {
            path: "d.json".into(),
            ..Definitions::load(path)
        }
    }

    #[test]
    fn password_hash_is_salt_and_digest() {
        let hash = BASE64.decode(password_hash("dunder", "mifflin")).unwrap();
        assert_eq!(hash.len(), 36);
        let digest = Sha256::new()
            .chain_update(&hash[..4])
            .chain_update("mifflin")
            .finalize();
        assert_eq!(hash[4..], digest[..]);
        assert_ne!(password_hash("dunder", "x"), password_hash("dunder", "y"));
    }

    #[test]
    fn error_names_the_user_without_a_password() {
        assert_eq!(
            with_passwords(r#"{"users":[{"name":"creed"}]}"#, &[]).unwrap_err(),
            "could not use d.json: user `creed` has no password in dm.toml"
        );
    }

    #[test]
    fn with_passwords_adds_a_hash_and_keeps_other_fields() {
        let text = r#"{"users":[{"name":"dunder","tags":["administrator"]}],"queues":[]}"#;
        let definitions = with_passwords(text, &[("dunder", "mifflin")]).unwrap();
        assert_eq!(definitions["users"][0]["tags"][0], "administrator");
        assert_eq!(
            definitions["users"][0]["password_hash"],
            password_hash("dunder", "mifflin")
        );
        assert!(definitions["queues"].is_array());
    }

    #[test]
    fn topology_is_loaded_once() {
        let definitions = load(r#"{"exchanges":[{"name":"a"}],"queues":[{"name":"b.q"}]}"#);
        let topology = definitions.topology().unwrap();
        assert_eq!(topology.exchanges[0].name, "a");
        assert_eq!(topology.queues[0].name, "b.q");
    }

    #[test]
    fn invalid_definitions_are_reported_by_specification_and_probe() {
        let error = with_passwords("{", &[]).unwrap_err();
        assert!(error.starts_with("could not use d.json: EOF"), "{error}");
        let error = load("{").topology().unwrap_err();
        assert!(error.contains("d.json: EOF"), "{error}");
        let missing = Definitions::load("nowhere/d.json".into());
        let error = missing.with_passwords(&BTreeMap::new()).unwrap_err();
        assert!(
            matches!(error, ComponentError::UnreadableFile { .. }),
            "{error}"
        );
    }
}
