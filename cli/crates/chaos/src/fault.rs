//! A fault: how it is done and undone.

use std::time::Duration;

use dm_components::rabbitmq::management::ManagementClient;
use dm_config::values::format_exact_duration;
use dm_core::error::Result;
use dm_core::instance::Instance;
use dm_engine::Engine;
use dm_messaging::MessagingError;
use dm_messaging::poison;
use lapin::Connection;
use tokio_util::sync::CancellationToken;

/// What is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A component is killed as by a crash, and started again after a while where one is
    /// given.
    Kill {
        /// The component.
        component: String,
        /// For how long.
        duration: Option<Duration>,
    },
    /// A component stands still for a while, with its connections open.
    Pause {
        /// The component.
        component: String,
        /// For how long.
        duration: Duration,
    },
    /// A component is off the network for a while: its connections stay half open.
    Cut {
        /// The component.
        component: String,
        /// For how long.
        duration: Duration,
    },
    /// A component is stopped as by an operator, and started again.
    Restart {
        /// The component.
        component: String,
    },
    /// Every connection with the broker is ended at once.
    Disconnect,
    /// A message that no consumer can handle is put into a work queue.
    Poison {
        /// The queue.
        queue: String,
    },
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultOutcome {
    /// It is as it was before.
    Reverted,
    /// It stays so until somebody brings it up.
    NotReverted,
    /// So many connections were ended.
    ConnectionsClosed(usize),
    /// The message with this id is in the queue.
    PoisonPublished(String),
}

/// What a fault is done to.
pub struct ChaosContext<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The instance.
    pub instance: &'a Instance,
    /// How long a component may take to stop.
    pub stop_timeout: Duration,
    /// The broker, where a fault needs it.
    pub broker: Option<&'a Connection>,
    /// The broker's management.
    pub management: &'a ManagementClient,
    /// Ends what lasts for a while, early.
    pub interrupt: &'a CancellationToken,
}

impl Fault {
    /// The component that has to run for it.
    #[must_use]
    pub fn component(&self) -> Option<&str> {
        match self {
            Self::Kill { component, .. }
            | Self::Pause { component, .. }
            | Self::Cut { component, .. }
            | Self::Restart { component } => Some(component),
            Self::Disconnect | Self::Poison { .. } => None,
        }
    }

    /// Does it and, where it lasts for a while, undoes it. An interrupt ends that while;
    /// it is undone all the same.
    ///
    /// # Errors
    /// The engine or the broker refuses.
    pub async fn inject(&self, context: &ChaosContext<'_>) -> Result<FaultOutcome> {
        let engine = context.engine;
        match self {
            Self::Kill {
                component,
                duration: time,
            } => {
                let container = context.instance.container_name(component);
                engine.kill_container(&container, "SIGKILL").await?;
                let Some(time) = time else {
                    return Ok(FaultOutcome::NotReverted);
                };
                context.sleep_unless_interrupted(*time).await;
                engine.start_container(&container).await?;
                Ok(FaultOutcome::Reverted)
            }
            Self::Pause {
                component,
                duration: time,
            } => {
                let container = context.instance.container_name(component);
                engine.pause_container(&container).await?;
                context.sleep_unless_interrupted(*time).await;
                engine.unpause_container(&container).await?;
                Ok(FaultOutcome::Reverted)
            }
            Self::Cut {
                component,
                duration: time,
            } => {
                let container = context.instance.container_name(component);
                let network = context.instance.network_name();
                engine.disconnect_network(&container, &network).await?;
                context.sleep_unless_interrupted(*time).await;
                engine
                    .connect_network(&container, &network, component)
                    .await?;
                Ok(FaultOutcome::Reverted)
            }
            Self::Restart { component } => {
                let container = context.instance.container_name(component);
                engine
                    .stop_container(&container, context.stop_timeout)
                    .await?;
                engine.start_container(&container).await?;
                Ok(FaultOutcome::Reverted)
            }
            Self::Disconnect => Ok(FaultOutcome::ConnectionsClosed(
                context
                    .management
                    .close_all_connections()
                    .await
                    .map_err(MessagingError::from)?,
            )),
            Self::Poison { queue } => {
                let Some(broker) = context.broker else {
                    return Ok(FaultOutcome::NotReverted);
                };
                Ok(FaultOutcome::PoisonPublished(
                    poison::publish_poison_message(broker, queue).await?,
                ))
            }
        }
    }
}

impl ChaosContext<'_> {
    async fn sleep_unless_interrupted(&self, time: Duration) {
        tokio::select! {
            () = self.interrupt.cancelled() => {}
            () = tokio::time::sleep(time) => {}
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kill {
                component,
                duration: None,
            } => write!(f, "{component} is killed"),
            Self::Kill {
                component,
                duration: Some(time),
            } => write!(
                f,
                "{component} is killed for {}",
                format_exact_duration(*time)
            ),
            Self::Pause {
                component,
                duration: time,
            } => {
                write!(
                    f,
                    "{component} is paused for {}",
                    format_exact_duration(*time)
                )
            }
            Self::Cut {
                component,
                duration: time,
            } => {
                write!(
                    f,
                    "{component} is disconnected from the network for {}",
                    format_exact_duration(*time)
                )
            }
            Self::Restart { component } => write!(f, "{component} is restarted"),
            Self::Disconnect => write!(f, "every connection to RabbitMQ is closed"),
            Self::Poison { queue } => write!(f, "{queue} gets a poison message"),
        }
    }
}
