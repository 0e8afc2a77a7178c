//! The configuration as a type. The doc comments of sections, keys and values are the descriptions
//! in the JSON Schema and in `docs/configuration.md`. Their reader writes a `dm.toml`. The default
//! values are in `defaults.toml`.

use std::num::NonZeroU16;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::components::{KeycloakConfig, OpenLdapConfig, PostgresConfig, RabbitMqConfig};
use super::services::ServicesConfig;
use super::values::{
    AccountName, AgeRecipients, BoundedDuration, CaCertificates, EngineAddress, FrontEndHost,
    MirrorUrl, ProjectName, ProjectPath, RegistryPrefix, RepeatInterval, Secret, WaitTimeout,
};

/// The upper limit of `backup.every`, in milliseconds.
const YEAR_MS: u64 = 366 * 24 * 60 * 60 * 1000;

/// The configuration of a stack: `dm.toml` and the layers that override it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// The project's identity.
    pub project: ProjectConfig,
    /// The container engine that runs the stack.
    pub engine: EngineConfig,
    /// Source of the container images.
    pub images: ImagesConfig,
    /// Time limits and intervals.
    pub timeouts: TimeoutsConfig,
    /// Golden images, which shorten later fresh starts.
    pub golden: GoldenConfig,
    /// PostgreSQL: one server and one database, with one schema and one role for each service.
    pub postgres: PostgresConfig,
    /// RabbitMQ, the message broker.
    pub rabbitmq: RabbitMqConfig,
    /// OpenLDAP, the directory of users and groups.
    pub openldap: OpenLdapConfig,
    /// Keycloak, the identity provider.
    pub keycloak: KeycloakConfig,
    /// The seven services.
    pub services: ServicesConfig,
    /// The web apps: built into the gateway, or external front ends.
    pub apps: AppsConfig,
    /// Backups of the stack's data.
    pub backup: BackupConfig,
}

/// The project's identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ProjectConfig {
    /// Prefix of the names of all containers, networks and volumes. A digest of the project's
    /// directory follows it, so that two clones never share a name.
    pub name: ProjectName,
}

/// The container engine that runs the stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct EngineConfig {
    /// Address of the engine, e.g. `unix:///var/run/docker.sock`. If unset, `dm` tries
    /// `DOCKER_HOST`, the current Docker context, and the usual sockets of Docker and Podman.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<EngineAddress>,
    /// What to do if no engine responds.
    pub install: InstallPolicy,
}

/// What to do if no engine responds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InstallPolicy {
    /// Ask on a terminal before installing and starting an engine from the distribution's
    /// packages. Without a terminal, fail and print the command to run.
    Ask,
    /// If `dm` runs as root, install and start an engine without asking; otherwise behave like
    /// `"ask"`.
    Yes,
    /// Fail and print the command to run.
    Never,
}

/// Source of the container images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ImagesConfig {
    /// Whether to pull or to build images.
    pub source: ImageSource,
    /// Registry to pull from instead of the registry in an image's reference:
    /// `host[:port][/path]`, without a scheme.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<RegistryPrefix>,
    /// Login for one registry. The password is sent to no other registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<RegistryCredentials>,
    /// Time limit for a registry's first response to a pull. After that, `source = "auto"` builds
    /// the image, and `source = "pull"` fails.
    pub pull_timeout: BoundedDuration<1_000, 3_600_000>,
    /// URL from which builds download Debian packages. Defaults to the distribution's own server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apt_mirror: Option<MirrorUrl>,
    /// URL from which builds download Maven artifacts. Defaults to the host's Maven settings, and
    /// then to Maven's own default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maven_mirror: Option<MirrorUrl>,
    /// Certificate authorities that builds trust in addition to those of the distribution: an
    /// array of PEM files, or `"host"` for the authorities that were added to this host's trust
    /// store.
    pub extra_ca_certificates: CaCertificates,
    /// Whether to compile the services with fail points, for fault tests: named steps at which
    /// `DM_FAIL_POINTS` in a service's environment makes the service exit, pause or panic.
    pub fail_points: bool,
}

/// Whether to pull or to build images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ImageSource {
    /// Use a local image; otherwise pull it; otherwise build it.
    Auto,
    /// Pull images; never build them.
    Pull,
    /// Build images from distribution packages; never pull them.
    Build,
}

/// Login for one registry. The password is sent to no other registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RegistryCredentials {
    /// Registry to log in to, `host[:port]`, e.g. `docker.io`. Defaults to the registry of
    /// `images.mirror`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryPrefix>,
    /// User name. Required if `password` is set.
    pub username: AccountName,
    /// Password or access token. Required if `username` is set. Put it into `dm.local.toml` or
    /// `DM_IMAGES__CREDENTIALS__PASSWORD`.
    pub password: Secret,
}

/// Time limits and intervals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TimeoutsConfig {
    /// Time limit for all components to become ready in one run, e.g. of `dm up`, counted from
    /// the moment when all images are present. Raise it on slow machines.
    pub wait: WaitTimeout,
    /// How long a command waits for a database lock that another session holds. After that, the
    /// command names the session and fails.
    pub lock: BoundedDuration<1_000, 3_600_000>,
    /// Time limit for a component to stop when `dm chaos` restarts it. After that, the component
    /// is killed.
    pub stop: BoundedDuration<1_000, 3_600_000>,
    /// Time limit of one readiness probe: one query, one bind or one request.
    pub probe_timeout: BoundedDuration<100, 60_000>,
    /// Pause between two readiness probes of a component.
    pub probe_interval: BoundedDuration<10, 10_000>,
}

/// The web apps: built into the gateway, or external front ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AppsConfig {
    /// Scheme and host of external front ends, e.g. `http://localhost`. Portal, Infinity and
    /// Accounting are then expected on its ports 3000, 3001 and 3002. If unset, the gateway serves
    /// its built-in apps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub front_ends: Option<FrontEndHost>,
}

/// Backups of the stack's data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct BackupConfig {
    /// Interval from one scheduled backup to the next, e.g. `"1d"`. A container of the stack
    /// makes them. `"off"` disables scheduled backups.
    pub every: RepeatInterval<1_000, YEAR_MS>,
    /// Number of days of which the newest intact scheduled backup is kept. Days without a backup
    /// do not count.
    pub keep: NonZeroU16,
    /// Number of safety backups to keep. A restore makes one of the data that it replaces.
    pub keep_safety: NonZeroU16,
    /// Number of days of which the newest intact manual backup is kept. If unset, all manual
    /// backups are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_manual: Option<NonZeroU16>,
    /// Recipients of age, `age1…`, for which backups are encrypted. If empty, backups are not
    /// encrypted; only their owner can read the directory.
    pub recipients: AgeRecipients,
    /// File with the key of one of the recipients, as written by `age-keygen`. It is needed to
    /// read encrypted backups. Set it in `dm.local.toml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<ProjectPath>,
    /// Directory of the backups, with subdirectories by project and instance. Defaults to
    /// `backups` in the state directory of `dm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<ProjectPath>,
}

/// Golden images, which shorten later fresh starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct GoldenConfig {
    /// When `dm` makes golden images. They contain the data of a first start, with all migrations
    /// and the realm.
    pub prepare: GoldenPreparation,
}

/// When `dm` makes golden images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GoldenPreparation {
    /// After a `dm up` that changed the stack, in a background process. Never in CI.
    Background,
    /// At the end of such a `dm up`, which waits for it.
    Foreground,
    /// Never automatically; only `dm golden make` makes them.
    Off,
}
