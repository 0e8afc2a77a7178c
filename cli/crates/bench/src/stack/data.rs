//! A past seeded, a backup made and brought back, the schemas read.

use std::time::{Duration, Instant};

use dm_backup::{Extent, Server, Store, Target};
use dm_business::Table;
use dm_business::rows::Service;
use dm_components::database::Database;
use dm_components::postgres;
use dm_core::error::Result;
use dm_engine::exec::ExecSpec;
use sqlx::AssertSqlSafe;
use tempfile::TempDir;

use super::load::count;
use super::{Figure, Stack, child};
use crate::error::BenchError;

/// How many orders a past has: a large one.
const ORDERS: &str = "100000";
/// Where what is measured beside is written, in the database's container.
const SCRATCH: &str = "/tmp/dm-bench";

/// The tables that a past is in, in an order in which a row is there before another one
/// names it.
fn tables() -> Vec<Table> {
    let mut tables = vec![
        Table::Leads,
        Table::Clients,
        Table::Orders,
        Table::OrderTimeline,
        Table::Shipments,
        Table::Reservations,
        Table::ScanLog,
        Table::IdempotencyRecords,
        Table::Expenses,
        Table::Notifications,
        Table::UserProfiles,
    ];
    tables.extend(Service::ALL.map(Table::Outbox));
    tables.extend([Service::Order, Service::Inventory, Service::Wuphf].map(Table::Inbox));
    tables
}

/// A table, as SQL names it on a stack as it comes.
fn named(table: Table) -> String {
    let schema = match table.service() {
        Service::Sales => "sales",
        Service::Order => "orders",
        Service::Inventory => "inventory",
        Service::Finance => "finance",
        Service::Wuphf => "notifications",
        Service::Profile => "profile",
    };
    format!("{schema}.{}", table.name())
}

/// A past seeded, beside psql copying the same rows into the same tables, one after the
/// other; and the memory that the seed takes.
pub(super) async fn seeded(stack: &Stack<'_>) -> Result<Vec<(Figure, f64)>> {
    empty(stack).await?;
    let ended = child::run(stack, &["seed", "--scale", ORDERS, "--append"]).await?;
    let (mut out, mut back) = (String::new(), String::new());
    for table in tables() {
        let (name, columns) = (named(table), table.columns());
        out.push_str(&format!(
            "\\copy (SELECT {columns} FROM {name}) TO '{SCRATCH}/{name}'\n"
        ));
        back.push_str(&format!(
            "\\copy {name} ({columns}) FROM '{SCRATCH}/{name}'\n"
        ));
    }
    run(stack, &format!("rm -rf {SCRATCH}; mkdir {SCRATCH}")).await?;
    psql(stack, &out).await?;
    empty(stack).await?;
    let bare = psql(stack, &back).await?;
    run(stack, &format!("rm -rf {SCRATCH}")).await?;
    Ok(vec![
        (
            Figure::SeedRate,
            bare.as_secs_f64() / ended.time.as_secs_f64(),
        ),
        (Figure::SeedMemory, count(ended.memory as usize)),
    ])
}

/// A backup of the large stack between two of pg_dump alone, for what drifts, and its database
/// brought back beside pg_restore alone.
pub(super) async fn backed_up(stack: &Stack<'_>) -> Result<Vec<(Figure, f64)>> {
    if !is_seeded(stack).await? {
        child::run(stack, &["seed", "--scale", ORDERS, "--append"]).await?;
    }
    // Or the server would do it by itself, beside what is measured.
    sqlx::raw_sql("VACUUM ANALYZE")
        .execute(&stack.database)
        .await
        .map_err(BenchError::from)?;
    let config = stack.config();
    let (user, name) = (
        config.postgres.user.as_str(),
        config.postgres.database.as_str(),
    );
    // Without --no-sync: a backup, too, is on the disk when it is made.
    let dump = format!(
        "rm -rf {SCRATCH}; pg_dump -Fd -j2 --compress=zstd:3 -U {user} -d {name} -f {SCRATCH}"
    );
    write_to_disk(stack).await?;
    let before = run(stack, &dump).await?;
    let folder = TempDir::new().map_err(|source| BenchError::Write {
        path: std::env::temp_dir(),
        source,
    })?;
    let path = folder.path().to_string_lossy().into_owned();
    write_to_disk(stack).await?;
    let own = child::run(stack, &["backup", "--dir", &path, "create"]).await?;
    write_to_disk(stack).await?;
    let after = run(stack, &dump).await?;
    let restored = "dm_bench_restored";
    let restore = format!(
        "dropdb -U {user} --if-exists {restored} && createdb -U {user} -T template0 {restored} &&
         pg_restore --exit-on-error -j2 -U {user} -d {restored} {SCRATCH}"
    );
    write_to_disk(stack).await?;
    let bare_back = run(stack, &restore).await?;
    run(
        stack,
        &format!("dropdb -U {user} {restored}; rm -rf {SCRATCH}"),
    )
    .await?;
    let project = folder.path().join(&stack.desk.project.instance.project);
    let set = Store::new(project.join(stack.instance())).find("latest")?;
    let container = stack.container(postgres::NAME);
    let setup = Database::new(config, &stack.desk.project.instance.root);
    let target = Target {
        postgres: Server {
            engine: stack.engine(),
            container: &container,
        },
        options: postgres::connect_options(&config.postgres, stack.ports()),
        user,
        name,
        setup: &setup,
        lock: config.timeouts.lock.get(),
        keycloak: None,
    };
    write_to_disk(stack).await?;
    let began = Instant::now();
    let keys = dm_backup::Identities::default();
    dm_backup::prepare(&target, &set.open(&keys)?, Extent::Whole).await?;
    let own_back = began.elapsed();
    dm_backup::sweep(&target).await?;
    Ok(vec![
        (
            Figure::BackupTime,
            2.0 * own.time.as_secs_f64() / (before + after).as_secs_f64(),
        ),
        (
            Figure::RestoreTime,
            own_back.as_secs_f64() / bare_back.as_secs_f64(),
        ),
    ])
}

/// Everything read from the running stack and compared with the snapshots.
pub(super) async fn schemas(stack: &Stack<'_>) -> Result<Vec<(Figure, f64)>> {
    let ended = child::run(stack, &["schema", "diff"]).await?;
    Ok(vec![(Figure::SchemaTime, ended.time.as_secs_f64())])
}

async fn is_seeded(stack: &Stack<'_>) -> Result<bool, BenchError> {
    let seeded = sqlx::query_scalar("SELECT count(*) >= 100000 FROM orders.orders");
    Ok(seeded.fetch_one(&stack.database).await?)
}

async fn empty(stack: &Stack<'_>) -> Result<(), BenchError> {
    let names: Vec<String> = tables().into_iter().map(named).collect();
    let statement = format!("TRUNCATE {}", names.join(", "));
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&stack.database)
        .await?;
    sqlx::raw_sql("CHECKPOINT").execute(&stack.database).await?;
    Ok(())
}

/// Puts on the disk what is on its way there: whoever is measured second would pay for what
/// the first has written.
async fn write_to_disk(stack: &Stack<'_>) -> Result<(), BenchError> {
    sqlx::raw_sql("CHECKPOINT").execute(&stack.database).await?;
    run(stack, "sync").await.map(drop)
}

/// Has psql carry out a script, and answers how long that took.
async fn psql(stack: &Stack<'_>, script: &str) -> Result<Duration, BenchError> {
    let config = &stack.config().postgres;
    let (user, name) = (&config.user, &config.database);
    run(
        stack,
        &format!("psql -q -v ON_ERROR_STOP=1 -U {user} -d {name} <<'END'\n{script}END"),
    )
    .await
}

/// Has the database's container carry out a command, and answers how long that took.
async fn run(stack: &Stack<'_>, script: &str) -> Result<Duration, BenchError> {
    let spec = ExecSpec {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        ..ExecSpec::default()
    };
    let container = stack.container(postgres::NAME);
    let began = Instant::now();
    let output = stack.engine().exec_collect(&container, &spec).await?;
    if output.code != 0 {
        return Err(BenchError::Request {
            request: script.lines().next().unwrap_or_default().to_owned(),
            what: String::from_utf8_lossy(&output.err).into_owned(),
        });
    }
    Ok(began.elapsed())
}
