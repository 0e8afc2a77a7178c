//! What the commands about events share: the ways to the stack's tables and queues, each
//! opened when it is first needed, and how a person says which events, and when.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use dm_components::gateway_secret;
use dm_components::keycloak::admin::Admin;
use dm_components::locks::{Blocked, Watch};
use dm_components::rabbitmq::management::Management;
use dm_components::{Ports, postgres, rabbitmq};
use dm_config::Config;
use dm_core::error::Result;
use dm_engine::Engine;
use dm_messaging::browse::Browser;
use dm_messaging::filter::Filter;
use dm_messaging::stores::{self, Store};
use dm_messaging::{MessagingError, broker};
use dm_terminal::Printer;
use lapin::Connection;
use sqlx::PgPool;

use super::context::{Context, Project, existing_ports};

/// The ways into a stack that runs.
pub struct Desk {
    /// The project.
    pub project: Project,
    /// The engine.
    pub engine: Engine,
    /// The instance's ports.
    pub ports: Ports,
    /// Over the sessions with the database.
    watch: Watch,
}

impl Desk {
    /// The ways into the instance that was named.
    ///
    /// # Errors
    /// No configuration, no engine.
    pub async fn open(context: &Context) -> Result<Self> {
        Self::of(context, context.project()?).await
    }

    /// The ways into a project's instance.
    ///
    /// # Errors
    /// No engine.
    pub async fn of(context: &Context, project: Project) -> Result<Self> {
        let engine = context.engine(project.config()).await?;
        let ports = existing_ports(&project, &engine).await?;
        let database = postgres::connect_options(&project.config().postgres, &ports);
        Ok(Self {
            project,
            engine,
            ports,
            watch: Watch::new(&database, "command"),
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
        Ok(gateway_secret::of(state, &self.project.instance)?)
    }

    /// The services' tables.
    pub fn stores(&self) -> Vec<Store> {
        stores::all(self.config())
    }

    /// The database, as its superuser.
    ///
    /// # Errors
    /// It is away.
    pub async fn database(&self) -> Result<PgPool> {
        let options = self.watch.options();
        // The server ends a wait that no watch ends.
        let lock = self.config().timeouts.lock.get().saturating_mul(2);
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
    pub async fn watched<T>(&self, work: impl Future<Output = T>) -> Result<T, Blocked> {
        let lock = self.config().timeouts.lock.get();
        self.watch.while_free(lock, work).await
    }

    /// The broker, as its administrator.
    ///
    /// # Errors
    /// It is away.
    pub async fn broker(&self) -> Result<Connection> {
        let uri = rabbitmq::uri(&self.config().rabbitmq, &self.ports);
        Ok(broker::connect(&uri).await?)
    }

    /// The broker with the dead letters in hand.
    ///
    /// # Errors
    /// It is away, or somebody else keeps them.
    pub async fn dead_letters(&self) -> Result<Connection> {
        let connection = self.broker().await?;
        broker::turn(&connection).await?;
        Ok(connection)
    }

    /// The broker with the dead letters in hand; nothing, and a warning, where it is away.
    ///
    /// # Errors
    /// Somebody else keeps them.
    pub async fn dead_letters_or_warn(&self, printer: &Printer) -> Result<Option<Connection>> {
        let connection = match self.broker().await {
            Ok(connection) => connection,
            Err(error) => {
                let why = error.chain().join(": ");
                printer.warn(&format!("what was set aside is not known: {why}"));
                return Ok(None);
            }
        };
        broker::turn(&connection).await?;
        Ok(Some(connection))
    }

    /// Keycloak at this address, as its administrator.
    pub fn keycloak<'a>(&'a self, base: &'a str) -> Admin<'a> {
        let config = &self.config().keycloak;
        Admin {
            base,
            realm: config.realm.as_str(),
            user: config.admin_user.as_str(),
            password: config.admin_password.reveal(),
        }
    }

    /// What shows the messages in the broker's queues without a delivery.
    pub fn browser(&self) -> Browser<'_> {
        Browser {
            engine: &self.engine,
            container: self.project.instance.container(rabbitmq::NAME),
        }
    }

    /// The broker's management interface.
    ///
    /// # Errors
    /// No client can be made.
    pub fn management(&self) -> Result<Management> {
        let settings = &self.config().rabbitmq;
        let base = rabbitmq::management_url(&self.ports);
        let (user, password) = (settings.user.as_str(), settings.password.reveal());
        Ok(Management::new(base, user, password).map_err(MessagingError::from)?)
    }
}

/// Which events of a table, and how many of them.
#[derive(Debug, Args)]
pub struct Which {
    /// Of this service; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub service: Vec<String>,
    /// Of this type or one that ends so, e.g. `order.created.v1`; may be repeated.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Vec<String>,
    /// Of this aggregate, e.g. `order/ord_9001`.
    #[arg(long, value_name = "SUBJECT", allow_hyphen_values = true)]
    aggregate: Option<String>,
    /// Of this trace.
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
    /// Written, or handled, since then: an instant such as `2026-02-03T10:00:00Z`, or how
    /// long ago, e.g. `2h`.
    #[arg(long, value_name = "WHEN", value_parser = instant)]
    since: Option<DateTime<Utc>>,
    /// Written, or handled, before then.
    #[arg(long, value_name = "WHEN", value_parser = instant)]
    until: Option<DateTime<Utc>>,
    /// So many.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

impl Which {
    /// What an event has to be like.
    pub fn filter(self) -> Filter {
        Filter {
            types: self.event_type,
            subject: self.aggregate,
            trace: self.trace,
            since: self.since,
            until: self.until,
        }
    }
}

/// An instant, or how long ago it was.
pub fn instant(text: &str) -> std::result::Result<DateTime<Utc>, String> {
    if let Some(instant) = dm_contracts::time::parse(text) {
        return Ok(instant);
    }
    let ago = humantime::parse_duration(text)
        .map_err(|_| "neither an instant such as 2026-02-03T10:00:00Z nor a time such as 2h")?;
    let ago = chrono::TimeDelta::from_std(ago).map_err(|error| error.to_string())?;
    Utc::now()
        .checked_sub_signed(ago)
        .ok_or_else(|| "too long ago".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_given_or_counted_back() {
        let given = instant("2026-02-03T10:00:00Z").unwrap();
        assert_eq!(given.to_rfc3339(), "2026-02-03T10:00:00+00:00");
        let ago = Utc::now() - instant("2h").unwrap();
        assert!((ago.num_seconds() - 7200).abs() < 60);
        for text in ["", "yesterday", "2026-02-03", "-1h", "99999999999y"] {
            assert!(instant(text).is_err(), "{text}");
        }
    }
}
