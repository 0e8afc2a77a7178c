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

mod child;
mod data;
mod gateway;
mod letters;
mod load;
mod million;
mod orders;
mod process;
mod recovery;
mod relay;
mod reset;

use clap::ValueEnum;
use dm_bench_request::{DataCase, EventsCase, ServicesCase};
use dm_components::{Ports, rabbitmq};
use dm_config::Config;
use dm_core::error::Result;
use dm_engine::Engine;
use dm_gateway_client::Site;
use dm_operations::Desk;
use tokio_util::sync::CancellationToken;

use crate::error::BenchError;
use crate::figure::Figure;
use crate::program::Dm;
use crate::rounds::{Round, Suite};
use crate::statistics::percentile;
use crate::{Bench, INSTANCE};

/// A case that is measured on a stack that runs.
pub(crate) trait StackCase: Copy + PartialEq + ValueEnum + Send + Sync + 'static {
    /// Measures it once.
    async fn measure(self, stack: &Stack<'_>) -> Result<Vec<(Figure, f64)>>;
}

impl StackCase for ServicesCase {
    async fn measure(self, stack: &Stack<'_>) -> Result<Vec<(Figure, f64)>> {
        Ok(match self {
            Self::Ready => process::ready(stack).await?,
            Self::Gateway => gateway::measure(stack).await?,
            Self::Orders => orders::measure(stack).await?,
            Self::Relay => relay::lag(stack).await?,
            Self::Throughput => relay::throughput(stack).await?,
            Self::Memory => process::memory(stack).await?,
        })
    }
}

impl StackCase for EventsCase {
    async fn measure(self, stack: &Stack<'_>) -> Result<Vec<(Figure, f64)>> {
        match self {
            Self::Replay => letters::replayed(stack).await,
            Self::Letters => letters::listed(stack).await,
            Self::Recovery => recovery::measure(stack).await,
            Self::Million => million::looked_at(stack).await,
            Self::Among => million::relayed_among(stack).await,
        }
    }
}

impl StackCase for DataCase {
    async fn measure(self, stack: &Stack<'_>) -> Result<Vec<(Figure, f64)>> {
        match self {
            Self::Seed => data::seeded(stack).await,
            Self::Schema => data::schemas(stack).await,
            Self::Backup => data::backed_up(stack).await,
            Self::Reset => reset::measure(stack).await,
        }
    }
}

/// A suite of cases on a stack that runs.
pub(crate) struct OnStack<'a, C> {
    bench: &'a Bench,
    name: &'static str,
    cases: Vec<C>,
    /// The password of the people who sign in.
    password: String,
    dm: Dm,
    /// The scratch instance.
    instance: String,
}

/// The scratch stack, and the ways into it.
pub(crate) struct Stack<'a> {
    bench: &'a Bench,
    dm: Dm,
    desk: Desk,
    site: Site,
    database: sqlx::PgPool,
    broker: String,
}

impl Stack<'_> {
    fn config(&self) -> &Config {
        self.desk.config()
    }

    fn engine(&self) -> &Engine {
        &self.desk.engine
    }

    fn ports(&self) -> &Ports {
        &self.desk.ports
    }

    /// The name of the instance.
    fn instance(&self) -> &str {
        &self.desk.project.instance.name
    }

    /// The container of a component.
    fn container(&self, component: &str) -> String {
        self.desk.project.instance.container(component)
    }

    /// Has the database do now what it would do at some time: a measurement is not to
    /// pay for what others left.
    async fn vacuum(&self, table: &'static str) -> Result<(), BenchError> {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("VACUUM (ANALYZE) {table}")))
            .execute(&self.database)
            .await?;
        sqlx::raw_sql("CHECKPOINT").execute(&self.database).await?;
        Ok(())
    }
}

impl<'a, C> OnStack<'a, C> {
    /// The suite of this name on a bench.
    pub(crate) fn new(
        bench: &'a Bench,
        name: &'static str,
        cases: Vec<C>,
        password: String,
    ) -> Self {
        let mut overrides = bench.overrides();
        // The pace is for an audience.
        overrides.push("services.inventory.environment.STOCK_RESULT_PACE_MS=0".to_owned());
        Self {
            dm: bench.dm(overrides),
            bench,
            name,
            cases,
            password,
            instance: format!("{INSTANCE}-services"),
        }
    }
}

impl<'a, C: StackCase> Suite for OnStack<'a, C> {
    type Prepared = Stack<'a>;

    fn name(&self) -> &'static str {
        self.name
    }

    async fn prepare(&self) -> Result<Stack<'a>> {
        let session = &self.bench.session;
        let note = "starting the stack (not measured)";
        session.frontend.note(note);
        let up = self.dm.run(&self.instance, &["up"], &session.interrupt);
        up.await?;
        let project = session.silent().project_of(&self.instance)?;
        let desk = Desk::of(session, project).await?;
        let config = desk.config();
        let options = dm_components::postgres::connect_options(&config.postgres, &desk.ports);
        let database = sqlx::postgres::PgPoolOptions::new()
            .max_connections(4)
            .connect_with(options)
            .await
            .map_err(BenchError::from)?;
        let site = Site::new(
            &desk.ports,
            config.keycloak.realm.as_str(),
            &self.password,
            config.services.all().map(|(name, _)| name),
        )
        .with_gateway_secret(desk.gateway_secret()?);
        Ok(Stack {
            bench: self.bench,
            dm: self.dm.clone(),
            site,
            broker: rabbitmq::uri(&config.rabbitmq, &desk.ports),
            database,
            desk,
        })
    }

    async fn measure(&self, stack: &Stack<'a>, round: &mut Round<'_>) -> Result<()> {
        for case in &self.cases {
            let values = tokio::select! {
                () = self.bench.session.interrupt.cancelled() => {
                    return Err(BenchError::Interrupted.into());
                }
                values = case.measure(stack) => values?,
            };
            round.add(values);
        }
        Ok(())
    }

    async fn remove_stacks(&self) -> Result<()> {
        for instance in [&reset::instance(&self.instance), &self.instance] {
            let project = self.bench.session.silent().project_of(instance)?;
            let filter = project.instance.filter();
            let volumes = self.bench.engine.volumes(&filter).await;
            let containers = self.bench.engine.containers(&filter).await;
            if volumes.map_err(BenchError::from)?.is_empty()
                && containers.map_err(BenchError::from)?.is_empty()
            {
                continue;
            }
            let always = CancellationToken::new();
            let down = ["down", "--volumes"];
            self.dm.run(instance, &down, &always).await?;
        }
        Ok(())
    }
}
