//! Access to the tables and queues of a running stack. Connections are opened on demand.

use std::time::Duration;

use dm_components::gateway_secret;
use dm_components::keycloak::admin_client::AdminClient;
use dm_components::lock_watch::{LockWait, LockWatch};
use dm_components::rabbitmq::management::ManagementClient;
use dm_components::{HostPorts, postgres, rabbitmq};
use dm_config::Config;
use dm_core::error::{ExitStatus, Result, UserError};
use dm_core::error_code::ErrorCode;
use dm_engine::containers::Container;
use dm_engine::{Engine, EngineError};
use dm_messaging::queue_inspector::QuorumQueueInspector;
use dm_messaging::service_tables::{self, ServiceTables};
use dm_messaging::{MessagingError, broker};
use lapin::Connection;
use sqlx::PgPool;
use thiserror::Error;

use super::{Project, Session, existing_ports};
use crate::frontend::Frontend;

/// The time limit for a connection to the database.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The time after which a connection that is not open is explained by the state of the container.
/// Usually, a connection is open before it.
const STATE_CHECK_DELAY: Duration = Duration::from_millis(100);

/// A server of the stack.
#[derive(Debug, Clone, Copy)]
enum Server {
    Database,
    Broker,
}

impl Server {
    /// Returns the name of the server in texts.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Database => "the database",
            Self::Broker => "the broker",
        }
    }

    const fn component(self) -> &'static str {
        match self {
            Self::Database => postgres::NAME,
            Self::Broker => rabbitmq::NAME,
        }
    }
}

/// The container of a server is not running.
#[derive(Debug, Error)]
#[error("could not connect to {}: {}", server.as_str(), stop_reason(*server, *is_instance_stopped))]
struct ServerStopped {
    server: Server,
    /// Whether no container of the instance is running.
    is_instance_stopped: bool,
}

impl ServerStopped {
    /// Returns the error if the container of a server is not among the running ones.
    fn check(server: Server, containers: &[Container]) -> Option<Self> {
        let active: Vec<&Container> = containers
            .iter()
            .filter(|container| container.state.is_active())
            .collect();
        let is_running = active
            .iter()
            .any(|container| container.component == server.component());
        (!is_running).then_some(Self {
            server,
            is_instance_stopped: active.is_empty(),
        })
    }
}

fn stop_reason(server: Server, is_instance_stopped: bool) -> String {
    if is_instance_stopped {
        "the instance is stopped".to_owned()
    } else {
        format!("{} is not running", server.component())
    }
}

impl UserError for ServerStopped {
    fn code(&self) -> ErrorCode {
        ErrorCode::ComponentNotRunning
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Component
    }

    fn suggestions(&self) -> Vec<String> {
        vec!["dm up".into()]
    }
}

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
    /// Returns [`MessagingError`] if the database cannot be reached. Fails at once if its container
    /// is not running.
    pub async fn connect_database(&self) -> Result<PgPool> {
        let options = self.lock_watch.connect_options();
        // The server ends lock waits that the lock watch does not end.
        let lock = self.config().timeouts.lock.as_duration().saturating_mul(2);
        let options = options.options([("lock_timeout", lock.as_millis())]);
        let connecting = sqlx::postgres::PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(CONNECT_TIMEOUT)
            .connect_with(options);
        // The pool takes a refused connection for a server that is starting, and waits for it.
        tokio::select! {
            pool = connecting => Ok(pool.map_err(MessagingError::from)?),
            stopped = self.wait_until_found_stopped(Server::Database) => Err(stopped.into()),
        }
    }

    /// Fails if the container of the database is not running.
    ///
    /// # Errors
    /// Returns an error with [`ErrorCode::ComponentNotRunning`] then. Fails if the engine fails.
    pub(crate) async fn require_database(&self) -> Result<()> {
        match self.find_stopped(Server::Database).await? {
            Some(stopped) => Err(stopped.into()),
            None => Ok(()),
        }
    }

    /// Returns the error if the container of a server is not running.
    async fn find_stopped(&self, server: Server) -> Result<Option<ServerStopped>, EngineError> {
        let containers = self
            .engine
            .list_containers(&self.project.instance.label_filter())
            .await?;
        Ok(ServerStopped::check(server, &containers))
    }

    /// Returns the error once the container of a server is found not to be running. Never returns
    /// for a running one, or if the engine does not answer.
    async fn wait_until_found_stopped(&self, server: Server) -> ServerStopped {
        tokio::time::sleep(STATE_CHECK_DELAY).await;
        match self.find_stopped(server).await {
            Ok(Some(stopped)) => stopped,
            Ok(None) | Err(_) => std::future::pending().await,
        }
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
    /// If the broker cannot be reached. The error names a container that is not running.
    pub async fn connect_broker(&self) -> Result<Connection> {
        let uri = rabbitmq::admin_uri(&self.config().rabbitmq, &self.ports);
        match broker::connect(&uri).await {
            Ok(connection) => Ok(connection),
            Err(error) => match self.find_stopped(Server::Broker).await {
                Ok(Some(stopped)) => Err(stopped.into()),
                Ok(None) | Err(_) => Err(error.into()),
            },
        }
    }

    /// Connects to the broker and acquires the dead-letter lock.
    ///
    /// # Errors
    /// If the broker cannot be reached or another process holds the lock.
    pub(crate) async fn lock_dead_letters(&self) -> Result<Connection> {
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use dm_engine::containers::ContainerState;

    use super::*;

    fn container(component: &str, state: ContainerState) -> Container {
        Container {
            id: component.to_owned(),
            name: component.to_owned(),
            component: component.to_owned(),
            instance: "default".to_owned(),
            image: String::new(),
            state,
            status: String::new(),
            digest: String::new(),
            has_network: true,
            ports: BTreeMap::new(),
            labels: HashMap::new(),
        }
    }

    #[test]
    fn stopped_server_is_named_unless_the_whole_instance_is_stopped() {
        use ContainerState::{Exited, Paused, Running};

        let check = |server, states: &[(&str, ContainerState)]| {
            let containers: Vec<_> = states
                .iter()
                .map(|(component, state)| container(component, *state))
                .collect();
            ServerStopped::check(server, &containers).map(|stopped| stopped.to_string())
        };
        let stopped = Some("could not connect to the database: the instance is stopped".to_owned());
        assert_eq!(check(Server::Database, &[]), stopped);
        let exited = [("postgres", Exited), ("rabbitmq", Exited)];
        assert_eq!(check(Server::Database, &exited), stopped);
        assert_eq!(
            check(
                Server::Broker,
                &[("postgres", Running), ("rabbitmq", Exited)]
            ),
            Some("could not connect to the broker: rabbitmq is not running".to_owned())
        );
        // A paused server has not stopped.
        for state in [Running, Paused] {
            assert_eq!(check(Server::Database, &[("postgres", state)]), None);
        }
    }
}
