//! A fault: injection and recovery.

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

/// A fault to inject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Kills a component with SIGKILL, and starts it after `duration` if one is given.
    Kill {
        /// The component.
        component: String,
        /// The time until the restart. `None` for no restart.
        duration: Option<Duration>,
    },
    /// Pauses a component for a while. Its connections stay open.
    Pause {
        /// The component.
        component: String,
        /// The duration of the fault.
        duration: Duration,
    },
    /// Disconnects a component from the network for a while. Its connections stay half open.
    Cut {
        /// The component.
        component: String,
        /// The duration of the fault.
        duration: Duration,
    },
    /// Stops a component gracefully, and starts it again.
    Restart {
        /// The component.
        component: String,
    },
    /// Closes every connection to the broker.
    Disconnect,
    /// Publishes a message that no consumer can process to a work queue.
    Poison {
        /// The queue.
        queue: String,
    },
}

/// The result of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultOutcome {
    /// The component runs as before.
    Reverted,
    /// The fault persists until the component is started.
    NotReverted,
    /// The number of connections that were closed.
    ConnectionsClosed(usize),
    /// The id of the message that was published.
    PoisonPublished(String),
}

/// The resources for injecting a fault.
pub struct ChaosContext<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The instance.
    pub instance: &'a Instance,
    /// The timeout for stopping a component.
    pub stop_timeout: Duration,
    /// The connection to the broker, if a fault needs it.
    pub broker: Option<&'a Connection>,
    /// The management API of the broker.
    pub management: &'a ManagementClient,
    /// Ends the duration of a fault early.
    pub interrupt: &'a CancellationToken,
}

impl Fault {
    /// Returns the component that must be running.
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

    /// Injects the fault and, if it has a duration, reverts it afterwards. An interrupt ends
    /// the duration; the fault is still reverted.
    ///
    /// # Errors
    /// If the engine or the broker returns an error.
    pub async fn inject(&self, context: &ChaosContext<'_>) -> Result<FaultOutcome> {
        let engine = context.engine;
        match self {
            Self::Kill {
                component,
                duration,
            } => {
                let container = context.instance.container_name(component);
                engine.kill_container(&container, "SIGKILL").await?;
                let Some(duration) = duration else {
                    return Ok(FaultOutcome::NotReverted);
                };
                context.sleep_unless_interrupted(*duration).await;
                engine.start_container(&container).await?;
                Ok(FaultOutcome::Reverted)
            }
            Self::Pause {
                component,
                duration,
            } => {
                let container = context.instance.container_name(component);
                engine.pause_container(&container).await?;
                context.sleep_unless_interrupted(*duration).await;
                engine.unpause_container(&container).await?;
                Ok(FaultOutcome::Reverted)
            }
            Self::Cut {
                component,
                duration,
            } => {
                let container = context.instance.container_name(component);
                let network = context.instance.network_name();
                engine.disconnect_network(&container, &network).await?;
                context.sleep_unless_interrupted(*duration).await;
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
    async fn sleep_unless_interrupted(&self, duration: Duration) {
        tokio::select! {
            () = self.interrupt.cancelled() => {}
            () = tokio::time::sleep(duration) => {}
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
                duration: Some(duration),
            } => write!(
                f,
                "{component} is killed for {}",
                format_exact_duration(*duration)
            ),
            Self::Pause {
                component,
                duration,
            } => {
                write!(
                    f,
                    "{component} is paused for {}",
                    format_exact_duration(*duration)
                )
            }
            Self::Cut {
                component,
                duration,
            } => {
                write!(
                    f,
                    "{component} is disconnected from the network for {}",
                    format_exact_duration(*duration)
                )
            }
            Self::Restart { component } => write!(f, "{component} is restarted"),
            Self::Disconnect => write!(f, "every connection to RabbitMQ is closed"),
            Self::Poison { queue } => write!(f, "{queue} gets a poison message"),
        }
    }
}
