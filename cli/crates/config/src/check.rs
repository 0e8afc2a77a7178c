//! What must hold between keys.

use std::collections::BTreeMap;
use std::path::Path as FsPath;

use super::model::Config;
use super::tree::{Path, dotted};
use super::values::{CaCertificates, Port, ProjectPath};

/// Schemas that have an owner other than a service.
const TAKEN_SCHEMAS: [(&str, &str); 4] = [
    ("keycloak", "belongs to Keycloak"),
    ("dm_ops", "belongs to dm itself"),
    ("public", "belongs to everybody"),
    ("information_schema", "belongs to PostgreSQL"),
];

/// Two keys whose values don't go together, or one whose value needs another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conflict {
    /// A stable name of its kind.
    pub code: &'static str,
    /// The keys, in the order of the types; whoever reports decides which of
    /// them is to blame.
    pub keys: Vec<Path>,
    /// What is wrong, as a lower-case fragment.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Conflict {
    fn new(
        code: &'static str,
        keys: &[&[&str]],
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let owned = |path: &&[&str]| path.iter().map(|key| (*key).to_owned()).collect();
        Self {
            code,
            keys: keys.iter().map(owned).collect(),
            message: message.into(),
            help: help.into(),
        }
    }

    /// True where `path` is one of the keys, or a table that one is in.
    pub(crate) fn involves(&self, path: &[String]) -> bool {
        self.keys.iter().any(|key| key.starts_with(path))
    }
}

/// Everything that doesn't go together in `config`.
pub(super) fn conflicts(config: &Config) -> Vec<Conflict> {
    let mut found = shared_ports(config);
    found.extend(schemas(config));
    found.extend(heap(config));
    found.extend(credentials(config));
    found.extend(apt_mirror(config));
    found
}

/// The files and directories that `config` names and that are not in the project
/// at `root`.
pub(super) fn missing_files(config: &Config, root: &FsPath) -> Vec<Conflict> {
    let definitions = &config.rabbitmq.definitions;
    let mut named: Vec<(&[&str], &ProjectPath, bool)> = vec![
        (&["rabbitmq", "definitions"], definitions, false),
        (&["openldap", "ldif"], &config.openldap.ldif, true),
        (
            &["keycloak", "realm_file"],
            &config.keycloak.realm_file,
            false,
        ),
    ];
    if let CaCertificates::Files(files) = &config.images.extra_ca_certificates {
        named.extend(
            files
                .iter()
                .map(|file| (&["images", "extra_ca_certificates"][..], file, false)),
        );
    }
    let mut found = Vec::new();
    for (key, path, directory) in named {
        let full = path.in_project(root);
        let there = if directory {
            full.is_dir()
        } else {
            full.is_file()
        };
        if !there {
            let kind = if directory { "directory" } else { "file" };
            found.push(Conflict::new(
                "config-file-missing",
                &[key],
                format!("{} names no {kind}: `{path}`", dotted(key)),
                format!("it was looked for at {}", full.display()),
            ));
        }
    }
    found
}

/// The ports on this host with their keys, in the order of the types.
fn ports(config: &Config) -> Vec<(Vec<&'static str>, Port)> {
    let mut ports = vec![
        (vec!["postgres", "port"], config.postgres.port),
        (vec!["rabbitmq", "port"], config.rabbitmq.port),
        (
            vec!["rabbitmq", "management_port"],
            config.rabbitmq.management_port,
        ),
        (vec!["openldap", "port"], config.openldap.port),
        (vec!["keycloak", "port"], config.keycloak.port),
    ];
    let services = config.services.all().into_iter();
    ports.extend(services.map(|(name, service)| (vec!["services", name, "port"], service.port)));
    ports
}

fn shared_ports(config: &Config) -> Vec<Conflict> {
    let mut owners: BTreeMap<Port, Vec<&'static str>> = BTreeMap::new();
    let mut found = Vec::new();
    for (key, port) in ports(config) {
        match owners.get(&port) {
            Some(owner) => found.push(Conflict::new(
                "config-port-twice",
                &[owner.as_slice(), key.as_slice()],
                format!(
                    "port {port} is given to both {} and {}",
                    dotted(owner),
                    dotted(&key)
                ),
                "give one of them another port",
            )),
            None => {
                owners.insert(port, key);
            }
        }
    }
    found
}

fn schemas(config: &Config) -> Vec<Conflict> {
    let mut owners: BTreeMap<&str, &'static str> = BTreeMap::new();
    let mut found = Vec::new();
    for (name, service) in config.services.all() {
        let schema_key = ["services", name, "schema"];
        let password_key = ["services", name, "database_password"];
        match (&service.schema, &service.database_password) {
            (Some(schema), None) => found.push(Conflict::new(
                "config-missing-key",
                &[&schema_key],
                format!("service {name} has schema `{schema}` and no database_password"),
                format!("set {}, or leave the schema out", dotted(&password_key)),
            )),
            (None, Some(_)) => found.push(Conflict::new(
                "config-missing-key",
                &[&password_key],
                format!("service {name} has a database_password and no schema"),
                format!("set {}, or leave the password out", dotted(&schema_key)),
            )),
            _ => {}
        }
        let Some(schema) = &service.schema else {
            continue;
        };
        let taken = TAKEN_SCHEMAS
            .iter()
            .find(|(taken, _)| *taken == schema.as_str());
        if let Some((taken, whose)) = taken {
            found.push(Conflict::new(
                "config-schema-taken",
                &[&schema_key],
                format!("schema `{taken}` {whose}"),
                "give the service a schema of its own",
            ));
        }
        match owners.get(schema.as_str()) {
            Some(owner) => found.push(Conflict::new(
                "config-schema-twice",
                &[&["services", owner, "schema"], &schema_key],
                format!("schema `{schema}` is given to both {owner} and {name}"),
                "a schema has one owner: give each service its own",
            )),
            None => {
                owners.insert(schema.as_str(), name);
            }
        }
    }
    found
}

/// A login that no registry would get.
fn credentials(config: &Config) -> Option<Conflict> {
    let images = &config.images;
    let credentials = images.credentials.as_ref()?;
    (credentials.registry.is_none() && images.mirror.is_none()).then(|| {
        Conflict::new(
            "config-missing-key",
            &[&["images", "credentials"]],
            "images.credentials says at no registry to log in",
            "set images.credentials.registry, e.g. to \"docker.io\", or images.mirror",
        )
    })
}

/// What builds are told stands in argument lists and in the images.
fn apt_mirror(config: &Config) -> Option<Conflict> {
    let mirror = url::Url::parse(config.images.apt_mirror.as_ref()?.as_str()).ok()?;
    (mirror.password().is_some() || !mirror.username().is_empty()).then(|| {
        Conflict::new(
            "config-password-in-url",
            &[&["images", "apt_mirror"]],
            "the password in images.apt_mirror would stand in argument lists and in the images",
            "leave it out; a mirror that asks for one can't be used for builds",
        )
    })
}

fn heap(config: &Config) -> Vec<Conflict> {
    let keycloak = &config.keycloak;
    match keycloak.memory {
        Some(memory) if memory.bytes() <= keycloak.heap.bytes() => vec![Conflict::new(
            "config-heap-too-large",
            &[&["keycloak", "heap"], &["keycloak", "memory"]],
            format!(
                "a Java heap of {} leaves nothing of the {memory} that Keycloak may use",
                keycloak.heap
            ),
            "raise keycloak.memory or lower keycloak.heap; Java needs about 300 MiB beside its heap",
        )],
        _ => Vec::new(),
    }
}
