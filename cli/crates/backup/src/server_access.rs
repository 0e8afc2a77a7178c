//! The servers that a backup is made of, and who may ask them everything.

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

/// Who a server's administrator is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AdminLogin {
    user: String,
    password: String,
}

/// What a backup of an instance is made with. It has passwords of administrators: where it is
/// written, it is written for its owner alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerAccess {
    /// The project, as its containers say.
    pub project: String,
    /// The instance.
    pub instance: String,
    /// The database's name.
    pub(super) database: String,
    /// The schemas that have an outbox.
    pub(super) schemas: Vec<String>,
    /// The roles that the configuration makes.
    pub(super) roles: BTreeSet<String>,
    /// How long another session may hold a lock that is needed.
    pub(super) lock: Duration,
    realm: String,
    domain: String,
    postgres: AdminLogin,
    rabbitmq: AdminLogin,
    keycloak: AdminLogin,
    openldap_password: String,
}

impl ServerAccess {
    /// What the configuration of an instance says.
    #[must_use]
    pub fn from_config(config: &Config, instance: &Instance) -> Self {
        let login = |user: &str, password: &str| AdminLogin {
            user: user.to_owned(),
            password: password.to_owned(),
        };
        let stores = service_tables::from_config(config);
        Self {
            project: instance.project.clone(),
            instance: instance.name.clone(),
            database: config.postgres.database.to_string(),
            roles: DatabaseSetup::new(config, &instance.root).role_names(),
            schemas: stores.into_iter().map(|store| store.schema).collect(),
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

    /// The database, as its superuser. Settings of the database or of the role must not end
    /// a session that waits for a dump.
    fn connect_options(&self, reach: ClientLocation<'_>) -> PgConnectOptions {
        let (login, address) = (&self.postgres, postgres::server_address(reach));
        postgres::role_connect_options(&address, &login.user, &login.password, &self.database)
            .options([
                ("statement_timeout", "0"),
                ("idle_in_transaction_session_timeout", "0"),
                ("idle_session_timeout", "0"),
            ])
    }

    /// The database's superuser.
    pub(super) fn superuser(&self) -> &str {
        &self.postgres.user
    }

    fn directory(&self, reach: ClientLocation<'_>) -> LdapDirectory {
        LdapDirectory {
            url: openldap::ldap_url(reach),
            base_dn: openldap::base_dn(&self.domain),
            bind_dn: openldap::admin_dn(&self.domain),
            password: self.openldap_password.clone(),
        }
    }

    fn management(&self, reach: ClientLocation<'_>) -> Result<ManagementClient, MessagingError> {
        let (base, login) = (rabbitmq::management_url_from(reach), &self.rabbitmq);
        Ok(ManagementClient::new(base, &login.user, &login.password)?)
    }

    fn realm_admin<'a>(&'a self, base: &'a str) -> AdminClient<'a> {
        AdminClient {
            base_url: base,
            realm: &self.realm,
            user: &self.keycloak.user,
            password: &self.keycloak.password,
        }
    }

    async fn connect_broker(
        &self,
        reach: ClientLocation<'_>,
    ) -> Result<Connection, MessagingError> {
        let login = &self.rabbitmq;
        broker::connect(&rabbitmq::amqp_uri(reach, &login.user, &login.password)).await
    }

    /// The servers, with the dead letters in hand.
    ///
    /// # Errors
    /// The broker is away, or another command has the dead letters in hand.
    pub async fn connect(
        &self,
        reach: ClientLocation<'_>,
    ) -> Result<ServerConnections<'_>, BackupError> {
        let broker = self.connect_broker(reach).await?;
        broker::acquire_dead_letter_lock(&broker).await?;
        Ok(ServerConnections {
            access: self,
            options: self.connect_options(reach),
            direct_options: None,
            broker,
            management: self.management(reach)?,
            directory: self.directory(reach),
            keycloak_url: keycloak::base_url_from(reach),
        })
    }

    /// Asks each server whether it answers its administrator.
    ///
    /// # Errors
    /// One does not.
    pub async fn check_connections(&self, reach: ClientLocation<'_>) -> Result<(), BackupError> {
        let database = async {
            let session = self.connect_options(reach).connect().await?;
            session.close().await.map_err(BackupError::from)
        };
        let broker = async {
            let connection = self.connect_broker(reach).await?;
            let closed = connection.close(200, "it answers".into()).await;
            closed.map_err(MessagingError::from)?;
            Ok(())
        };
        let directory = self.directory(reach);
        let keycloak = keycloak::base_url_from(reach);
        let realm = self.realm_admin(&keycloak);
        tokio::try_join!(
            database,
            broker,
            async {
                Ok(self
                    .management(reach)?
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

/// The servers of an instance that runs.
pub struct ServerConnections<'a> {
    pub(super) access: &'a ServerAccess,
    /// The database, as its superuser.
    pub(super) options: PgConnectOptions,
    /// A shorter way to it, where there may be one.
    pub(super) direct_options: Option<PgConnectOptions>,
    /// The broker, with the dead letters in hand.
    pub(super) broker: Connection,
    /// The broker's interface.
    pub(super) management: ManagementClient,
    /// The directory.
    pub(super) directory: LdapDirectory,
    keycloak_url: String,
}

impl ServerConnections<'_> {
    /// The same with a shorter way to the database: past the engine's proxy of a published
    /// port, which copies every byte twice more.
    #[must_use]
    pub fn with_direct_address(mut self, host: Option<std::net::IpAddr>) -> Self {
        self.direct_options = host.map(|host| {
            let options = self.options.clone();
            options.host(&host.to_string()).port(postgres::PORT)
        });
        self
    }

    /// The realm, as Keycloak's administrator.
    pub(super) fn realm_admin(&self) -> AdminClient<'_> {
        self.access.realm_admin(&self.keycloak_url)
    }
}
