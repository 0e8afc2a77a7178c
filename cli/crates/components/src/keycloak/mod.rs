//! Keycloak: who somebody is, by the realm and its LDAP federation.

pub mod admin_client;
mod secret_files;
pub mod sign_in;
mod start_failure;
pub(crate) mod stored_secrets;

use std::time::Duration;

use dm_config::Config;
use dm_engine::spec::{ContainerFile, ContainerSpec};
use serde::Deserialize;

use super::client_location::ClientLocation;
use super::prebuilt_schema::PrebuiltSchema;
use super::{
    Component, ComponentError, HostPorts, InstanceLayout, Misconfiguration, PortSpec, ProbeFuture,
    ResetStrategy, base_container_spec, http_client, http_origin, read_fixture, root_cause,
};
use crate::{node_names, openldap, postgres};

/// The component's name.
pub const NAME: &str = "keycloak";

/// Where it listens in its container.
const PORT: u16 = 8080;

/// The role and the schema of Keycloak in the database.
pub const DATABASE_ROLE: &str = "keycloak";

/// Where the image that is built here keeps the schema as its migrations leave it.
const PREBUILT_SCHEMA_SCRIPT: &str = "/opt/keycloak/schema/keycloak.sql";

/// Who the server is in its container, in the official image and the built one.
const UID: u32 = 1000;

/// The file of the realm, which is imported into a new database.
const REALM_PATH: &str = "/opt/keycloak/data/import/realm.json";
/// The options that are secret.
const CONF_PATH: &str = "/opt/keycloak/conf/keycloak.conf";
/// The password of the database, in the way of PostgreSQL's own clients: as an option
/// Keycloak would replace expressions in it twice.
const PGPASS_PATH: &str = "/opt/keycloak/conf/pgpass";

/// Keycloak.
#[derive(Debug, Clone)]
pub struct Keycloak {
    config: dm_config::KeycloakConfig,
    postgres: dm_config::PostgresConfig,
    ldap_bind_dn: String,
    ldap_bind_password: String,
}

impl Keycloak {
    /// Keycloak as configured.
    #[must_use]
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            config: config.keycloak.clone(),
            postgres: config.postgres.clone(),
            ldap_bind_dn: openldap::admin_dn(config.openldap.domain.as_str()),
            ldap_bind_password: config.openldap.admin_password.reveal().to_owned(),
        }
    }
}

/// The address of Keycloak on the host.
///
/// `localhost` and not `127.0.0.1`: the issuer follows the request's host, and
/// the redirect addresses of the realm's clients say `localhost`.
#[must_use]
pub fn base_url(ports: &HostPorts) -> String {
    base_url_from(ClientLocation::Host(ports))
}

/// The address of Keycloak, from there.
#[must_use]
pub fn base_url_from(reach: ClientLocation<'_>) -> String {
    let address = reach.server_address(NAME, "localhost", NAME, PORT);
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
        // Not after OpenLDAP: Keycloak binds to it at the first login.
        &[node_names::DATABASE]
    }

    fn runtime_dependencies(&self) -> &'static [&'static str] {
        // Whoever logs in is looked up there.
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
            // A connection that was idle is tried before it is used. Otherwise each one of
            // the pool fails a sign-in after the database was away.
            (
                "QUARKUS_DATASOURCE_JDBC_FOREGROUND_VALIDATION_INTERVAL".into(),
                "500MS".into(),
            ),
            // The one password that Keycloak keeps is the administrator's, which dm.toml
            // tells; people's are the directory's. Each sign-in of dm's own hashes it.
            (
                "KC_SPI_PASSWORD_HASHING__ARGON2__ITERATIONS".into(),
                "1".into(),
            ),
            (
                "JAVA_OPTS_KC_HEAP".into(),
                jvm_heap_options(self.config.heap.bytes()),
            ),
            // A database that was made anew has another address; Java's own memory of it
            // lasts half a minute.
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
        let owner = postgres::superuser_connect_options(&self.postgres, ports)
            .username(DATABASE_ROLE)
            .password(&self.config.database_password.to_postgres_password());
        Some(PrebuiltSchema {
            script: PREBUILT_SCHEMA_SCRIPT,
            schema: DATABASE_ROLE,
            owner_options: owner,
        })
    }

    fn reset_strategy(&self, ports: &HostPorts) -> Option<ResetStrategy> {
        let (base, config) = (base_url(ports), self.config.clone());
        Some(ResetStrategy::WhileRunning(Box::pin(async move {
            let admin = admin_client::AdminClient {
                base_url: &base,
                realm: config.realm.as_str(),
                user: config.admin_user.as_str(),
                password: config.admin_password.reveal(),
            };
            admin
                .clear_sessions_and_caches()
                .await
                .map_err(|error| root_cause(&error))
        })))
    }

    fn diagnose_log(&self, log: &[String]) -> Option<Misconfiguration> {
        start_failure::diagnose(log, self.config.realm_file.as_path())
    }

    fn wait_timeout(&self) -> Option<Duration> {
        self.config.wait_timeout.map(|wait| wait.as_duration())
    }
}

/// The JVM's heap options. What a login needs is there from the start, so that
/// the start itself has to collect nothing.
fn jvm_heap_options(bytes: u64) -> String {
    let most = bytes >> 20;
    let least = most.min(192);
    format!("-Xms{least}m -Xmn{}m -Xmx{most}m", least / 2)
}
