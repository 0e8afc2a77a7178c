//! The suites `services`, `events` and `data`: the services measured, and what `dm` does with
//! their events and their data, on a scratch stack of their own.
//!
//! ```text
//! load      requests as fast as they are answered, or at a rate
//! gateway   calls through the gateway beside calls of the service itself
//! relay     from a commit to the broker
//! orders    from an order to its reservation
//! process   memory, and the time until ready
//! letters   dead letters listed, and sent back
//! million   a million published events looked at, and relayed beside
//! recovery  from a server that is back to an order that is through
//! data      a past seeded, a backup, the schemas
//! reset     a stack begun anew, on an instance of its own
//! child     a command of `dm` as a user starts it
//! ```

mod data;
mod dead_letters;
mod gateway;
mod http_load;
mod large_tables;
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

/// A case that is measured on a stack that runs.
pub(crate) trait StackCase: Copy + PartialEq + ValueEnum + Send + Sync + 'static {
    /// Measures it once.
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
            Self::Memory => service_processes::measure_memory(stack).await?,
        })
    }
}

impl StackCase for EventsCase {
    async fn measure(self, stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>> {
        match self {
            Self::Replay => dead_letters::measure_replay(stack).await,
            Self::Letters => dead_letters::measure_listing(stack).await,
            Self::Recovery => recovery::measure(stack).await,
            Self::Million => large_tables::measure_listing(stack).await,
            Self::Among => large_tables::measure_relay_rate(stack).await,
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

/// A suite of cases on a stack that runs.
pub(crate) struct StackSuite<'a, C> {
    context: &'a BenchContext,
    name: &'static str,
    cases: Vec<C>,
    /// The password of the people who sign in.
    password: String,
    dm: DmCommand,
    /// The scratch instance.
    instance: String,
}

/// The scratch stack, and the ways into it.
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

    /// The name of the instance.
    fn instance(&self) -> &str {
        &self.clients.project.instance.name
    }

    /// The container of a component.
    fn container(&self, component: &str) -> String {
        self.clients.project.instance.container_name(component)
    }

    /// Has the database do now what it would do at some time: a measurement is not to
    /// pay for what others left.
    async fn vacuum_and_checkpoint(&self, table: &'static str) -> Result<(), BenchError> {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("VACUUM (ANALYZE) {table}")))
            .execute(&self.database)
            .await?;
        sqlx::raw_sql("CHECKPOINT").execute(&self.database).await?;
        Ok(())
    }
}

impl<'a, C> StackSuite<'a, C> {
    /// The suite of this name on a bench.
    pub(crate) fn new(
        bench: &'a BenchContext,
        name: &'static str,
        cases: Vec<C>,
        password: String,
    ) -> Self {
        let mut overrides = bench.overrides();
        // The pace is for an audience.
        overrides.push("services.inventory.environment.STOCK_RESULT_PACE_MS=0".to_owned());
        Self {
            dm: bench.dm_command(overrides),
            context: bench,
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
        let desk = StackClients::for_project(session, project).await?;
        let config = desk.config();
        let options =
            dm_components::postgres::superuser_connect_options(&config.postgres, &desk.ports);
        let database = sqlx::postgres::PgPoolOptions::new()
            .max_connections(4)
            .connect_with(options)
            .await
            .map_err(BenchError::from)?;
        let site = StackEndpoints::new(
            &desk.ports,
            config.keycloak.realm.as_str(),
            &self.password,
            config.services.all().map(|(name, _)| name),
        )
        .with_gateway_secret(desk.gateway_secret()?);
        Ok(BenchStack {
            context: self.context,
            dm: self.dm.clone(),
            endpoints: site,
            broker_uri: rabbitmq::admin_uri(&config.rabbitmq, &desk.ports),
            database,
            clients: desk,
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
            let always = CancellationToken::new();
            let down = ["down", "--volumes"];
            self.dm.run_on_instance(instance, &down, &always).await?;
        }
        Ok(())
    }
}
