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

use crate::broker::BrokerConnector;
use crate::database::{self, Database, SchemaCheckError};
use crate::environment::{Environment, EnvironmentError};
use crate::http::{
    self, AccessGuard, DetailsStyle, GatewaySecret, HttpServer, Middleware, ServiceHealth,
};
use crate::inbox::{Consumer, EventHandler};
use crate::outbox::Relay;
use crate::relay_notifier::RelayNotifier;
use crate::retention::{self, RetentionRule, Tombstone};
use crate::telemetry::{self, Metrics};

/// The exit code of a service that can't work as it is set up: trying again is no
/// use. The number is that of sysexits' `EX_CONFIG`.
const EX_CONFIG: u8 = 78;

/// Threads that handle requests and events: there are seven services on a laptop.
const WORKER_THREADS: usize = 2;

/// Where a service listens unless `SERVER_ADDRESS` says otherwise: on this machine alone.
/// A container has an address of its own, and says otherwise.
const DEFAULT_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// How long to wait for the database at the start.
const DATABASE_START_TIMEOUT: Duration = Duration::from_secs(60);

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a service is.
#[derive(Debug)]
pub struct ServiceInfo {
    /// Its name, e.g. `order-service`.
    pub name: &'static str,
    /// The port it listens on unless `SERVER_PORT` says otherwise.
    pub port: u16,
    /// How it fills `details`.
    pub details_style: DetailsStyle,
}

/// The schema of a service and how it came about.
#[derive(Debug, Clone, Copy)]
pub struct ServiceSchema {
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
    broker: BrokerConnector,
    health: ServiceHealth,
    /// The database again, by connections that no request can take.
    internal_database: Database,
    tasks: Vec<BackgroundTask>,
}

/// Something that runs until it is asked to stop.
type BackgroundTask = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Platform {
    /// Consumes a work queue.
    pub fn consume<H: EventHandler>(
        &mut self,
        stop: &CancellationToken,
        queue: String,
        handler: H,
    ) {
        let site = crate::inbox::ConsumerContext {
            service: self.name,
            database: self.internal_database.clone(),
            broker: self.broker.clone(),
            metrics: self.metrics.clone(),
        };
        let indicator = self.health.indicator("rabbit");
        let consumer = Consumer::new(site, queue, indicator, handler);
        self.tasks.push(Box::pin(consumer.run(stop.clone())));
    }
}

/// What a service adds to the kit.
pub struct ServiceParts {
    /// Its routes.
    pub routes: OpenApiRouter,
    /// Which of its rows go, beside those of outbox and inbox.
    pub retention: Vec<RetentionRule>,
}

/// Why a service can't start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A setting can't be used.
    #[error("could not read the settings: {0}")]
    Environment(#[from] EnvironmentError),
    /// The schema doesn't fit.
    #[error("could not use the schema: {0}")]
    Schema(#[from] SchemaCheckError),
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
            Self::Environment(_) | Self::Service(_) => EX_CONFIG.into(),
            Self::Schema(SchemaCheckError::Database(_)) | Self::Database(_) | Self::Listen(_) => {
                ExitCode::FAILURE
            }
            Self::Schema(_) => EX_CONFIG.into(),
        }
    }
}

/// Runs a service with a schema, an outbox and perhaps work queues until it is
/// asked to stop.
pub fn run<F>(description: &'static ServiceInfo, schema: ServiceSchema, build: F) -> ExitCode
where
    F: AsyncFnOnce(&mut Platform, &CancellationToken) -> Result<ServiceParts, StartError>,
{
    run_in_runtime(description, async |stop| {
        let mut environment = Environment::from_env();
        let address = listen_address(&mut environment, description);
        let secret = GatewaySecret::from_env(&mut environment);
        let door = AccessGuard::from_env(&mut environment, description.name, Some(secret));
        let options = database::connect_options(&mut environment, description.name);
        let connections = environment.get("POSTGRES_CONNECTIONS", 6);
        let inner_connections = environment.get("POSTGRES_INNER_CONNECTIONS", 6);
        let broker = BrokerConnector::from_env(&mut environment, description.name);
        let keep_outbox = environment.milliseconds("OUTBOX_RETENTION_MS", 30 * DAY);
        let keep_inbox = environment.milliseconds("INBOX_RETENTION_MS", 30 * DAY);
        environment.check()?;

        let pool = database::connect(options.clone(), connections, DATABASE_START_TIMEOUT).await?;
        database::check_schema(&pool, schema.name, schema.migrations).await?;
        // Requests that take all connections must neither stop the events nor make the
        // service look as if its database were away.
        let inner =
            database::connect(options.clone(), inner_connections, DATABASE_START_TIMEOUT).await?;
        let mut health = ServiceHealth::default().with_database(inner.clone());
        let metrics = Metrics::default();
        let waker = RelayNotifier::default();
        let relay = Relay {
            schema: schema.name,
            database: options,
            broker: broker.clone(),
            indicator: health.indicator("rabbit"),
            metrics: metrics.clone(),
            notifier: waker.clone(),
        };
        let mut platform = Platform {
            environment,
            database: Database::new(pool.clone(), waker.clone()),
            metrics: metrics.clone(),
            name: description.name,
            broker,
            health,
            internal_database: Database::new(inner.clone(), waker.clone()),
            tasks: vec![
                Box::pin(relay.run(stop.clone())),
                Box::pin(waker.forward_remote(inner.clone(), schema.name, stop.clone())),
            ],
        };
        let parts = build(&mut platform, &stop).await?;
        platform.environment.check()?;

        let mut rules = parts.retention;
        rules.extend([
            RetentionRule {
                table: "outbox_events",
                timestamp_column: "published_at",
                retention: keep_outbox,
                // Consumers may handle it later than that: it stays known.
                tombstone: Some(Tombstone {
                    table: "forgotten_events",
                    column: "event_id",
                }),
            },
            RetentionRule {
                table: "inbox_events",
                timestamp_column: "processed_at",
                retention: keep_inbox,
                tombstone: None,
            },
            // Dead letters stay; what became of them is remembered as long as what was
            // handled.
            RetentionRule {
                table: "failed_events",
                timestamp_column: "resolved_at",
                retention: keep_inbox,
                tombstone: None,
            },
        ]);
        let tracker = TaskTracker::new();
        for task in platform.tasks {
            tracker.spawn(task);
        }
        tracker.spawn(retention::run(inner.clone(), rules, stop.clone()));
        let server = build_server(description, parts.routes, platform.health, metrics, door);
        http::serve(server.into_router(), address, stop.clone()).await?;
        tracker.close();
        tracker.wait().await;
        pool.close().await;
        inner.close().await;
        Ok(())
    })
}

/// What a service that keeps nothing adds to the kit.
pub struct StatelessServiceParts {
    /// Its routes.
    pub routes: OpenApiRouter,
    /// Lays its middleware around all routes: those of the kit, and the answers to
    /// unknown paths and verbs, too. Trace headers and the error envelope are
    /// outside of it.
    pub middleware: Middleware,
}

/// Runs a service that keeps nothing until it is asked to stop. Its streams are to
/// end when the token says so.
pub fn run_stateless<F>(description: &'static ServiceInfo, build: F) -> ExitCode
where
    F: AsyncFnOnce(
        &mut Environment,
        &CancellationToken,
    ) -> Result<StatelessServiceParts, StartError>,
{
    run_in_runtime(description, async |stop| {
        let mut environment = Environment::from_env();
        let address = listen_address(&mut environment, description);
        // It has its own ways to tell who calls.
        let door = AccessGuard::from_env(&mut environment, description.name, None);
        let front = build(&mut environment, &stop).await?;
        environment.check()?;
        let mut server = build_server(
            description,
            front.routes,
            ServiceHealth::default(),
            Metrics::default(),
            door,
        );
        server.middleware = front.middleware;
        http::serve(server.into_router(), address, stop).await?;
        Ok(())
    })
}

/// Where a service listens.
fn listen_address(environment: &mut Environment, description: &ServiceInfo) -> SocketAddr {
    let address = environment.get("SERVER_ADDRESS", DEFAULT_ADDRESS);
    SocketAddr::new(address, environment.get("SERVER_PORT", description.port))
}

fn build_server(
    description: &ServiceInfo,
    routes: OpenApiRouter,
    health: ServiceHealth,
    metrics: Metrics,
    door: AccessGuard,
) -> HttpServer {
    let (routes, mut api) = routes.split_for_parts();
    api.info = InfoBuilder::new()
        .title(description.name)
        .version(env!("CARGO_PKG_VERSION"))
        .build();
    http::add_common_responses(&mut api);
    HttpServer {
        routes,
        api,
        health,
        details_style: description.details_style,
        metrics,
        middleware: Box::new(|router| router),
        guard: door,
    }
}

fn run_in_runtime<F>(description: &ServiceInfo, service: F) -> ExitCode
where
    F: AsyncFnOnce(CancellationToken) -> Result<(), StartError>,
{
    telemetry::init_logs();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
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
            if wait_for_termination().await.is_ok() {
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
async fn wait_for_termination() -> std::io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
