//! Measures the services, and what `dm` does with their events: on a scratch stack of
//! their own, paired within a round.
//!
//! ```text
//! case      what is measured, and what it is held against
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
//! report    what came out
//! ```

mod case;
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
mod report;
mod reset;

use dm_components::gateway_secret;
use dm_components::{Ports, rabbitmq};
use dm_config::Config;
use dm_core::error::Result;
use dm_core::instance::Instance;
use dm_core::labels;
use dm_gateway_client::Site;
use dm_host::state::StateDir;
use tokio_util::sync::CancellationToken;

use super::dm::Dm;
use super::machine::Machine;
use super::statistics::Summary;
use super::{Bench, BenchError, INSTANCE};

pub use case::{Case, Figure, Target};
#[cfg(test)]
pub(crate) use report::tests::report as example;
pub use report::{Measured, Report};

/// What is asked of a bench of the services.
#[derive(Debug, Clone)]
pub struct Request {
    /// The cases, in the order in which they are measured.
    pub cases: Vec<Case>,
    /// How many rounds.
    pub runs: u32,
    /// The password of the people who sign in.
    pub password: String,
}

/// The scratch stack, and the ways into it.
struct Stack<'a> {
    bench: &'a Bench,
    dm: &'a Dm,
    interrupt: &'a CancellationToken,
    instance: String,
    site: Site,
    ports: Ports,
    database: sqlx::PgPool,
    broker: String,
}

impl Stack<'_> {
    fn config(&self) -> &Config {
        &self.bench.config
    }

    /// The container of a service.
    fn container(&self, service: &str) -> String {
        format!(
            "{}-{}-{service}",
            self.bench.instance.project, self.instance
        )
    }

    /// Has the database do now what it would do at some time: a measurement is not to
    /// pay for what others left.
    async fn settle(&self, table: &'static str) -> Result<(), BenchError> {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("VACUUM (ANALYZE) {table}")))
            .execute(&self.database)
            .await?;
        sqlx::raw_sql("CHECKPOINT").execute(&self.database).await?;
        Ok(())
    }
}

/// Brings a scratch stack up, measures, and removes it, whatever happens.
pub(super) async fn run(
    bench: &Bench,
    request: &Request,
    interrupt: &CancellationToken,
    told: &(dyn Fn(&str) + Sync),
) -> Result<Report> {
    let mut overrides = bench.overrides.clone();
    // Golden images would be made behind the back of what is measured.
    overrides.push("golden.prepare=off".to_owned());
    // A backup in between would be measured, too.
    overrides.push("backup.every=off".to_owned());
    // The pace is for an audience.
    overrides.push("services.inventory.environment.STOCK_RESULT_PACE_MS=0".to_owned());
    let dm = Dm {
        program: bench.program.clone(),
        root: bench.instance.root.clone(),
        overrides,
    };
    let instance = format!("{INSTANCE}-services");
    let instances = [reset::instance(&instance), instance.clone()];
    tidy(bench, &dm, &instances).await?;
    let machine = Machine::of(&bench.engine, None).await;
    let began = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let measured = measure(bench, &dm, &instance, request, interrupt, told).await;
    let tidied = tidy(bench, &dm, &instances).await;
    let measured = measured?;
    tidied?;
    Ok(Report {
        dm: env!("CARGO_PKG_VERSION").to_owned(),
        profile: super::report::PROFILE,
        began,
        machine,
        runs: request.runs,
        figures: measured,
    })
}

async fn measure(
    bench: &Bench,
    dm: &Dm,
    instance: &str,
    request: &Request,
    interrupt: &CancellationToken,
    told: &(dyn Fn(&str) + Sync),
) -> Result<Vec<Measured>> {
    told("bringing the stack up, which is not measured");
    dm.run(instance, &["up"], interrupt).await?;
    let mut ports = Ports::new();
    let filter = [
        (labels::PROJECT, bench.instance.project.as_str()),
        (labels::INSTANCE, instance),
    ];
    for container in bench
        .engine
        .containers(&filter)
        .await
        .map_err(BenchError::from)?
    {
        ports.extend(container.ports);
    }
    let config = &bench.config;
    let own = Instance {
        name: instance.to_owned(),
        ..bench.instance.clone()
    };
    let secret = gateway_secret::of(StateDir::open()?.path(), &own)?;
    let options = dm_components::postgres::connect_options(&config.postgres, &ports);
    let database = sqlx::postgres::PgPoolOptions::new()
        .max_connections(4)
        .connect_with(options)
        .await
        .map_err(BenchError::from)?;
    let stack = Stack {
        bench,
        dm,
        interrupt,
        instance: instance.to_owned(),
        site: Site::new(
            &ports,
            config.keycloak.realm.as_str(),
            &request.password,
            config.services.all().map(|(name, _)| name),
        )
        .with_gateway_secret(secret),
        broker: rabbitmq::uri(&config.rabbitmq, &ports),
        ports,
        database,
    };
    let mut measured: Vec<Measured> = Vec::new();
    for round in 1..=request.runs {
        for &case in &request.cases {
            let values = tokio::select! {
                () = interrupt.cancelled() => return Err(BenchError::Interrupted.into()),
                values = one(&stack, case) => values?,
            };
            let shown: Vec<_> = values
                .iter()
                .map(|(figure, value)| format!("{} {}", figure.what(), figure.show(*value)))
                .collect();
            told(&format!("round {round}: {}", shown.join(", ")));
            for (figure, value) in values {
                match measured.iter_mut().find(|it| it.figure == figure) {
                    Some(known) => known.samples.push(value),
                    None => measured.push(Measured::new(figure, value)),
                }
            }
        }
    }
    stack.database.close().await;
    for figure in &mut measured {
        figure.judge();
    }
    Ok(measured)
}

async fn one(stack: &Stack<'_>, case: Case) -> Result<Vec<(Figure, f64)>> {
    Ok(match case {
        Case::Gateway => gateway::measure(stack).await?,
        Case::Relay => relay::lag(stack).await?,
        Case::Throughput => relay::throughput(stack).await?,
        Case::Orders => orders::measure(stack).await?,
        Case::Memory => process::memory(stack).await?,
        Case::Ready => process::ready(stack).await?,
        Case::Replay => letters::replayed(stack).await?,
        Case::Letters => letters::listed(stack).await?,
        Case::Million => million::looked_at(stack).await?,
        Case::Among => million::relayed_among(stack).await?,
        Case::Recovery => recovery::measure(stack).await?,
        Case::Seed => data::seeded(stack).await?,
        Case::Schema => data::schemas(stack).await?,
        Case::Backup => data::backed_up(stack).await?,
        Case::Reset => reset::measure(stack).await?,
    })
}

/// Removes the scratch stacks, interrupted or not.
async fn tidy(bench: &Bench, dm: &Dm, instances: &[String]) -> Result<()> {
    for instance in instances {
        let filter = [
            (labels::PROJECT, bench.instance.project.as_str()),
            (labels::INSTANCE, instance),
        ];
        let volumes = bench.engine.volumes(&filter).await;
        let containers = bench.engine.containers(&filter).await;
        if volumes.map_err(BenchError::from)?.is_empty()
            && containers.map_err(BenchError::from)?.is_empty()
        {
            continue;
        }
        let anyway = CancellationToken::new();
        dm.run(instance, &["down", "--volumes"], &anyway).await?;
    }
    Ok(())
}

/// The value below which so many hundredths of the values are; 0 of none.
fn percentile(values: &mut [f64], hundredths: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a list, between 0 and its length"
    )]
    let place = ((last as f64) * hundredths / 100.0).ceil() as usize;
    values.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&mut values, 0.0), 1.0);
        assert_eq!(percentile(&mut values, 50.0), 51.0);
        assert_eq!(percentile(&mut values, 99.0), 100.0);
        assert_eq!(percentile(&mut [7.0], 99.0), 7.0);
        assert_eq!(percentile(&mut [], 99.0), 0.0);
    }
}
