//! Keycloak: who somebody is, by the realm and its LDAP federation.

pub mod admin;
mod diagnosis;
mod files;
pub(crate) mod stored;
pub mod token;

use std::time::Duration;

use dm_config::Config;
use dm_engine::spec::{ContainerSpec, File};
use serde::Deserialize;

use super::reach::Reach;
use super::recorded::RecordedSchema;
use super::{
    Component, ComponentError, PortWish, Ports, Probe, Refused, Renewal, Site, container,
    http_client, http_origin, innermost, read,
};
use crate::{names, openldap, postgres};

/// The component's name.
pub const NAME: &str = "keycloak";

/// Where it listens in its container.
const PORT: u16 = 8080;

/// The role and the schema of Keycloak in the database.
pub const DATABASE_ROLE: &str = "keycloak";

/// Where the image that is built here keeps the schema as its migrations leave it.
const RECORDED_SCHEMA: &str = "/opt/keycloak/schema/keycloak.sql";

/// Who the server is in its container, in the official image and the built one.
const UID: u32 = 1000;

/// The file of the realm, which is imported into a new database.
const REALM: &str = "/opt/keycloak/data/import/realm.json";
/// The options that are secret.
const CONF: &str = "/opt/keycloak/conf/keycloak.conf";
/// The password of the database, in the way of PostgreSQL's own clients: as an option
/// Keycloak would replace expressions in it twice.
const PGPASS: &str = "/opt/keycloak/conf/pgpass";

/// Keycloak.
#[derive(Debug, Clone)]
pub struct Keycloak {
    config: dm_config::Keycloak,
    postgres: dm_config::Postgres,
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
pub fn base_url(ports: &Ports) -> String {
    base_url_of(Reach::Published(ports))
}

/// The address of Keycloak, from there.
#[must_use]
pub fn base_url_of(reach: Reach<'_>) -> String {
    let address = reach.address(NAME, "localhost", NAME, PORT);
    http_origin(&address.host, address.port)
}

/// The part of an OpenID Connect discovery document that proves the realm.
#[derive(Debug, Deserialize)]
struct Discovery {
    issuer: String,
}

impl Component for Keycloak {
    fn name(&self) -> &'static str {
        NAME
    }

    fn after(&self) -> &'static [&'static str] {
        // Not after OpenLDAP: Keycloak binds to it at the first login.
        &[names::DATABASE]
    }

    fn needs(&self) -> &'static [&'static str] {
        // Whoever logs in is looked up there.
        &[openldap::NAME]
    }

    fn ports(&self) -> Vec<PortWish> {
        vec![PortWish {
            name: NAME,
            container: PORT,
            host: self.config.port.get(),
        }]
    }

    fn specify(&self, site: &Site<'_>) -> Result<ContainerSpec, ComponentError> {
        let realm = read(
            site.root,
            self.config.realm_file.as_path(),
            "keycloak.realm_file",
        )?;
        let realm = files::realm(
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
            &self.config.realm_file.in_project(site.root),
        )?;
        let conf = files::conf(&[
            ("bootstrap-admin-username", self.config.admin_user.as_str()),
            (
                "bootstrap-admin-password",
                self.config.admin_password.reveal(),
            ),
        ]);
        let pgpass = files::pgpass(DATABASE_ROLE, &self.config.database_password.for_postgres());
        let mut spec = container(self, site);
        spec.env.extend([
            ("KC_DB".into(), "postgres".into()),
            ("KC_DB_URL_HOST".into(), "postgres".into()),
            (
                "KC_DB_URL_DATABASE".into(),
                self.postgres.database.to_string(),
            ),
            ("KC_DB_SCHEMA".into(), DATABASE_ROLE.into()),
            ("KC_DB_USERNAME".into(), DATABASE_ROLE.into()),
            ("PGPASSFILE".into(), PGPASS.into()),
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
            ("JAVA_OPTS_KC_HEAP".into(), heap(self.config.heap.bytes())),
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
            File::secret(REALM, UID, realm),
            File::secret(CONF, UID, conf),
            File::secret(PGPASS, UID, pgpass),
        ];
        spec.memory = self.config.memory.map(|size| size.bytes());
        Ok(spec)
    }

    fn probe(&self, ports: &Ports) -> Probe {
        let issuer = format!("{}/realms/{}", base_url(ports), self.config.realm);
        Box::pin(async move {
            let client = http_client().build().map_err(|error| error.to_string())?;
            let response = client
                .get(format!("{issuer}/.well-known/openid-configuration"))
                .send()
                .await
                .map_err(|error| innermost(&error))?;
            if !response.status().is_success() {
                let status = response.status();
                return Err(format!("the discovery document of the realm returns {status}").into());
            }
            let discovery: Discovery = response.json().await.map_err(|error| innermost(&error))?;
            if discovery.issuer == issuer {
                Ok(())
            } else {
                Err(format!("the issuer is {} instead of {issuer}", discovery.issuer).into())
            }
        })
    }

    fn addresses(&self, ports: &Ports) -> Vec<String> {
        vec![format!("{}/realms/{}", base_url(ports), self.config.realm)]
    }

    fn page(&self, ports: &Ports) -> Option<String> {
        Some(format!("{}/admin/", base_url(ports)))
    }

    fn recorded_schema(&self, ports: &Ports) -> Option<RecordedSchema> {
        let owner = postgres::connect_options(&self.postgres, ports)
            .username(DATABASE_ROLE)
            .password(&self.config.database_password.for_postgres());
        Some(RecordedSchema {
            script: RECORDED_SCHEMA,
            schema: DATABASE_ROLE,
            owner,
        })
    }

    fn renewal(&self, ports: &Ports) -> Option<Renewal> {
        let (base, config) = (base_url(ports), self.config.clone());
        Some(Renewal::Running(Box::pin(async move {
            let admin = admin::Admin {
                base: &base,
                realm: config.realm.as_str(),
                user: config.admin_user.as_str(),
                password: config.admin_password.reveal(),
            };
            admin.forget().await.map_err(|error| innermost(&error))
        })))
    }

    fn diagnosis(&self, log: &[String]) -> Option<Refused> {
        diagnosis::of(log, self.config.realm_file.as_path())
    }

    fn wait_timeout(&self) -> Option<Duration> {
        self.config.wait_timeout.map(|wait| wait.get())
    }
}

/// The JVM's heap options. What a login needs is there from the start, so that
/// the start itself has to collect nothing.
fn heap(bytes: u64) -> String {
    let most = bytes >> 20;
    let least = most.min(192);
    format!("-Xms{least}m -Xmn{}m -Xmx{most}m", least / 2)
}
