//! Access to the tables and queues of a running stack. Connections are opened on demand.

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

/// Connects to the servers of a running stack.
pub struct StackClients {
    /// The project.
    pub project: Project,
    /// The engine.
    pub engine: Engine,
    /// The instance's ports.
    pub ports: HostPorts,
    /// Watches the database sessions for locks.
    lock_watch: LockWatch,
}

impl StackClients {
    /// Clients for the selected instance.
    ///
    /// # Errors
    /// If the configuration cannot be loaded or the engine cannot be reached.
    pub async fn open(session: &Session) -> Result<Self> {
        Self::for_project(session, session.project()?).await
    }

    /// Clients for the instance of a project.
    ///
    /// # Errors
    /// If the engine cannot be reached.
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

    /// Returns the configuration.
    pub fn config(&self) -> &Config {
        self.project.config()
    }

    /// Returns the secret that authenticates the gateway to the services, for requests that
    /// bypass the gateway.
    ///
    /// # Errors
    /// If the state directory cannot be used.
    pub fn gateway_secret(&self) -> Result<String> {
        let state = self.project.state.path();
        Ok(gateway_secret::load_or_create(
            state,
            &self.project.instance,
        )?)
    }

    /// Returns the tables of the services.
    pub fn service_tables(&self) -> Vec<ServiceTables> {
        service_tables::from_config(self.config())
    }

    /// Connects to the database as superuser.
    ///
    /// # Errors
    /// Returns [`MessagingError`] if the database cannot be reached.
    pub async fn connect_database(&self) -> Result<PgPool> {
        let options = self.lock_watch.connect_options();
        // The server ends lock waits that the lock watch does not end.
        let lock = self.config().timeouts.lock.as_duration().saturating_mul(2);
        let options = options.options([("lock_timeout", lock.as_millis())]);
        let pool = sqlx::postgres::PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(Duration::from_secs(5))
            .connect_with(options)
            .await;
        Ok(pool.map_err(MessagingError::from)?)
    }

    /// Executes work on sessions of [`StackClients::connect_database`] until another session
    /// blocks it for longer than the lock timeout.
    ///
    /// # Errors
    /// Returns [`LockWait`] if another session holds a lock that the work needs.
    pub(crate) async fn while_unblocked<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, LockWait> {
        let lock = self.config().timeouts.lock.as_duration();
        self.lock_watch.run_until_lock_timeout(lock, work).await
    }

    /// Connects to the broker as administrator.
    ///
    /// # Errors
    /// If the broker cannot be reached.
    pub async fn connect_broker(&self) -> Result<Connection> {
        let uri = rabbitmq::admin_uri(&self.config().rabbitmq, &self.ports);
        Ok(broker::connect(&uri).await?)
    }

    /// Connects to the broker and acquires the dead-letter lock.
    ///
    /// # Errors
    /// If the broker cannot be reached or another process holds the lock.
    pub async fn lock_dead_letters(&self) -> Result<Connection> {
        let connection = self.connect_broker().await?;
        broker::acquire_dead_letter_lock(&connection).await?;
        Ok(connection)
    }

    /// Connects to the broker and acquires the dead-letter lock. Warns and returns `None` if
    /// the broker cannot be reached.
    ///
    /// # Errors
    /// If another process holds the lock.
    pub async fn lock_dead_letters_or_warn(
        &self,
        frontend: &dyn Frontend,
    ) -> Result<Option<Connection>> {
        let connection = match self.connect_broker().await {
            Ok(connection) => connection,
            Err(error) => {
                let reason = error.error_chain().join(": ");
                frontend.warn(&format!("could not read the dead letters: {reason}"));
                return Ok(None);
            }
        };
        broker::acquire_dead_letter_lock(&connection).await?;
        Ok(Some(connection))
    }

    /// Returns an admin client for Keycloak at this URL.
    pub(crate) fn keycloak_admin<'a>(&'a self, base_url: &'a str) -> AdminClient<'a> {
        let config = &self.config().keycloak;
        AdminClient {
            base_url,
            realm: config.realm.as_str(),
            user: config.admin_user.as_str(),
            password: config.admin_password.reveal(),
        }
    }

    /// Returns the inspector that reads the messages of queues without a delivery.
    pub(crate) fn queue_browser(&self) -> QuorumQueueInspector<'_> {
        QuorumQueueInspector {
            engine: &self.engine,
            container: self.project.instance.container_name(rabbitmq::NAME),
        }
    }

    /// Returns a client for the management API of the broker.
    ///
    /// # Errors
    /// If the client cannot be created.
    pub(crate) fn management(&self) -> Result<ManagementClient> {
        let settings = &self.config().rabbitmq;
        let base_url = rabbitmq::management_url(&self.ports);
        let (user, password) = (settings.user.as_str(), settings.password.reveal());
        Ok(ManagementClient::new(base_url, user, password).map_err(MessagingError::from)?)
    }
}
