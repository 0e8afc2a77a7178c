//! A fault: how it is done and undone.

use std::time::Duration;

use dm_components::rabbitmq::management::Management;
use dm_config::values::words;
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
        time: Option<Duration>,
    },
    /// A component stands still for a while, with its connections open.
    Pause {
        /// The component.
        component: String,
        /// For how long.
        time: Duration,
    },
    /// A component is off the network for a while: its connections stay half open.
    Cut {
        /// The component.
        component: String,
        /// For how long.
        time: Duration,
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
pub enum Broken {
    /// It is as it was before.
    Mended,
    /// It stays so until somebody brings it up.
    Left,
    /// So many connections were ended.
    Connections(usize),
    /// The message with this id is in the queue.
    Poisoned(String),
}

/// What a fault is done to.
pub struct Site<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The instance.
    pub instance: &'a Instance,
    /// How long a component may take to stop.
    pub grace: Duration,
    /// The broker, where a fault needs it.
    pub broker: Option<&'a Connection>,
    /// The broker's management.
    pub management: &'a Management,
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
    pub async fn inject(&self, site: &Site<'_>) -> Result<Broken> {
        let engine = site.engine;
        match self {
            Self::Kill { component, time } => {
                let container = site.instance.container(component);
                engine.kill(&container, "SIGKILL").await?;
                let Some(time) = time else {
                    return Ok(Broken::Left);
                };
                site.rest(*time).await;
                engine.start(&container).await?;
                Ok(Broken::Mended)
            }
            Self::Pause { component, time } => {
                let container = site.instance.container(component);
                engine.pause(&container).await?;
                site.rest(*time).await;
                engine.unpause(&container).await?;
                Ok(Broken::Mended)
            }
            Self::Cut { component, time } => {
                let container = site.instance.container(component);
                let network = site.instance.network();
                engine.disconnect(&container, &network).await?;
                site.rest(*time).await;
                engine.connect_as(&container, &network, component).await?;
                Ok(Broken::Mended)
            }
            Self::Restart { component } => {
                let container = site.instance.container(component);
                engine.stop(&container, site.grace).await?;
                engine.start(&container).await?;
                Ok(Broken::Mended)
            }
            Self::Disconnect => Ok(Broken::Connections(
                site.management
                    .close_all()
                    .await
                    .map_err(MessagingError::from)?,
            )),
            Self::Poison { queue } => {
                let Some(broker) = site.broker else {
                    return Ok(Broken::Left);
                };
                Ok(Broken::Poisoned(poison::poison(broker, queue).await?))
            }
        }
    }
}

impl Site<'_> {
    async fn rest(&self, time: Duration) {
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
                time: None,
            } => write!(f, "{component} is killed"),
            Self::Kill {
                component,
                time: Some(time),
            } => write!(f, "{component} is killed for {}", words(*time)),
            Self::Pause { component, time } => {
                write!(f, "{component} is paused for {}", words(*time))
            }
            Self::Cut { component, time } => {
                write!(
                    f,
                    "{component} is disconnected from the network for {}",
                    words(*time)
                )
            }
            Self::Restart { component } => write!(f, "{component} is restarted"),
            Self::Disconnect => write!(f, "every connection to RabbitMQ is closed"),
            Self::Poison { queue } => write!(f, "{queue} gets a poison message"),
        }
    }
}
