//! The four infrastructure components. As in [`super::model`], the doc comments
//! are what a user reads.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policies::Policies;
use super::values::{
    AccountName, DomainName, Identifier, ImageReference, Line, Memory, Port, ProjectPath, Secret,
    Settings, Size, Wait,
};

/// The database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Postgres {
    /// The image to pull. Where images are built, PostgreSQL 17 comes from the
    /// distribution's packages.
    pub image: ImageReference,
    /// The port on 127.0.0.1.
    pub port: Port,
    /// The database that holds all schemas.
    pub database: Identifier,
    /// The role that owns the database and runs migrations. No service has it.
    pub user: Identifier,
    /// That role's password.
    pub password: Secret,
    /// Settings of the server by their name in `postgresql.conf`, e.g.
    /// `max_connections = 200`. `dm` sets `shared_preload_libraries = pg_stat_statements`
    /// before them, by which backups know how many rows they have.
    pub settings: Settings,
    /// The most memory that the container may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// How long it may take to become ready, within `timeouts.wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_timeout: Option<Wait>,
}

/// The message broker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Rabbitmq {
    /// The image to pull; it must have the management plugin. Where images are
    /// built, RabbitMQ 4 comes from the distribution's packages.
    pub image: ImageReference,
    /// The AMQP port on 127.0.0.1.
    pub port: Port,
    /// The port of the management page and its API on 127.0.0.1.
    pub management_port: Port,
    /// The administrator. Services have users of their own.
    pub user: AccountName,
    /// The administrator's password.
    pub password: Secret,
    /// The exchanges, queues and bindings, as RabbitMQ exports them.
    pub definitions: ProjectPath,
    /// The limits of the queues.
    pub policies: Policies,
    /// The most memory that the container may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// How long it may take to become ready, within `timeouts.wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_timeout: Option<Wait>,
}

/// The directory of people and groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Openldap {
    /// The image to pull. Without it the image is always built, as OpenLDAP
    /// publishes none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageReference>,
    /// The LDAP port on 127.0.0.1. Inside the stack it is 389.
    pub port: Port,
    /// The name of the organisation at the root of the tree.
    pub organisation: Line,
    /// The domain that the tree's base is made of: `dundermifflin.com` gives
    /// `dc=dundermifflin,dc=com`.
    pub domain: DomainName,
    /// The password of `cn=admin` below the base.
    pub admin_password: Secret,
    /// The password of `cn=admin,cn=config`, for the server's own configuration.
    pub config_password: Secret,
    /// The directory of the LDIF files that fill a new tree, taken in the order
    /// of their names.
    pub ldif: ProjectPath,
    /// The most memory that the container may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// How long it may take to become ready, within `timeouts.wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_timeout: Option<Wait>,
}

/// The identity provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Keycloak {
    /// The image to pull. Where images are built, Keycloak 26 comes from its
    /// Maven distribution.
    pub image: ImageReference,
    /// The port on 127.0.0.1.
    pub port: Port,
    /// The realm that the applications log in to.
    pub realm: AccountName,
    /// The realm's file: roles, groups, clients and the LDAP federation. It is
    /// imported into a new database.
    pub realm_file: ProjectPath,
    /// The administrator of realm `master`.
    pub admin_user: AccountName,
    /// The administrator's password.
    pub admin_password: Secret,
    /// The password of the PostgreSQL role `keycloak`, which owns Keycloak's
    /// schema.
    pub database_password: Secret,
    /// The secret of client `dunder-mifflin-gateway`.
    pub gateway_client_secret: Secret,
    /// The secret of client `dunder-observability`.
    pub observability_client_secret: Secret,
    /// The most memory of the Java heap.
    pub heap: Size<128>,
    /// The most memory that the container may use. It must leave room beside the
    /// heap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// How long it may take to become ready, within `timeouts.wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_timeout: Option<Wait>,
}
