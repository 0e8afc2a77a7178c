//! The configuration as a type. The doc comments of the fields are the text of
//! the JSON Schema and of `docs/configuration.md`: they speak to whoever writes
//! a `dm.toml`. Defaults stand in `defaults.toml`.

use std::num::NonZeroU16;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::components::{Keycloak, Openldap, Postgres, Rabbitmq};
use super::services::Services;
use super::values::{
    AccountName, CaCertificates, Cadence, EngineAddress, MirrorUrl, Period, ProjectName,
    ProjectPath, Recipients, RegistryPrefix, Secret, Wait,
};

/// The longest time between two backups.
const YEAR_MS: u64 = 366 * 24 * 60 * 60 * 1000;

/// The stack that `dm` runs: `dm.toml`, with everything that overrides it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// The project as a whole.
    pub project: Project,
    /// The container engine that everything runs on.
    pub engine: Engine,
    /// Where images come from.
    pub images: Images,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// What `dm` prepares so that later fresh starts are fast.
    pub golden: Golden,
    /// The database: one server, one database, one schema and one role for each
    /// service.
    pub postgres: Postgres,
    /// The message broker.
    pub rabbitmq: Rabbitmq,
    /// The directory of people and groups.
    pub openldap: Openldap,
    /// The identity provider.
    pub keycloak: Keycloak,
    /// The seven services of the paper company.
    pub services: Services,
    /// Backups of all that the stack holds.
    pub backup: Backup,
}

/// The project as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Project {
    /// Begins the names of all containers, networks and volumes. Two checkouts
    /// with different names can run side by side.
    pub name: ProjectName,
}

/// The container engine that everything runs on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Engine {
    /// The engine's address, e.g. `unix:///var/run/docker.sock`. Without it `dm`
    /// looks at `DOCKER_HOST`, the current Docker context, and the usual sockets
    /// of Docker and Podman.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<EngineAddress>,
    /// What to do where no engine answers.
    pub install: Install,
}

/// What to do where no engine answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Install {
    /// Ask on a terminal before installing and starting one from the
    /// distribution's packages; elsewhere fail with the command to run.
    Ask,
    /// Install and start one without asking, where `dm` runs as root.
    Yes,
    /// Fail with the command to run.
    Never,
}

/// Where images come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Images {
    /// Whether images are pulled or built.
    pub source: ImageSource,
    /// A registry to pull from in place of the one that an image's reference
    /// names: `host[:port][/path]`, without a scheme.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<RegistryPrefix>,
    /// How to log in at one registry. No other one gets the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// The longest that a registry may leave a pull without any progress. Under
    /// `source = "auto"` the image is then built.
    pub pull_timeout: Period<1_000, 3_600_000>,
    /// Where builds get Debian packages. Without it the distribution's own
    /// default holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apt_mirror: Option<MirrorUrl>,
    /// Where builds get Maven artifacts. Without it the host's Maven settings
    /// decide, and then Maven's own default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maven_mirror: Option<MirrorUrl>,
    /// Certificate authorities that builds trust beside the distribution's: an
    /// array of PEM files, or `"host"` for those that were added to this host's
    /// own trust store.
    pub extra_ca_certificates: CaCertificates,
    /// Whether the services are compiled with fail points: steps at which
    /// `DM_FAIL_POINTS` in a service's environment ends it, for tests of faults.
    pub fail_points: bool,
}

/// Whether images are pulled or built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ImageSource {
    /// What is already on this machine; else pulled; else built.
    Auto,
    /// Pulled, and never built.
    Pull,
    /// Built from distribution packages, and never pulled.
    Build,
}

/// How to log in at one registry. No other one gets the password.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Credentials {
    /// The registry, `host[:port]`, e.g. `docker.io`. Without it that of `images.mirror`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryPrefix>,
    /// The user's name. Required where there is a password.
    pub username: AccountName,
    /// The password or access token. Required where there is a user name; put
    /// it into `dm.local.toml` or `DM_IMAGES__CREDENTIALS__PASSWORD`.
    pub password: Secret,
}

/// How long things may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Timeouts {
    /// How long the components may take to become ready in one run, e.g. of `dm up`, counted from
    /// when all images are present. Raise it for slow machines.
    pub wait: Wait,
    /// How long a command waits for a lock in the database that another session holds,
    /// before it names that session and ends.
    pub lock: Period<1_000, 3_600_000>,
    /// How long a component may take to stop by itself before it is killed.
    pub stop: Period<1_000, 3_600_000>,
    /// One readiness probe: one query, one bind, one request.
    pub probe: Period<100, 60_000>,
    /// The pause between two readiness probes of one component.
    pub poll: Period<10, 10_000>,
}

/// Backups of all that the stack holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Backup {
    /// How long after a scheduled backup the next one is made by itself, e.g. `"1d"`, in a
    /// container of the stack. `"off"`: a backup is made when `dm backup create` is called.
    pub every: Cadence<1_000, YEAR_MS>,
    /// How many days of scheduled backups stay: the newest whole one of each day.
    pub keep: NonZeroU16,
    /// How many safety copies stay, which restores make of what they replace.
    pub keep_safety: NonZeroU16,
    /// How many days of manual backups stay: the newest whole one of each day. Without it
    /// all of them stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_manual: Option<NonZeroU16>,
    /// To whom backups are encrypted: recipients of age, `age1…`. Without any they
    /// are plain, in a directory that is their owner's alone.
    pub recipients: Recipients,
    /// The file with the key of one of the recipients, as `age-keygen` writes it, to
    /// read encrypted backups; put it into `dm.local.toml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<ProjectPath>,
    /// The directory of the backups, by project and instance. Without it they are
    /// with `dm`'s state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<ProjectPath>,
}

/// What `dm` prepares so that later fresh starts are fast.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Golden {
    /// When the golden start is prepared: the data of a first start, with all
    /// migrations and the realm in the database.
    pub prepare: Prepare,
}

/// When the golden start is prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Prepare {
    /// After the first `dm up`, which doesn't wait for it.
    Background,
    /// As the last part of the first `dm up`.
    Foreground,
    /// Never: every fresh start begins from nothing.
    Off,
}
