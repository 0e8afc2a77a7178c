//! Keycloak: authentication of users, with the realm and its LDAP federation.

pub mod admin_client;
mod directory_import;
pub(crate) mod realm_keys;
mod secret_files;
pub mod sign_in;
mod start_failure;
pub(crate) mod stored_secrets;

use std::time::Duration;

use dm_config::Config;
use dm_engine::spec::{ContainerFile, ContainerSpec};
use serde::Deserialize;
use sqlx::postgres::PgConnectOptions;

use self::admin_client::AdminClient;
use super::client_location::ClientLocation;
use super::openldap::{self, OpenLdap};
use super::prebuilt_schema::PrebuiltSchema;
use super::{
    Component, ComponentError, HostPorts, InstanceLayout, Misconfiguration, PortSpec, ProbeFuture,
    ReconfigureFuture, ResetStrategy, base_container_spec, http_client, http_origin, read_fixture,
    root_cause,
};
use crate::{node_names, postgres};

/// The component's name.
pub const NAME: &str = "keycloak";

/// The port in its container.
const PORT: u16 = 8080;

/// The role and the schema of Keycloak in the database.
pub const DATABASE_ROLE: &str = "keycloak";

/// The path of the migrated schema in the image that is built here.
const PREBUILT_SCHEMA_SCRIPT: &str = "/opt/keycloak/schema/keycloak.sql";

/// The user id of the server in its container, in the official image and ours.
const UID: u32 = 1000;

/// The path of the realm's file, which is imported into a new database.
const REALM_PATH: &str = "/opt/keycloak/data/import/realm.json";
/// The path of the secret options.
const CONF_PATH: &str = "/opt/keycloak/conf/keycloak.conf";
/// The path of the database's password, in the format of PostgreSQL's clients: in an
/// option, Keycloak would replace expressions twice.
const PGPASS_PATH: &str = "/opt/keycloak/conf/pgpass";

/// Keycloak.
#[derive(Debug, Clone)]
pub struct Keycloak {
    config: dm_config::KeycloakConfig,
    postgres: dm_config::PostgresConfig,
    ldap_bind_dn: String,
    ldap_bind_password: String,
    directory: OpenLdap,
}

impl Keycloak {
    /// Creates the component from the configuration.
    #[must_use]
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            config: config.keycloak.clone(),
            postgres: config.postgres.clone(),
            ldap_bind_dn: openldap::admin_dn(config.openldap.domain.as_str()),
            ldap_bind_password: config.openldap.admin_password.reveal().to_owned(),
            directory: OpenLdap::new(config),
        }
    }

    /// Returns the connection options of the owner of Keycloak's schema.
    fn owner_connect_options(&self, ports: &HostPorts) -> PgConnectOptions {
        postgres::superuser_connect_options(&self.postgres, ports)
            .username(DATABASE_ROLE)
            .password(&self.config.database_password.to_postgres_password())
    }
}

/// Returns the client of the realm's admin API at `base_url`.
fn realm_admin<'a>(config: &'a dm_config::KeycloakConfig, base_url: &'a str) -> AdminClient<'a> {
    AdminClient {
        base_url,
        realm: config.realm.as_str(),
        user: config.admin_user.as_str(),
        password: config.admin_password.reveal(),
    }
}

/// Returns the address of Keycloak on the host.
///
/// `localhost` and not `127.0.0.1`: the issuer follows the request's host, and
/// the redirect addresses of the realm's clients contain `localhost`.
#[must_use]
pub fn base_url(ports: &HostPorts) -> String {
    base_url_from(ClientLocation::Host(ports))
}

/// Returns the address of Keycloak for a client location.
#[must_use]
pub fn base_url_from(location: ClientLocation<'_>) -> String {
    let address = location.server_address(NAME, "localhost", NAME, PORT);
    http_origin(&address.host, address.port)
}

/// The part of an OpenID Connect discovery document that proves the realm.
#[derive(Debug, Deserialize)]
struct DiscoveryDocument {
    issuer: String,
}

impl Component for Keycloak {
    fn name(&self) -> &'static str {
        NAME
    }

    fn start_dependencies(&self) -> &'static [&'static str] {
        // Not after OpenLDAP: Keycloak reads the directory only once both are ready.
        &[node_names::DATABASE]
    }

    fn runtime_dependencies(&self) -> &'static [&'static str] {
        // Users are looked up there when they sign in.
        &[openldap::NAME]
    }

    fn ports(&self) -> Vec<PortSpec> {
        vec![PortSpec {
            name: NAME,
            container_port: PORT,
            host_port: self.config.port.get(),
        }]
    }

    fn container_spec(&self, layout: &InstanceLayout<'_>) -> Result<ContainerSpec, ComponentError> {
        let realm = read_fixture(
            layout.root,
            self.config.realm_file.as_path(),
            "keycloak.realm_file",
        )?;
        let realm = secret_files::realm_json(
            &realm,
            &[
                (
                    "DM_GATEWAY_CLIENT_SECRET",
                    self.config.gateway_client_secret.reveal(),
                ),
                (
                    "DM_OBSERVABILITY_CLIENT_SECRET",
                    self.config.observability_client_secret.reveal(),
                ),
                ("DM_LDAP_BIND_DN", &self.ldap_bind_dn),
                ("DM_LDAP_BIND_PASSWORD", &self.ldap_bind_password),
            ],
            &self.config.realm_file.in_project(layout.root),
        )?;
        let conf = secret_files::keycloak_conf(&[
            ("bootstrap-admin-username", self.config.admin_user.as_str()),
            (
                "bootstrap-admin-password",
                self.config.admin_password.reveal(),
            ),
        ]);
        let pgpass = secret_files::pgpass(
            DATABASE_ROLE,
            &self.config.database_password.to_postgres_password(),
        );
        let mut spec = base_container_spec(self, layout);
        spec.env.extend([
            ("KC_DB".into(), "postgres".into()),
            ("KC_DB_URL_HOST".into(), "postgres".into()),
            (
                "KC_DB_URL_DATABASE".into(),
                self.postgres.database.to_string(),
            ),
            ("KC_DB_SCHEMA".into(), DATABASE_ROLE.into()),
            ("KC_DB_USERNAME".into(), DATABASE_ROLE.into()),
            ("PGPASSFILE".into(), PGPASS_PATH.into()),
            ("KC_HTTP_ENABLED".into(), "true".into()),
            ("KC_HOSTNAME_STRICT".into(), "false".into()),
            ("KC_CACHE".into(), "local".into()),
            // An idle connection is validated before it is used. Otherwise each one of the
            // pool fails a sign-in after a restart of the database.
            (
                "QUARKUS_DATASOURCE_JDBC_FOREGROUND_VALIDATION_INTERVAL".into(),
                "500MS".into(),
            ),
            // The only password that Keycloak stores is the administrator's, which is in
            // dm.toml; those of users are in the directory. Each sign-in by dm hashes it.
            (
                "KC_SPI_PASSWORD_HASHING__ARGON2__ITERATIONS".into(),
                "1".into(),
            ),
            (
                "JAVA_OPTS_KC_HEAP".into(),
                jvm_heap_options(self.config.heap.bytes()),
            ),
            // A recreated database has another address, and Java's own cache keeps the old
            // one for half a minute.
            ("JAVA_OPTS_APPEND".into(), "-Dsun.net.inetaddr.ttl=1".into()),
        ]);
        spec.command = vec![
            "start".into(),
            "--optimized".into(),
            "--import-realm".into(),
        ];
        spec.files = vec![
            ContainerFile::secret(REALM_PATH, UID, realm),
            ContainerFile::secret(CONF_PATH, UID, conf),
            ContainerFile::secret(PGPASS_PATH, UID, pgpass),
        ];
        spec.memory = self.config.memory.map(|size| size.bytes());
        Ok(spec)
    }

    fn probe(&self, ports: &HostPorts) -> ProbeFuture {
        let issuer = format!("{}/realms/{}", base_url(ports), self.config.realm);
        Box::pin(async move {
            let client = http_client().build().map_err(|error| error.to_string())?;
            let response = client
                .get(format!("{issuer}/.well-known/openid-configuration"))
                .send()
                .await
                .map_err(|error| root_cause(&error))?;
            if !response.status().is_success() {
                let status = response.status();
                return Err(format!("the discovery document of the realm returns {status}").into());
            }
            let discovery: DiscoveryDocument =
                response.json().await.map_err(|error| root_cause(&error))?;
            if discovery.issuer == issuer {
                Ok(())
            } else {
                Err(format!("the issuer is {} instead of {issuer}", discovery.issuer).into())
            }
        })
    }

    fn addresses(&self, ports: &HostPorts) -> Vec<String> {
        vec![format!("{}/realms/{}", base_url(ports), self.config.realm)]
    }

    fn page_url(&self, ports: &HostPorts) -> Option<String> {
        Some(format!("{}/admin/", base_url(ports)))
    }

    fn prebuilt_schema(&self, ports: &HostPorts) -> Option<PrebuiltSchema> {
        Some(PrebuiltSchema {
            script: PREBUILT_SCHEMA_SCRIPT,
            schema: DATABASE_ROLE,
            owner_options: self.owner_connect_options(ports),
        })
    }

    fn reconfigure(&self, ports: &HostPorts) -> Option<ReconfigureFuture> {
        let (base_url, config) = (base_url(ports), self.config.clone());
        let database = self.owner_connect_options(ports);
        let (directory, ports) = (self.directory.clone(), ports.clone());
        Some(Box::pin(async move {
            let admin = realm_admin(&config, &base_url);
            let probe_directory = || directory.probe(&ports);
            directory_import::import_users(&admin, &database, probe_directory)
                .await
                .map_err(|error| Box::new(error) as _)
        }))
    }

    fn reset_strategy(&self, ports: &HostPorts) -> Option<ResetStrategy> {
        let (base_url, config) = (base_url(ports), self.config.clone());
        Some(ResetStrategy::WhileRunning(Box::pin(async move {
            realm_admin(&config, &base_url)
                .clear_sessions_and_caches()
                .await
                .map_err(|error| root_cause(&error))
        })))
    }

    fn diagnose_log(&self, log: &[String]) -> Option<Misconfiguration> {
        start_failure::diagnose(log, self.config.realm_file.as_path())
    }

    fn wait_timeout(&self) -> Option<Duration> {
        self.config
            .wait_timeout
            .map(|timeout| timeout.as_duration())
    }
}

/// Returns the JVM's heap options. The initial heap suffices for a login, so that
/// the start needs no garbage collection.
fn jvm_heap_options(bytes: u64) -> String {
    let max_mb = bytes >> 20;
    let min_mb = max_mb.min(192);
    format!("-Xms{min_mb}m -Xmn{}m -Xmx{max_mb}m", min_mb / 2)
}
