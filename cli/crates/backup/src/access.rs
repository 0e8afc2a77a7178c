//! The servers that a backup is made of, and who may ask them everything.

use std::collections::BTreeSet;
use std::time::Duration;

use dm_components::database::Database;
use dm_components::keycloak::admin::Admin;
use dm_components::rabbitmq::management::Management;
use dm_components::reach::Reach;
use dm_components::{keycloak, openldap, postgres, rabbitmq};
use dm_config::Config;
use dm_core::instance::Instance;
use dm_messaging::{MessagingError, broker, stores};
use lapin::Connection;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::BackupError;
use super::directory::Directory;

/// Who a server's administrator is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Login {
    user: String,
    password: String,
}

/// What a backup of an instance is made with. It has passwords of administrators: where it is
/// written, it is written for its owner alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
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
    postgres: Login,
    rabbitmq: Login,
    keycloak: Login,
    openldap_password: String,
}

impl Access {
    /// What the configuration of an instance says.
    #[must_use]
    pub fn of(config: &Config, instance: &Instance) -> Self {
        let login = |user: &str, password: &str| Login {
            user: user.to_owned(),
            password: password.to_owned(),
        };
        let stores = stores::all(config);
        Self {
            project: instance.project.clone(),
            instance: instance.name.clone(),
            database: config.postgres.database.to_string(),
            roles: Database::new(config, &instance.root).roles(),
            schemas: stores.into_iter().map(|store| store.schema).collect(),
            lock: config.timeouts.lock.get(),
            realm: config.keycloak.realm.to_string(),
            domain: config.openldap.domain.to_string(),
            postgres: login(
                config.postgres.user.as_str(),
                &config.postgres.password.for_postgres(),
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
    fn options(&self, reach: Reach<'_>) -> PgConnectOptions {
        let (login, address) = (&self.postgres, postgres::address(reach));
        postgres::options(&address, &login.user, &login.password, &self.database).options([
            ("statement_timeout", "0"),
            ("idle_in_transaction_session_timeout", "0"),
            ("idle_session_timeout", "0"),
        ])
    }

    /// The database's superuser.
    pub(super) fn user(&self) -> &str {
        &self.postgres.user
    }

    fn directory(&self, reach: Reach<'_>) -> Directory {
        Directory {
            url: openldap::url(reach),
            base: openldap::base_dn(&self.domain),
            user: openldap::admin_dn(&self.domain),
            password: self.openldap_password.clone(),
        }
    }

    fn management(&self, reach: Reach<'_>) -> Result<Management, MessagingError> {
        let (base, login) = (rabbitmq::management_url_of(reach), &self.rabbitmq);
        Ok(Management::new(base, &login.user, &login.password)?)
    }

    fn realm<'a>(&'a self, base: &'a str) -> Admin<'a> {
        Admin {
            base,
            realm: &self.realm,
            user: &self.keycloak.user,
            password: &self.keycloak.password,
        }
    }

    async fn broker(&self, reach: Reach<'_>) -> Result<Connection, MessagingError> {
        let login = &self.rabbitmq;
        broker::connect(&rabbitmq::uri_of(reach, &login.user, &login.password)).await
    }

    /// The servers, with the dead letters in hand.
    ///
    /// # Errors
    /// The broker is away, or another command has the dead letters in hand.
    pub async fn open(&self, reach: Reach<'_>) -> Result<Servers<'_>, BackupError> {
        let broker = self.broker(reach).await?;
        broker::turn(&broker).await?;
        Ok(Servers {
            access: self,
            options: self.options(reach),
            near: None,
            broker,
            management: self.management(reach)?,
            directory: self.directory(reach),
            keycloak: keycloak::base_url_of(reach),
        })
    }

    /// Asks each server whether it answers its administrator.
    ///
    /// # Errors
    /// One does not.
    pub async fn answers(&self, reach: Reach<'_>) -> Result<(), BackupError> {
        let database = async {
            let session = self.options(reach).connect().await?;
            session.close().await.map_err(BackupError::from)
        };
        let broker = async {
            let connection = self.broker(reach).await?;
            let closed = connection.close(200, "it answers".into()).await;
            closed.map_err(MessagingError::from)?;
            Ok(())
        };
        let directory = self.directory(reach);
        let keycloak = keycloak::base_url_of(reach);
        let realm = self.realm(&keycloak);
        tokio::try_join!(
            database,
            broker,
            async {
                Ok(self
                    .management(reach)?
                    .definitions()
                    .await
                    .map(drop)
                    .map_err(MessagingError::from)?)
            },
            directory.answers(),
            async { Ok(realm.answers().await?) },
        )?;
        Ok(())
    }
}

/// The servers of an instance that runs.
pub struct Servers<'a> {
    pub(super) access: &'a Access,
    /// The database, as its superuser.
    pub(super) options: PgConnectOptions,
    /// A shorter way to it, where there may be one.
    pub(super) near: Option<PgConnectOptions>,
    /// The broker, with the dead letters in hand.
    pub(super) broker: Connection,
    /// The broker's interface.
    pub(super) management: Management,
    /// The directory.
    pub(super) directory: Directory,
    keycloak: String,
}

impl Servers<'_> {
    /// The same with a shorter way to the database: past the engine's proxy of a published
    /// port, which copies every byte twice more.
    #[must_use]
    pub fn with_near(mut self, host: Option<std::net::IpAddr>) -> Self {
        self.near = host.map(|host| {
            let options = self.options.clone();
            options.host(&host.to_string()).port(postgres::PORT)
        });
        self
    }

    /// The realm, as Keycloak's administrator.
    pub(super) fn realm(&self) -> Admin<'_> {
        self.access.realm(&self.keycloak)
    }
}
