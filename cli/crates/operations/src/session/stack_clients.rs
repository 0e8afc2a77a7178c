//! The ways to the tables and queues of a stack that runs, each opened when it is first
//! needed.

use std::time::Duration;

use dm_components::gateway_secret;
use dm_components::keycloak::admin_client::AdminClient;
use dm_components::lock_watch::{LockWait, LockWatch};
use dm_components::rabbitmq::management::ManagementClient;
use dm_components::{HostPorts, postgres, rabbitmq};
use dm_config::Config;
use dm_core::error::Result;
use dm_engine::Engine;
use dm_messaging::queue_inspector::QuorumQueueInspector;
use dm_messaging::service_tables::{self, ServiceTables};
use dm_messaging::{MessagingError, broker};
use lapin::Connection;
use sqlx::PgPool;

use super::{Project, Session, existing_ports};
use crate::frontend::Frontend;

/// The ways into a stack that runs.
pub struct StackClients {
    /// The project.
    pub project: Project,
    /// The engine.
    pub engine: Engine,
    /// The instance's ports.
    pub ports: HostPorts,
    /// Over the sessions with the database.
    lock_watch: LockWatch,
}

impl StackClients {
    /// The ways into the instance that was named.
    ///
    /// # Errors
    /// No configuration, no engine.
    pub async fn open(session: &Session) -> Result<Self> {
        Self::for_project(session, session.project()?).await
    }

    /// The ways into a project's instance.
    ///
    /// # Errors
    /// No engine.
    pub async fn for_project(session: &Session, project: Project) -> Result<Self> {
        let engine = session.engine(project.config()).await?;
        let ports = existing_ports(&project, &engine).await?;
        let database = postgres::superuser_connect_options(&project.config().postgres, &ports);
        Ok(Self {
            project,
            engine,
            ports,
            lock_watch: LockWatch::new(&database, "command"),
        })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        self.project.config()
    }

    /// What the gateway shows to the services, for who asks them without it.
    ///
    /// # Errors
    /// The state directory can't be used.
    pub fn gateway_secret(&self) -> Result<String> {
        let state = self.project.state.path();
        Ok(gateway_secret::load_or_create(
            state,
            &self.project.instance,
        )?)
    }

    /// The services' tables.
    pub fn stores(&self) -> Vec<ServiceTables> {
        service_tables::from_config(self.config())
    }

    /// The database, as its superuser.
    ///
    /// # Errors
    /// It is away.
    pub async fn connect_database(&self) -> Result<PgPool> {
        let options = self.lock_watch.connect_options();
        // The server ends a wait that no watch ends.
        let lock = self.config().timeouts.lock.as_duration().saturating_mul(2);
        let options = options.options([("lock_timeout", lock.as_millis())]);
        let pool = sqlx::postgres::PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(Duration::from_secs(5))
            .connect_with(options)
            .await;
        Ok(pool.map_err(MessagingError::from)?)
    }

    /// Does work with sessions of [`Desk::database`], as long as no other session holds a lock
    /// that it needs.
    ///
    /// # Errors
    /// One holds it.
    pub(crate) async fn while_unblocked<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, LockWait> {
        let lock = self.config().timeouts.lock.as_duration();
        self.lock_watch.run_until_lock_timeout(lock, work).await
    }

    /// The broker, as its administrator.
    ///
    /// # Errors
    /// It is away.
    pub async fn connect_broker(&self) -> Result<Connection> {
        let uri = rabbitmq::admin_uri(&self.config().rabbitmq, &self.ports);
        Ok(broker::connect(&uri).await?)
    }

    /// The broker with the dead letters in hand.
    ///
    /// # Errors
    /// It is away, or somebody else keeps them.
    pub async fn lock_dead_letters(&self) -> Result<Connection> {
        let connection = self.connect_broker().await?;
        broker::acquire_dead_letter_lock(&connection).await?;
        Ok(connection)
    }

    /// The broker with the dead letters in hand; nothing, and a warning, where it is away.
    ///
    /// # Errors
    /// Somebody else keeps them.
    pub async fn lock_dead_letters_or_warn(
        &self,
        frontend: &dyn Frontend,
    ) -> Result<Option<Connection>> {
        let connection = match self.connect_broker().await {
            Ok(connection) => connection,
            Err(error) => {
                let why = error.error_chain().join(": ");
                frontend.warn(&format!("could not read the dead letters: {why}"));
                return Ok(None);
            }
        };
        broker::acquire_dead_letter_lock(&connection).await?;
        Ok(Some(connection))
    }

    /// Keycloak at this address, as its administrator.
    pub(crate) fn keycloak_admin<'a>(&'a self, base: &'a str) -> AdminClient<'a> {
        let config = &self.config().keycloak;
        AdminClient {
            base_url: base,
            realm: config.realm.as_str(),
            user: config.admin_user.as_str(),
            password: config.admin_password.reveal(),
        }
    }

    /// What shows the messages in the broker's queues without a delivery.
    pub(crate) fn queue_browser(&self) -> QuorumQueueInspector<'_> {
        QuorumQueueInspector {
            engine: &self.engine,
            container: self.project.instance.container_name(rabbitmq::NAME),
        }
    }

    /// The broker's management interface.
    ///
    /// # Errors
    /// No client can be made.
    pub(crate) fn management(&self) -> Result<ManagementClient> {
        let settings = &self.config().rabbitmq;
        let base = rabbitmq::management_url(&self.ports);
        let (user, password) = (settings.user.as_str(), settings.password.reveal());
        Ok(ManagementClient::new(base, user, password).map_err(MessagingError::from)?)
    }
}
