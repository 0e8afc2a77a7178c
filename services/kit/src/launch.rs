//! Start and stop of a service process.

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
use crate::database::{self, Database, Lists, SchemaCheckError};
use crate::environment::{Environment, EnvironmentError};
use crate::http::{
    self, AccessGuard, DetailsStyle, GatewaySecret, HttpServer, Middleware, ServiceHealth,
};
use crate::inbox::{Consumer, EventHandler};
use crate::outbox::Relay;
use crate::relay_notifier::RelayNotifier;
use crate::retention::{self, RetentionRule, Tombstone};
use crate::telemetry::{self, Metrics};

/// The exit code of a service that cannot work with its configuration, so that a restart does
/// not help: `EX_CONFIG` of sysexits.
const EX_CONFIG: u8 = 78;

/// Threads for requests and events. The number is small, since seven services share one machine.
const WORKER_THREADS: usize = 2;

/// The default of `SERVER_ADDRESS`: only reachable from this machine. In a container it is set
/// to another address.
const DEFAULT_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Maximum time to wait for the database at the start.
const DATABASE_START_TIMEOUT: Duration = Duration::from_secs(60);

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Name and defaults of a service.
#[derive(Debug)]
pub struct ServiceInfo {
    /// Name of the service, e.g. `order-service`.
    pub name: &'static str,
    /// Default of `SERVER_PORT`.
    pub port: u16,
    /// Form of `details` in errors without issues.
    pub details_style: DetailsStyle,
}

/// The schema of a service and its migrations.
#[derive(Debug, Clone, Copy)]
pub struct ServiceSchema {
    /// Name of the schema.
    pub name: &'static str,
    /// The migrations that this build requires, in addition to those of outbox and inbox.
    pub migrations: &'static Migrator,
}

/// The resources that the kit provides to a service.
pub struct Platform {
    /// The environment, for the service's own settings.
    pub environment: Environment,
    /// The database of the service.
    pub database: Database,
    /// The metrics of the service.
    pub metrics: Metrics,
    name: &'static str,
    broker: BrokerConnector,
    health: ServiceHealth,
    /// The same database with connections that requests cannot use.
    internal_database: Database,
    tasks: Vec<BackgroundTask>,
}

/// A task that runs until the service stops.
type BackgroundTask = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Platform {
    /// Consumes a work queue.
    pub fn consume<H: EventHandler>(
        &mut self,
        stop: &CancellationToken,
        queue: String,
        handler: H,
    ) {
        let context = crate::inbox::ConsumerContext {
            service: self.name,
            database: self.internal_database.clone(),
            broker: self.broker.clone(),
            metrics: self.metrics.clone(),
        };
        let indicator = self.health.indicator("rabbit");
        let consumer = Consumer::new(context, queue, indicator, handler);
        self.tasks.push(Box::pin(consumer.run(stop.clone())));
    }
}

/// Routes and retention rules of a service.
pub struct ServiceParts {
    /// The routes of the service.
    pub routes: OpenApiRouter,
    /// Retention rules of its tables, in addition to those of outbox and inbox.
    pub retention: Vec<RetentionRule>,
}

/// An error that prevents the start of a service.
#[derive(Debug, Error)]
pub enum StartError {
    /// A setting is missing or not valid.
    #[error("could not read the settings: {0}")]
    Environment(#[from] EnvironmentError),
    /// The schema does not match this build.
    #[error("could not use the schema: {0}")]
    Schema(#[from] SchemaCheckError),
    /// The database is not available.
    #[error("could not query PostgreSQL: {0}")]
    Database(#[from] sqlx::Error),
    /// The address is not available.
    #[error("could not listen: {0}")]
    Listen(#[from] std::io::Error),
    /// An error of the service itself.
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

/// Runs a service with a schema, an outbox and optional work queues, until the process is
/// asked to stop.
pub fn run<F>(service_info: &'static ServiceInfo, schema: ServiceSchema, build: F) -> ExitCode
where
    F: AsyncFnOnce(&mut Platform, &CancellationToken) -> Result<ServiceParts, StartError> + 'static,
{
    run_with_schema(
        service_info,
        schema,
        Box::new(|platform, stop| Box::pin(async move { build(platform, stop).await })),
    )
}

/// Builds a service. The type is erased, so that the compiler generates the code of the kit
/// once, in the kit, and not once more in each service.
type Build<Resources, Parts> = Box<
    dyn for<'a> FnOnce(
        &'a mut Resources,
        &'a CancellationToken,
    ) -> Pin<Box<dyn Future<Output = Result<Parts, StartError>> + 'a>>,
>;

fn run_with_schema(
    service_info: &'static ServiceInfo,
    schema: ServiceSchema,
    build: Build<Platform, ServiceParts>,
) -> ExitCode {
    run_in_runtime(service_info, async |stop| {
        let mut environment = Environment::from_env();
        let address = listen_address(&mut environment, service_info);
        let secret = GatewaySecret::from_env(&mut environment);
        let guard = AccessGuard::from_env(&mut environment, service_info.name, Some(secret));
        let options = database::connect_options(&mut environment, service_info.name);
        let connections = environment.get("POSTGRES_CONNECTIONS", 6);
        let internal_connections = environment.get("POSTGRES_INNER_CONNECTIONS", 6);
        let list_connections = environment.get("POSTGRES_LIST_CONNECTIONS", 2);
        let max_list_rows = environment.get("LIST_MAX_ROWS", Lists::DEFAULT_MAX_ROWS);
        let broker = BrokerConnector::from_env(&mut environment, service_info.name);
        let outbox_retention = environment.milliseconds("OUTBOX_RETENTION_MS", 30 * DAY);
        let inbox_retention = environment.milliseconds("INBOX_RETENTION_MS", 30 * DAY);
        environment.check()?;

        let pool = database::connect(options.clone(), connections, DATABASE_START_TIMEOUT).await?;
        database::check_schema(&pool, schema.name, schema.migrations).await?;
        // Requests that use all connections must neither stop the events nor make the health
        // check of the database fail.
        let internal_pool = database::connect(
            options.clone(),
            internal_connections,
            DATABASE_START_TIMEOUT,
        )
        .await?;
        // Clients that read long lists must not make other requests wait.
        let list_pool =
            database::connect(options.clone(), list_connections, DATABASE_START_TIMEOUT).await?;
        let lists = Lists::new(list_pool.clone(), max_list_rows);
        let mut health = ServiceHealth::default().with_database(internal_pool.clone());
        let metrics = Metrics::default();
        let notifier = RelayNotifier::default();
        let relay = Relay {
            schema: schema.name,
            database: options,
            broker: broker.clone(),
            indicator: health.indicator("rabbit"),
            metrics: metrics.clone(),
            notifier: notifier.clone(),
        };
        let mut platform = Platform {
            environment,
            database: Database::new(pool.clone(), notifier.clone(), lists.clone()),
            metrics: metrics.clone(),
            name: service_info.name,
            broker,
            health,
            internal_database: Database::new(internal_pool.clone(), notifier.clone(), lists),
            tasks: vec![
                Box::pin(relay.run(stop.clone())),
                Box::pin(notifier.forward_remote(internal_pool.clone(), schema.name, stop.clone())),
            ],
        };
        let parts = build(&mut platform, &stop).await?;
        platform.environment.check()?;

        let mut rules = parts.retention;
        rules.extend([
            RetentionRule {
                table: "outbox_events",
                timestamp_column: "published_at",
                retention: outbox_retention,
                // A consumer may process the event later: its id stays known.
                tombstone: Some(Tombstone {
                    table: "forgotten_events",
                    column: "event_id",
                }),
            },
            RetentionRule {
                table: "inbox_events",
                timestamp_column: "processed_at",
                retention: inbox_retention,
                tombstone: None,
            },
            // Unresolved dead letters are kept. Resolved ones are kept as long as processed
            // events.
            RetentionRule {
                table: "failed_events",
                timestamp_column: "resolved_at",
                retention: inbox_retention,
                tombstone: None,
            },
        ]);
        let tracker = TaskTracker::new();
        for task in platform.tasks {
            tracker.spawn(task);
        }
        tracker.spawn(retention::run(internal_pool.clone(), rules, stop.clone()));
        let server = build_server(service_info, parts.routes, platform.health, metrics, guard);
        http::serve(server.into_router(), address, stop.clone()).await?;
        tracker.close();
        tracker.wait().await;
        pool.close().await;
        internal_pool.close().await;
        list_pool.close().await;
        Ok(())
    })
}

/// Routes and middleware of a service without a schema.
pub struct StatelessServiceParts {
    /// The routes of the service.
    pub routes: OpenApiRouter,
    /// Adds the middleware around all routes, including those of the kit and the responses to
    /// unknown paths and methods. Trace headers and the error envelope are added outside of it.
    pub middleware: Middleware,
}

/// Runs a service without a schema until the process is asked to stop. Its streams must end
/// when the token is cancelled.
pub fn run_stateless<F>(service_info: &'static ServiceInfo, build: F) -> ExitCode
where
    F: AsyncFnOnce(
            &mut Environment,
            &CancellationToken,
        ) -> Result<StatelessServiceParts, StartError>
        + 'static,
{
    run_without_schema(
        service_info,
        Box::new(|environment, stop| Box::pin(async move { build(environment, stop).await })),
    )
}

fn run_without_schema(
    service_info: &'static ServiceInfo,
    build: Build<Environment, StatelessServiceParts>,
) -> ExitCode {
    run_in_runtime(service_info, async |stop| {
        let mut environment = Environment::from_env();
        let address = listen_address(&mut environment, service_info);
        // The service itself identifies its callers.
        let guard = AccessGuard::from_env(&mut environment, service_info.name, None);
        let parts = build(&mut environment, &stop).await?;
        environment.check()?;
        let mut server = build_server(
            service_info,
            parts.routes,
            ServiceHealth::default(),
            Metrics::default(),
            guard,
        );
        server.middleware = parts.middleware;
        http::serve(server.into_router(), address, stop).await?;
        Ok(())
    })
}

/// Returns the address to listen on.
fn listen_address(environment: &mut Environment, service_info: &ServiceInfo) -> SocketAddr {
    let address = environment.get("SERVER_ADDRESS", DEFAULT_ADDRESS);
    SocketAddr::new(address, environment.get("SERVER_PORT", service_info.port))
}

fn build_server(
    service_info: &ServiceInfo,
    routes: OpenApiRouter,
    health: ServiceHealth,
    metrics: Metrics,
    guard: AccessGuard,
) -> HttpServer {
    let (routes, mut api) = routes.split_for_parts();
    api.info = InfoBuilder::new()
        .title(service_info.name)
        .version(env!("CARGO_PKG_VERSION"))
        .build();
    http::add_common_responses(&mut api);
    if guard.requires_secret() {
        http::add_gateway_secret(&mut api);
    }
    HttpServer {
        routes,
        api,
        health,
        details_style: service_info.details_style,
        metrics,
        middleware: Box::new(|router| router),
        guard,
    }
}

fn run_in_runtime<F>(service_info: &ServiceInfo, service: F) -> ExitCode
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
            error!(error.message = %cause, "could not start the async runtime");
            return ExitCode::FAILURE;
        }
    };
    let name = service_info.name;
    let result = runtime.block_on(async {
        let stop = CancellationToken::new();
        let (stop_on_signal, drain_deadline) = (stop.clone(), stop.clone());
        tokio::spawn(async move {
            if wait_for_termination().await.is_ok() {
                info!("received a stop signal; stopping");
                stop_on_signal.cancel();
            }
        });
        let running = service(stop);
        tokio::select! {
            result = running => result,
            // Ends everything that is left before `docker stop` kills the process.
            () = async {
                drain_deadline.cancelled().await;
                tokio::time::sleep(Duration::from_secs(9)).await;
            } => Ok(()),
        }
    });
    runtime.shutdown_timeout(Duration::from_millis(200));
    match result {
        Ok(()) => {
            info!(service.name = name, "service stopped");
            ExitCode::SUCCESS
        }
        Err(cause) => {
            error!(service.name = name, error.message = %cause, "could not start the service");
            cause.exit_code()
        }
    }
}

/// Waits for `SIGTERM`, as from `docker stop`, or for `SIGINT`.
async fn wait_for_termination() -> std::io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: ServiceInfo = ServiceInfo {
        name: "order-service",
        port: 8093,
        details_style: DetailsStyle::Absent,
    };

    #[test]
    fn service_listens_only_on_this_machine_unless_server_address_is_set() {
        let address = |variables: &[(&str, &str)]| {
            let mut environment: Environment = variables
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            let address = listen_address(&mut environment, &SERVICE);
            environment.check().map(|()| address.to_string())
        };
        assert_eq!(address(&[]).unwrap(), "127.0.0.1:8093");
        assert_eq!(
            address(&[("SERVER_ADDRESS", "0.0.0.0"), ("SERVER_PORT", "9000")]).unwrap(),
            "0.0.0.0:9000"
        );
        assert_eq!(address(&[("SERVER_ADDRESS", "::1")]).unwrap(), "[::1]:8093");
        assert!(address(&[("SERVER_ADDRESS", "everywhere")]).is_err());
    }
}
