//! The sections of the four infrastructure components. As in [`super::model`], users read the doc
//! comments.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::queue_policies::QueuePolicies;
use super::values::{
    AccountName, DomainName, ImageReference, MemoryLimit, MemorySize, PortNumber, PostgresSettings,
    ProjectPath, Secret, SingleLine, SqlIdentifier, WaitTimeout,
};

/// PostgreSQL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PostgresConfig {
    /// Image to pull. A built image contains PostgreSQL 17 from the distribution's packages.
    pub image: ImageReference,
    /// Port on 127.0.0.1.
    pub port: PortNumber,
    /// Name of the database that contains all schemas.
    pub database: SqlIdentifier,
    /// Role that owns the database and runs the migrations. No service uses it.
    pub user: SqlIdentifier,
    /// Password of `postgres.user`.
    pub password: Secret,
    /// Server settings by their name in `postgresql.conf`, e.g. `max_connections = 300`. They
    /// override the settings of `dm`: it sets `max_connections = 250`, of which the services use 90
    /// and Keycloak at most 100, and `shared_preload_libraries = pg_stat_statements`, from which
    /// backups take row counts.
    pub settings: PostgresSettings,
    /// Memory limit of the container. If unset, there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryLimit>,
    /// Time limit for this component to become ready. `timeouts.wait` still applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_timeout: Option<WaitTimeout>,
}

/// RabbitMQ, the message broker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RabbitMqConfig {
    /// Image to pull. It must contain the management plugin. A built image contains RabbitMQ 4
    /// from the distribution's packages.
    pub image: ImageReference,
    /// AMQP port on 127.0.0.1.
    pub port: PortNumber,
    /// Port of the management UI and its API on 127.0.0.1.
    pub management_port: PortNumber,
    /// User name of the administrator. Each service has its own user.
    pub user: AccountName,
    /// Password of the administrator.
    pub password: Secret,
    /// File with the exchanges, queues and bindings, in the format that RabbitMQ exports.
    pub definitions: ProjectPath,
    /// Limits of the queues, set as RabbitMQ policies. `dm up` applies a changed limit to a
    /// running broker at once.
    pub policies: QueuePolicies,
    /// Memory limit of the container. If unset, there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryLimit>,
    /// Time limit for this component to become ready. `timeouts.wait` still applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_timeout: Option<WaitTimeout>,
}

/// OpenLDAP, the directory of users and groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct OpenLdapConfig {
    /// Image to pull. If unset, the image is built, because there is no official image;
    /// `images.source = "pull"` therefore requires this key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageReference>,
    /// LDAP port on 127.0.0.1. Inside the stack, the port is 389.
    pub port: PortNumber,
    /// Name of the organisation at the root of the directory tree.
    pub organisation: SingleLine,
    /// Domain from which the base DN is derived: `dundermifflin.com` gives
    /// `dc=dundermifflin,dc=com`.
    pub domain: DomainName,
    /// Password of `cn=admin` below the base DN.
    pub admin_password: Secret,
    /// Password of `cn=admin,cn=config`, the administrator of the server's configuration.
    pub config_password: Secret,
    /// Directory with the LDIF files that fill a new directory tree. They are loaded in the order
    /// of their names.
    pub ldif: ProjectPath,
    /// Memory limit of the container. If unset, there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryLimit>,
    /// Time limit for this component to become ready. `timeouts.wait` still applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_timeout: Option<WaitTimeout>,
}

/// Keycloak, the identity provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct KeycloakConfig {
    /// Image to pull. A built image contains Keycloak 26 from its Maven distribution.
    pub image: ImageReference,
    /// Port on 127.0.0.1.
    pub port: PortNumber,
    /// Name of the realm that the applications log in to.
    pub realm: AccountName,
    /// Realm file with roles, groups, clients and the LDAP federation. It is imported into a new
    /// database.
    pub realm_file: ProjectPath,
    /// User name of the administrator of realm `master`.
    pub admin_user: AccountName,
    /// Password of the administrator.
    pub admin_password: Secret,
    /// Password of the PostgreSQL role `keycloak`, which owns Keycloak's schema.
    pub database_password: Secret,
    /// Secret of client `dunder-mifflin-gateway`.
    pub gateway_client_secret: Secret,
    /// Secret of client `dunder-observability`.
    pub observability_client_secret: Secret,
    /// Maximum size of the Java heap.
    pub heap: MemorySize<128>,
    /// Memory limit of the container. It must exceed `heap`: Java needs about 300 MiB in
    /// addition. If unset, there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryLimit>,
    /// Time limit for this component to become ready. `timeouts.wait` still applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_timeout: Option<WaitTimeout>,
}
