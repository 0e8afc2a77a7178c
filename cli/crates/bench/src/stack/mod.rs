//! The suites `services`, `events` and `data`: benchmarks of the services, and of the commands of
//! `dm` for events and data, on a scratch stack.
//!
//! ```text
//! http_load          sends requests in closed loops
//! gateway            requests through the gateway, compared with direct requests
//! relay              from a commit to the broker
//! orders             from an order to its reservation
//! lists              pages of a million orders, and clients that read them
//! service_processes  memory, and the time until ready
//! dead_letters       lists and replays dead letters
//! large_tables       lists and relays events beside a million published ones
//! recovery           from the return of a server to a reserved order
//! data               seeds, backups and schemas
//! reset              a reset, on a separate instance
//! measured_command   runs a command of `dm` and measures it
//! ```

mod data;
mod dead_letters;
mod gateway;
mod http_load;
mod large_tables;
mod lists;
mod measured_command;
mod orders;
mod recovery;
mod relay;
mod reset;
mod service_processes;

use clap::ValueEnum;
use dm_bench_request::{DataCase, EventsCase, ServicesCase};
use dm_components::{HostPorts, rabbitmq};
use dm_config::Config;
use dm_core::error::Result;
use dm_engine::Engine;
use dm_gateway_client::StackEndpoints;
use dm_operations::StackClients;
use tokio_util::sync::CancellationToken;

use crate::command::DmCommand;
use crate::error::BenchError;
use crate::metric::Metric;
use crate::rounds::{BenchRound, BenchSuite};
use crate::statistics::percentile;
use crate::{BENCH_INSTANCE, BenchContext};

/// A case that is measured on a running stack.
pub(crate) trait StackCase: Copy + PartialEq + ValueEnum + Send + Sync + 'static {
    /// Measures the case once.
    async fn measure(self, stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>>;
}

impl StackCase for ServicesCase {
    async fn measure(self, stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>> {
        Ok(match self {
            Self::Ready => service_processes::measure_readiness(stack).await?,
            Self::Gateway => gateway::measure(stack).await?,
            Self::Orders => orders::measure(stack).await?,
            Self::Relay => relay::measure_latency(stack).await?,
            Self::Throughput => relay::measure_throughput(stack).await?,
            Self::Lists => lists::measure(stack).await?,
            Self::Memory => service_processes::measure_memory(stack).await?,
        })
    }
}

impl StackCase for EventsCase {
    async fn measure(self, stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>> {
        match self {
            Self::Replay => dead_letters::measure_replay(stack).await,
            Self::DeadLetters => dead_letters::measure_listing(stack).await,
            Self::Recovery => recovery::measure(stack).await,
            Self::LargeTables => large_tables::measure_listing(stack).await,
            Self::LargeOutbox => large_tables::measure_relay_rate(stack).await,
        }
    }
}

impl StackCase for DataCase {
    async fn measure(self, stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>> {
        match self {
            Self::Seed => data::measure_seed(stack).await,
            Self::Schema => data::measure_schema_diff(stack).await,
            Self::Backup => data::measure_backup(stack).await,
            Self::Reset => reset::measure(stack).await,
        }
    }
}

/// A suite of cases on a running stack.
pub(crate) struct StackSuite<'a, C> {
    context: &'a BenchContext,
    name: &'static str,
    cases: Vec<C>,
    /// The password of the users who sign in.
    password: String,
    dm: DmCommand,
    /// The name of the scratch instance.
    instance: String,
}

/// The scratch stack, with its clients.
pub(crate) struct BenchStack<'a> {
    context: &'a BenchContext,
    dm: DmCommand,
    clients: StackClients,
    endpoints: StackEndpoints,
    database: sqlx::PgPool,
    broker_uri: String,
}

impl BenchStack<'_> {
    fn config(&self) -> &Config {
        self.clients.config()
    }

    fn engine(&self) -> &Engine {
        &self.clients.engine
    }

    fn ports(&self) -> &HostPorts {
        &self.clients.ports
    }

    /// Returns the name of the instance.
    fn instance(&self) -> &str {
        &self.clients.project.instance.name
    }

    /// Returns the name of the container of a component.
    fn container(&self, component: &str) -> String {
        self.clients.project.instance.container_name(component)
    }

    /// Vacuums a table and makes a checkpoint, so that earlier writes do not slow a measurement
    /// down.
    async fn vacuum_and_checkpoint(&self, table: &str) -> Result<(), BenchError> {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("VACUUM (ANALYZE) {table}")))
            .execute(&self.database)
            .await?;
        sqlx::raw_sql("CHECKPOINT").execute(&self.database).await?;
        Ok(())
    }
}

impl<'a, C> StackSuite<'a, C> {
    /// Creates a suite.
    pub(crate) fn new(
        context: &'a BenchContext,
        name: &'static str,
        cases: Vec<C>,
        password: String,
    ) -> Self {
        let mut overrides = context.overrides();
        // The default delay is for demos.
        overrides.push("services.inventory.environment.STOCK_RESULT_PACE_MS=0".to_owned());
        Self {
            dm: context.dm_command(overrides),
            context,
            name,
            cases,
            password,
            instance: format!("{BENCH_INSTANCE}-services"),
        }
    }
}

impl<'a, C: StackCase> BenchSuite for StackSuite<'a, C> {
    type Fixture = BenchStack<'a>;

    fn name(&self) -> &'static str {
        self.name
    }

    async fn prepare(&self) -> Result<BenchStack<'a>> {
        let session = &self.context.session;
        let note = "starting the stack (not measured)";
        session.frontend.note(note);
        let up = self
            .dm
            .run_on_instance(&self.instance, &["up"], &session.interrupt);
        up.await?;
        let project = session
            .without_warnings()
            .project_for_instance(&self.instance)?;
        let clients = StackClients::for_project(session, project).await?;
        let config = clients.config();
        let options =
            dm_components::postgres::superuser_connect_options(&config.postgres, &clients.ports);
        let database = sqlx::postgres::PgPoolOptions::new()
            .max_connections(4)
            .connect_with(options)
            .await
            .map_err(BenchError::from)?;
        let endpoints = StackEndpoints::new(
            &clients.ports,
            config.keycloak.realm.as_str(),
            &self.password,
            config.services.all().map(|(name, _)| name),
        )
        .with_gateway_secret(clients.gateway_secret()?);
        Ok(BenchStack {
            context: self.context,
            dm: self.dm.clone(),
            endpoints,
            broker_uri: rabbitmq::admin_uri(&config.rabbitmq, &clients.ports),
            database,
            clients,
        })
    }

    async fn measure(&self, stack: &BenchStack<'a>, round: &mut BenchRound<'_>) -> Result<()> {
        for case in &self.cases {
            let values = tokio::select! {
                () = self.context.session.interrupt.cancelled() => {
                    return Err(BenchError::Interrupted.into());
                }
                values = case.measure(stack) => values?,
            };
            round.record(values);
        }
        Ok(())
    }

    async fn remove_stacks(&self) -> Result<()> {
        for instance in [&reset::reset_instance_name(&self.instance), &self.instance] {
            let project = self
                .context
                .session
                .without_warnings()
                .project_for_instance(instance)?;
            let filter = project.instance.label_filter();
            let volumes = self.context.engine.list_volumes(&filter).await;
            let containers = self.context.engine.list_containers(&filter).await;
            if volumes.map_err(BenchError::from)?.is_empty()
                && containers.map_err(BenchError::from)?.is_empty()
            {
                continue;
            }
            // Not the token of the session: a stack is removed also after an interrupt.
            let no_interrupt = CancellationToken::new();
            let down = ["down", "--volumes"];
            self.dm
                .run_on_instance(instance, &down, &no_interrupt)
                .await?;
        }
        Ok(())
    }
}
