//! Validation across keys.

use std::collections::BTreeMap;
use std::path::Path as FsPath;

use dm_core::error_code::ErrorCode;

use super::config_tree::{KeyPath, format_key_path};
use super::model::Config;
use super::values::{CaCertificates, PortNumber, ProjectPath};

/// Schemas that have an owner other than a service.
const RESERVED_SCHEMAS: [(&str, &str); 4] = [
    ("keycloak", "belongs to Keycloak"),
    ("dm_ops", "belongs to dm"),
    ("public", "is shared by all roles"),
    ("information_schema", "belongs to PostgreSQL"),
];

/// A violation of a rule across keys: the values of two keys are incompatible, or the value of one
/// key requires another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    /// The error code.
    pub code: ErrorCode,
    /// The keys, in the order of the types. The diagnoser decides to which of them the
    /// diagnostic points.
    pub keys: Vec<KeyPath>,
    /// The error, as a lower-case fragment.
    pub message: String,
    /// The fix.
    pub help: String,
}

impl Violation {
    fn new(
        code: ErrorCode,
        keys: &[&[&str]],
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let to_path = |path: &&[&str]| path.iter().map(|key| (*key).to_owned()).collect();
        Self {
            code,
            keys: keys.iter().map(to_path).collect(),
            message: message.into(),
            help: help.into(),
        }
    }

    /// Returns whether `path` is one of the keys, or a table that contains one.
    pub(crate) fn concerns(&self, path: &[String]) -> bool {
        self.keys.iter().any(|key| key.starts_with(path))
    }
}

/// Returns all violations in `config`.
pub(super) fn find_violations(config: &Config) -> Vec<Violation> {
    let mut violations = check_ports(config);
    violations.extend(check_schemas(config));
    violations.extend(check_heap(config));
    violations.extend(check_credentials(config));
    violations.extend(check_apt_mirror(config));
    violations
}

/// Returns a violation for each file or directory in `config` that does not exist in the project
/// at `root`.
pub(super) fn find_missing_files(config: &Config, root: &FsPath) -> Vec<Violation> {
    let definitions = &config.rabbitmq.definitions;
    let mut paths: Vec<(&[&str], &ProjectPath, bool)> = vec![
        (&["rabbitmq", "definitions"], definitions, false),
        (&["openldap", "ldif"], &config.openldap.ldif, true),
        (
            &["keycloak", "realm_file"],
            &config.keycloak.realm_file,
            false,
        ),
    ];
    if let CaCertificates::Files(files) = &config.images.extra_ca_certificates {
        paths.extend(
            files
                .iter()
                .map(|file| (&["images", "extra_ca_certificates"][..], file, false)),
        );
    }
    let mut violations = Vec::new();
    for (key, path, is_directory) in paths {
        let full_path = path.in_project(root);
        let exists = if is_directory {
            full_path.is_dir()
        } else {
            full_path.is_file()
        };
        if !exists {
            let kind = if is_directory { "directory" } else { "file" };
            violations.push(Violation::new(
                ErrorCode::ConfigFileMissing,
                &[key],
                format!(
                    "{} names a {kind} that does not exist: `{path}`",
                    format_key_path(key)
                ),
                format!("the full path is {}", full_path.display()),
            ));
        }
    }
    violations
}

/// Returns the ports on this host with their keys, in the order of the types.
fn configured_ports(config: &Config) -> Vec<(Vec<&'static str>, PortNumber)> {
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

fn check_ports(config: &Config) -> Vec<Violation> {
    let mut owners: BTreeMap<PortNumber, Vec<&'static str>> = BTreeMap::new();
    let mut violations = Vec::new();
    for (key, port) in configured_ports(config) {
        match owners.get(&port) {
            Some(owner) => violations.push(Violation::new(
                ErrorCode::ConfigPortTwice,
                &[owner.as_slice(), key.as_slice()],
                format!(
                    "port {port} is assigned to both {} and {}",
                    format_key_path(owner),
                    format_key_path(&key)
                ),
                "assign another port to one of them",
            )),
            None => {
                owners.insert(port, key);
            }
        }
    }
    violations
}

fn check_schemas(config: &Config) -> Vec<Violation> {
    let mut owners: BTreeMap<&str, &'static str> = BTreeMap::new();
    let mut violations = Vec::new();
    for (name, service) in config.services.all() {
        let schema_key = ["services", name, "schema"];
        let password_key = ["services", name, "database_password"];
        match (&service.schema, &service.database_password) {
            (Some(schema), None) => violations.push(Violation::new(
                ErrorCode::ConfigMissingKey,
                &[&schema_key],
                format!("service {name} has schema `{schema}`, but no database_password"),
                format!(
                    "set {}, or remove the schema",
                    format_key_path(&password_key)
                ),
            )),
            (None, Some(_)) => violations.push(Violation::new(
                ErrorCode::ConfigMissingKey,
                &[&password_key],
                format!("service {name} has a database_password, but no schema"),
                format!(
                    "set {}, or remove the password",
                    format_key_path(&schema_key)
                ),
            )),
            _ => {}
        }
        let Some(schema) = &service.schema else {
            continue;
        };
        let reserved = RESERVED_SCHEMAS
            .iter()
            .find(|(name, _)| *name == schema.as_str());
        if let Some((reserved_name, owner)) = reserved {
            violations.push(Violation::new(
                ErrorCode::ConfigSchemaTaken,
                &[&schema_key],
                format!("schema `{reserved_name}` {owner}"),
                "assign another schema to the service",
            ));
        }
        match owners.get(schema.as_str()) {
            Some(owner) => violations.push(Violation::new(
                ErrorCode::ConfigSchemaTwice,
                &[&["services", owner, "schema"], &schema_key],
                format!("schema `{schema}` is assigned to both {owner} and {name}"),
                "assign a schema of its own to each service",
            )),
            None => {
                owners.insert(schema.as_str(), name);
            }
        }
    }
    violations
}

/// Checks that the credentials are for a registry.
fn check_credentials(config: &Config) -> Option<Violation> {
    let images = &config.images;
    let credentials = images.credentials.as_ref()?;
    (credentials.registry.is_none() && images.mirror.is_none()).then(|| {
        Violation::new(
            ErrorCode::ConfigMissingKey,
            &[&["images", "credentials"]],
            "images.credentials has no registry",
            "set images.credentials.registry, e.g. to \"docker.io\", or images.mirror",
        )
    })
}

/// Checks that the mirror has no credentials, because build arguments are visible in argument
/// lists and in the images.
fn check_apt_mirror(config: &Config) -> Option<Violation> {
    let mirror = url::Url::parse(config.images.apt_mirror.as_ref()?.as_str()).ok()?;
    (mirror.password().is_some() || !mirror.username().is_empty()).then(|| {
        Violation::new(
            ErrorCode::ConfigPasswordInUrl,
            &[&["images", "apt_mirror"]],
            "the credentials in images.apt_mirror would be visible in argument lists and in the images",
            "remove the credentials; builds cannot use a mirror that requires them",
        )
    })
}

fn check_heap(config: &Config) -> Vec<Violation> {
    let keycloak = &config.keycloak;
    match keycloak.memory {
        Some(memory) if memory.bytes() <= keycloak.heap.bytes() => vec![Violation::new(
            ErrorCode::ConfigHeapTooLarge,
            &[&["keycloak", "heap"], &["keycloak", "memory"]],
            format!(
                "a Java heap of {} does not fit into the container memory of {memory}",
                keycloak.heap
            ),
            "raise keycloak.memory or lower keycloak.heap; Java needs about 300 MiB in addition to its heap",
        )],
        _ => Vec::new(),
    }
}
