//! The servers that are backed up, and the logins of their administrators.

use std::collections::BTreeSet;
use std::time::Duration;

use dm_components::client_location::ClientLocation;
use dm_components::database_setup::DatabaseSetup;
use dm_components::keycloak::admin_client::AdminClient;
use dm_components::rabbitmq::management::ManagementClient;
use dm_components::{keycloak, openldap, postgres, rabbitmq};
use dm_config::Config;
use dm_core::instance::Instance;
use dm_messaging::{MessagingError, broker, service_tables};
use lapin::Connection;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::BackupError;
use super::ldap::LdapDirectory;

/// The login of the administrator of a server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AdminLogin {
    user: String,
    password: String,
}

/// The settings that a backup of an instance requires. They contain passwords of administrators: a
/// file with them must be readable by its owner only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerAccess {
    /// The project in the labels of the containers.
    pub project: String,
    /// The instance.
    pub instance: String,
    /// The name of the database.
    pub(super) database: String,
    /// The schemas with an outbox.
    pub(super) schemas: Vec<String>,
    /// The roles of the configuration.
    pub(super) roles: BTreeSet<String>,
    /// How long to wait for a lock that another session holds.
    pub(super) lock: Duration,
    realm: String,
    domain: String,
    postgres: AdminLogin,
    rabbitmq: AdminLogin,
    keycloak: AdminLogin,
    openldap_password: String,
}

impl ServerAccess {
    /// Returns the settings from the configuration of an instance.
    #[must_use]
    pub fn from_config(config: &Config, instance: &Instance) -> Self {
        let login = |user: &str, password: &str| AdminLogin {
            user: user.to_owned(),
            password: password.to_owned(),
        };
        let tables = service_tables::from_config(config);
        Self {
            project: instance.project.clone(),
            instance: instance.name.clone(),
            database: config.postgres.database.to_string(),
            roles: DatabaseSetup::new(config, &instance.root).role_names(),
            schemas: tables.into_iter().map(|tables| tables.schema).collect(),
            lock: config.timeouts.lock.as_duration(),
            realm: config.keycloak.realm.to_string(),
            domain: config.openldap.domain.to_string(),
            postgres: login(
                config.postgres.user.as_str(),
                &config.postgres.password.to_postgres_password(),
            ),
            rabbitmq: login(
                config.rabbitmq.user.as_str(),
                config.rabbitmq.password.reveal(),
            ),
            keycloak: login(
                config.keycloak.admin_user.as_str(),
                config.keycloak.admin_password.reveal(),
            ),
            openldap_password: config.openldap.admin_password.reveal().to_owned(),
        }
    }

    /// Returns the connection options of the database, as its superuser. Settings of the database
    /// or the role must not end a session that waits for a dump.
    fn connect_options(&self, location: ClientLocation<'_>) -> PgConnectOptions {
        let (login, address) = (&self.postgres, postgres::server_address(location));
        postgres::role_connect_options(&address, &login.user, &login.password, &self.database)
            .options([
                ("statement_timeout", "0"),
                ("idle_in_transaction_session_timeout", "0"),
                ("idle_session_timeout", "0"),
            ])
    }

    /// Returns the name of the superuser.
    pub(super) fn superuser(&self) -> &str {
        &self.postgres.user
    }

    fn directory(&self, location: ClientLocation<'_>) -> LdapDirectory {
        LdapDirectory {
            url: openldap::ldap_url(location),
            base_dn: openldap::base_dn(&self.domain),
            bind_dn: openldap::admin_dn(&self.domain),
            password: self.openldap_password.clone(),
        }
    }

    fn management(&self, location: ClientLocation<'_>) -> Result<ManagementClient, MessagingError> {
        let (url, login) = (rabbitmq::management_url_from(location), &self.rabbitmq);
        Ok(ManagementClient::new(url, &login.user, &login.password)?)
    }

    fn realm_admin<'a>(&'a self, base_url: &'a str) -> AdminClient<'a> {
        AdminClient {
            base_url,
            realm: &self.realm,
            user: &self.keycloak.user,
            password: &self.keycloak.password,
        }
    }

    async fn connect_broker(
        &self,
        location: ClientLocation<'_>,
    ) -> Result<Connection, MessagingError> {
        let login = &self.rabbitmq;
        broker::connect(&rabbitmq::amqp_uri(location, &login.user, &login.password)).await
    }

    /// Connects to the servers and locks the dead letters.
    ///
    /// # Errors
    /// Returns [`BackupError::Broker`] if RabbitMQ cannot be reached or another command holds the
    /// lock of the dead letters.
    pub async fn connect(
        &self,
        location: ClientLocation<'_>,
    ) -> Result<ServerConnections<'_>, BackupError> {
        let broker = self.connect_broker(location).await?;
        broker::acquire_dead_letter_lock(&broker).await?;
        Ok(ServerConnections {
            access: self,
            options: self.connect_options(location),
            direct_options: None,
            broker,
            management: self.management(location)?,
            directory: self.directory(location),
            keycloak_url: keycloak::base_url_from(location),
        })
    }

    /// Checks that the administrator can log in to each server.
    ///
    /// # Errors
    /// Returns [`BackupError`] if a server cannot be reached or refuses the login.
    pub async fn check_connections(&self, location: ClientLocation<'_>) -> Result<(), BackupError> {
        let database = async {
            let session = self.connect_options(location).connect().await?;
            session.close().await.map_err(BackupError::from)
        };
        let broker = async {
            let connection = self.connect_broker(location).await?;
            let closed = connection.close(200, "done".into()).await;
            closed.map_err(MessagingError::from)?;
            Ok(())
        };
        let directory = self.directory(location);
        let keycloak = keycloak::base_url_from(location);
        let realm = self.realm_admin(&keycloak);
        tokio::try_join!(
            database,
            broker,
            async {
                Ok(self
                    .management(location)?
                    .export_definitions()
                    .await
                    .map(drop)
                    .map_err(MessagingError::from)?)
            },
            directory.check_connection(),
            async { Ok(realm.check_credentials().await?) },
        )?;
        Ok(())
    }
}

/// The servers of a running instance.
pub struct ServerConnections<'a> {
    pub(super) access: &'a ServerAccess,
    /// The connection options of the database, as its superuser.
    pub(super) options: PgConnectOptions,
    /// The connection options that bypass the port proxy of the engine, if there are any.
    pub(super) direct_options: Option<PgConnectOptions>,
    /// The connection to the broker, which holds the lock of the dead letters.
    pub(super) broker: Connection,
    /// The client of the management API of the broker.
    pub(super) management: ManagementClient,
    /// The LDAP directory.
    pub(super) directory: LdapDirectory,
    keycloak_url: String,
}

impl ServerConnections<'_> {
    /// Sets the address of the database container, which bypasses the port proxy of the engine: the
    /// proxy copies every byte twice more.
    #[must_use]
    pub fn with_direct_address(mut self, host: Option<std::net::IpAddr>) -> Self {
        self.direct_options = host.map(|host| {
            let options = self.options.clone();
            options.host(&host.to_string()).port(postgres::PORT)
        });
        self
    }

    /// Returns a client of the realm, as the administrator of Keycloak.
    pub(super) fn realm_admin(&self) -> AdminClient<'_> {
        self.access.realm_admin(&self.keycloak_url)
    }
}
