//! From a process to a service and back.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use sqlx::migrate::Migrator;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info};
use utoipa::openapi::InfoBuilder;
use utoipa_axum::router::OpenApiRouter;

use crate::broker::Broker;
use crate::database::{self, Database, SchemaError};
use crate::environment::{Environment, EnvironmentError};
use crate::http::{self, Around, DetailsStyle, Door, GatewaySecret, Health, Server};
use crate::inbox::{Consumer, Handler};
use crate::outbox::Relay;
use crate::retention::{self, Rest, Rule};
use crate::telemetry::{self, Metrics};
use crate::waker::Waker;

/// The exit code of a service that can't work as it is set up: trying again is no
/// use. The number is that of sysexits' `EX_CONFIG`.
const MISFIT: u8 = 78;

/// Threads that handle requests and events: there are seven services on a laptop.
const THREADS: usize = 2;

/// Where a service listens unless `SERVER_ADDRESS` says otherwise: on this machine alone.
/// A container has an address of its own, and says otherwise.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// How long to wait for the database at the start.
const PATIENCE: Duration = Duration::from_secs(60);

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a service is.
#[derive(Debug)]
pub struct Description {
    /// Its name, e.g. `order-service`.
    pub name: &'static str,
    /// The port it listens on unless `SERVER_PORT` says otherwise.
    pub port: u16,
    /// How it fills `details`.
    pub details: DetailsStyle,
}

/// The schema of a service and how it came about.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// Its name.
    pub name: &'static str,
    /// The migrations that this build needs, beside those of outbox and inbox.
    pub migrations: &'static Migrator,
}

/// What a service runs on.
pub struct Platform {
    /// The settings that are the service's own.
    pub environment: Environment,
    /// Its database.
    pub database: Database,
    /// What it counts.
    pub metrics: Metrics,
    name: &'static str,
    broker: Broker,
    health: Health,
    /// The database again, by connections that no request can take.
    inner: Database,
    tasks: Vec<Task>,
}

/// Something that runs until it is asked to stop.
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Platform {
    /// Consumes a work queue.
    pub fn consume<H: Handler>(&mut self, stop: &CancellationToken, queue: String, handler: H) {
        let site = crate::inbox::Site {
            service: self.name,
            database: self.inner.clone(),
            broker: self.broker.clone(),
            metrics: self.metrics.clone(),
        };
        let indicator = self.health.indicator("rabbit");
        let consumer = Consumer::new(site, queue, indicator, handler);
        self.tasks.push(Box::pin(consumer.run(stop.clone())));
    }
}

/// What a service adds to the kit.
pub struct Parts {
    /// Its routes.
    pub routes: OpenApiRouter,
    /// Which of its rows go, beside those of outbox and inbox.
    pub retention: Vec<Rule>,
}

/// Why a service can't start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A setting can't be used.
    #[error("could not read the settings: {0}")]
    Environment(#[from] EnvironmentError),
    /// The schema doesn't fit.
    #[error("could not use the schema: {0}")]
    Schema(#[from] SchemaError),
    /// The database is not there.
    #[error("could not query PostgreSQL: {0}")]
    Database(#[from] sqlx::Error),
    /// The port can't be had.
    #[error("could not listen: {0}")]
    Listen(#[from] std::io::Error),
    /// Something of the service's own.
    #[error("{0}")]
    Service(String),
}

impl StartError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Environment(_) | Self::Service(_) => MISFIT.into(),
            Self::Schema(SchemaError::Sql(_)) | Self::Database(_) | Self::Listen(_) => {
                ExitCode::FAILURE
            }
            Self::Schema(_) => MISFIT.into(),
        }
    }
}

/// Runs a service with a schema, an outbox and perhaps work queues until it is
/// asked to stop.
pub fn run<F>(description: &'static Description, schema: Schema, build: F) -> ExitCode
where
    F: AsyncFnOnce(&mut Platform, &CancellationToken) -> Result<Parts, StartError>,
{
    in_runtime(description, async |stop| {
        let mut environment = Environment::of_process();
        let address = address(&mut environment, description);
        let secret = GatewaySecret::of(&mut environment);
        let door = Door::of(&mut environment, description.name, Some(secret));
        let options = database::options(&mut environment, description.name);
        let connections = environment.get("POSTGRES_CONNECTIONS", 6);
        let inner_connections = environment.get("POSTGRES_INNER_CONNECTIONS", 6);
        let broker = Broker::of(&mut environment, description.name);
        let keep_outbox = environment.milliseconds("OUTBOX_RETENTION_MS", 30 * DAY);
        let keep_inbox = environment.milliseconds("INBOX_RETENTION_MS", 30 * DAY);
        environment.check()?;

        let pool = database::connect(options.clone(), connections, PATIENCE).await?;
        database::check_schema(&pool, schema.name, schema.migrations).await?;
        // Requests that take all connections must neither stop the events nor make the
        // service look as if its database were away.
        let inner = database::connect(options.clone(), inner_connections, PATIENCE).await?;
        let mut health = Health::default().with_database(inner.clone());
        let metrics = Metrics::default();
        let waker = Waker::default();
        let relay = Relay {
            schema: schema.name,
            database: options,
            broker: broker.clone(),
            indicator: health.indicator("rabbit"),
            metrics: metrics.clone(),
            waker: waker.clone(),
        };
        let mut platform = Platform {
            environment,
            database: Database::new(pool.clone(), waker.clone()),
            metrics: metrics.clone(),
            name: description.name,
            broker,
            health,
            inner: Database::new(inner.clone(), waker.clone()),
            tasks: vec![
                Box::pin(relay.run(stop.clone())),
                Box::pin(waker.carry(inner.clone(), schema.name, stop.clone())),
            ],
        };
        let parts = build(&mut platform, &stop).await?;
        platform.environment.check()?;

        let mut rules = parts.retention;
        rules.extend([
            Rule {
                table: "outbox_events",
                since: "published_at",
                keep: keep_outbox,
                // Consumers may handle it later than that: it stays known.
                rest: Some(Rest {
                    table: "forgotten_events",
                    column: "event_id",
                }),
            },
            Rule {
                table: "inbox_events",
                since: "processed_at",
                keep: keep_inbox,
                rest: None,
            },
            // Dead letters stay; what became of them is remembered as long as what was
            // handled.
            Rule {
                table: "failed_events",
                since: "resolved_at",
                keep: keep_inbox,
                rest: None,
            },
        ]);
        let tracker = TaskTracker::new();
        for task in platform.tasks {
            tracker.spawn(task);
        }
        tracker.spawn(retention::run(inner.clone(), rules, stop.clone()));
        let server = server(description, parts.routes, platform.health, metrics, door);
        http::serve(server.into_router(), address, stop.clone()).await?;
        tracker.close();
        tracker.wait().await;
        pool.close().await;
        inner.close().await;
        Ok(())
    })
}

/// What a service that keeps nothing adds to the kit.
pub struct Front {
    /// Its routes.
    pub routes: OpenApiRouter,
    /// Lays its middleware around all routes: those of the kit, and the answers to
    /// unknown paths and verbs, too. Trace headers and the error envelope are
    /// outside of it.
    pub around: Around,
}

/// Runs a service that keeps nothing until it is asked to stop. Its streams are to
/// end when the token says so.
pub fn run_stateless<F>(description: &'static Description, build: F) -> ExitCode
where
    F: AsyncFnOnce(&mut Environment, &CancellationToken) -> Result<Front, StartError>,
{
    in_runtime(description, async |stop| {
        let mut environment = Environment::of_process();
        let address = address(&mut environment, description);
        // It has its own ways to tell who calls.
        let door = Door::of(&mut environment, description.name, None);
        let front = build(&mut environment, &stop).await?;
        environment.check()?;
        let mut server = server(
            description,
            front.routes,
            Health::default(),
            Metrics::default(),
            door,
        );
        server.around = front.around;
        http::serve(server.into_router(), address, stop).await?;
        Ok(())
    })
}

/// Where a service listens.
fn address(environment: &mut Environment, description: &Description) -> SocketAddr {
    let address = environment.get("SERVER_ADDRESS", LOOPBACK);
    SocketAddr::new(address, environment.get("SERVER_PORT", description.port))
}

fn server(
    description: &Description,
    routes: OpenApiRouter,
    health: Health,
    metrics: Metrics,
    door: Door,
) -> Server {
    let (routes, mut api) = routes.split_for_parts();
    api.info = InfoBuilder::new()
        .title(description.name)
        .version(env!("CARGO_PKG_VERSION"))
        .build();
    http::complete(&mut api);
    Server {
        routes,
        api,
        health,
        details: description.details,
        metrics,
        around: Box::new(|router| router),
        door,
    }
}

fn in_runtime<F>(description: &Description, service: F) -> ExitCode
where
    F: AsyncFnOnce(CancellationToken) -> Result<(), StartError>,
{
    telemetry::init_logs();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(cause) => {
            error!(%cause, "could not start the async runtime");
            return ExitCode::FAILURE;
        }
    };
    let name = description.name;
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        let (asked, patience) = (stop.clone(), stop.clone());
        tokio::spawn(async move {
            if terminated().await.is_ok() {
                info!("stopping");
                asked.cancel();
            }
        });
        let working = service(stop);
        tokio::select! {
            ended = working => ended,
            // What doesn't end by itself must not wait for the kill.
            () = async {
                patience.cancelled().await;
                tokio::time::sleep(Duration::from_secs(9)).await;
            } => Ok(()),
        }
    });
    runtime.shutdown_timeout(Duration::from_millis(200));
    match ended {
        Ok(()) => {
            info!(name, "stopped");
            ExitCode::SUCCESS
        }
        Err(cause) => {
            error!(name, %cause, "could not start");
            cause.exit_code()
        }
    }
}

/// Waits for the signal of `docker stop`, or of a terminal.
async fn terminated() -> std::io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
