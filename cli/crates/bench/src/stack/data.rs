//! A past seeded, a backup made and brought back, the schemas read.

use std::time::{Duration, Instant};

use dm_backup::{BackupStore, RestoreScope, RestoreTarget, ServerContainer};
use dm_components::database_setup::DatabaseSetup;
use dm_components::postgres;
use dm_core::error::Result;
use dm_engine::exec::ExecSpec;
use dm_history::HistoryTable;
use dm_history::rows::ServiceName;
use sqlx::AssertSqlSafe;
use tempfile::TempDir;

use super::http_load::as_f64;
use super::{BenchStack, Metric, measured_command};
use crate::error::BenchError;

/// How many orders a past has: a large one.
const LARGE_ORDER_COUNT: &str = "100000";
/// Where what is measured beside is written, in the database's container.
const SCRATCH_DIRECTORY: &str = "/tmp/dm-bench";

/// The tables that a past is in, in an order in which a row is there before another one
/// names it.
fn history_tables() -> Vec<HistoryTable> {
    let mut tables = vec![
        HistoryTable::Leads,
        HistoryTable::Clients,
        HistoryTable::Orders,
        HistoryTable::OrderTimeline,
        HistoryTable::Shipments,
        HistoryTable::Reservations,
        HistoryTable::ScanLog,
        HistoryTable::IdempotencyRecords,
        HistoryTable::Expenses,
        HistoryTable::Notifications,
        HistoryTable::UserProfiles,
    ];
    tables.extend(ServiceName::ALL.map(HistoryTable::Outbox));
    tables.extend(
        [
            ServiceName::Order,
            ServiceName::Inventory,
            ServiceName::Wuphf,
        ]
        .map(HistoryTable::Inbox),
    );
    tables
}

/// A table, as SQL names it on a stack as it comes.
fn qualified_name(table: HistoryTable) -> String {
    let schema = match table.service() {
        ServiceName::Sales => "sales",
        ServiceName::Order => "orders",
        ServiceName::Inventory => "inventory",
        ServiceName::Finance => "finance",
        ServiceName::Wuphf => "notifications",
        ServiceName::Profile => "profile",
    };
    format!("{schema}.{}", table.name())
}

/// A past seeded, beside psql copying the same rows into the same tables, one after the
/// other; and the memory that the seed takes.
pub(super) async fn measure_seed(stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>> {
    truncate_tables(stack).await?;
    let ended =
        measured_command::run_measured(stack, &["seed", "--scale", LARGE_ORDER_COUNT, "--append"])
            .await?;
    let (mut out, mut back) = (String::new(), String::new());
    for table in history_tables() {
        let (name, columns) = (qualified_name(table), table.columns());
        out.push_str(&format!(
            "\\copy (SELECT {columns} FROM {name}) TO '{SCRATCH_DIRECTORY}/{name}'\n"
        ));
        back.push_str(&format!(
            "\\copy {name} ({columns}) FROM '{SCRATCH_DIRECTORY}/{name}'\n"
        ));
    }
    run_in_postgres(
        stack,
        &format!("rm -rf {SCRATCH_DIRECTORY}; mkdir {SCRATCH_DIRECTORY}"),
    )
    .await?;
    run_psql(stack, &out).await?;
    truncate_tables(stack).await?;
    let bare = run_psql(stack, &back).await?;
    run_in_postgres(stack, &format!("rm -rf {SCRATCH_DIRECTORY}")).await?;
    Ok(vec![
        (
            Metric::SeedRate,
            bare.as_secs_f64() / ended.duration.as_secs_f64(),
        ),
        (Metric::SeedMemory, as_f64(ended.peak_memory as usize)),
    ])
}

/// A backup of the large stack between two of pg_dump alone, for what drifts, and its database
/// brought back beside pg_restore alone.
pub(super) async fn measure_backup(stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>> {
    if !is_seeded(stack).await? {
        measured_command::run_measured(stack, &["seed", "--scale", LARGE_ORDER_COUNT, "--append"])
            .await?;
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
        "rm -rf {SCRATCH_DIRECTORY}; pg_dump -Fd -j2 --compress=zstd:3 -U {user} -d {name} -f {SCRATCH_DIRECTORY}"
    );
    flush_to_disk(stack).await?;
    let before = run_in_postgres(stack, &dump).await?;
    let folder = TempDir::new().map_err(|source| BenchError::WriteFile {
        path: std::env::temp_dir(),
        source,
    })?;
    let path = folder.path().to_string_lossy().into_owned();
    flush_to_disk(stack).await?;
    let own = measured_command::run_measured(stack, &["backup", "--dir", &path, "create"]).await?;
    flush_to_disk(stack).await?;
    let after = run_in_postgres(stack, &dump).await?;
    let restored = "dm_bench_restored";
    let restore = format!(
        "dropdb -U {user} --if-exists {restored} && createdb -U {user} -T template0 {restored} &&
         pg_restore --exit-on-error -j2 -U {user} -d {restored} {SCRATCH_DIRECTORY}"
    );
    flush_to_disk(stack).await?;
    let bare_back = run_in_postgres(stack, &restore).await?;
    run_in_postgres(
        stack,
        &format!("dropdb -U {user} {restored}; rm -rf {SCRATCH_DIRECTORY}"),
    )
    .await?;
    let project = folder.path().join(&stack.clients.project.instance.project);
    let set = BackupStore::new(project.join(stack.instance())).find("latest")?;
    let container = stack.container(postgres::NAME);
    let setup = DatabaseSetup::new(config, &stack.clients.project.instance.root);
    let target = RestoreTarget {
        container: ServerContainer {
            engine: stack.engine(),
            container: &container,
        },
        options: postgres::superuser_connect_options(&config.postgres, stack.ports()),
        superuser: user,
        database: name,
        setup: &setup,
        lock_timeout: config.timeouts.lock.as_duration(),
        keycloak_version: None,
    };
    flush_to_disk(stack).await?;
    let began = Instant::now();
    let keys = dm_backup::Identities::default();
    dm_backup::stage_database(&target, &set.open(&keys)?, RestoreScope::Full).await?;
    let own_back = began.elapsed();
    dm_backup::drop_leftover_databases(&target).await?;
    Ok(vec![
        (
            Metric::BackupTime,
            2.0 * own.duration.as_secs_f64() / (before + after).as_secs_f64(),
        ),
        (
            Metric::RestoreTime,
            own_back.as_secs_f64() / bare_back.as_secs_f64(),
        ),
    ])
}

/// Everything read from the running stack and compared with the snapshots.
pub(super) async fn measure_schema_diff(stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>> {
    let ended = measured_command::run_measured(stack, &["schema", "diff"]).await?;
    Ok(vec![(Metric::SchemaTime, ended.duration.as_secs_f64())])
}

async fn is_seeded(stack: &BenchStack<'_>) -> Result<bool, BenchError> {
    let seeded = sqlx::query_scalar("SELECT count(*) >= 100000 FROM orders.orders");
    Ok(seeded.fetch_one(&stack.database).await?)
}

async fn truncate_tables(stack: &BenchStack<'_>) -> Result<(), BenchError> {
    let names: Vec<String> = history_tables().into_iter().map(qualified_name).collect();
    let statement = format!("TRUNCATE {}", names.join(", "));
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&stack.database)
        .await?;
    sqlx::raw_sql("CHECKPOINT").execute(&stack.database).await?;
    Ok(())
}

/// Puts on the disk what is on its way there: whoever is measured second would pay for what
/// the first has written.
async fn flush_to_disk(stack: &BenchStack<'_>) -> Result<(), BenchError> {
    sqlx::raw_sql("CHECKPOINT").execute(&stack.database).await?;
    run_in_postgres(stack, "sync").await.map(drop)
}

/// Has psql carry out a script, and answers how long that took.
async fn run_psql(stack: &BenchStack<'_>, script: &str) -> Result<Duration, BenchError> {
    let config = &stack.config().postgres;
    let (user, name) = (&config.user, &config.database);
    run_in_postgres(
        stack,
        &format!("psql -q -v ON_ERROR_STOP=1 -U {user} -d {name} <<'END'\n{script}END"),
    )
    .await
}

/// Has the database's container carry out a command, and answers how long that took.
async fn run_in_postgres(stack: &BenchStack<'_>, script: &str) -> Result<Duration, BenchError> {
    let spec = ExecSpec {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        ..ExecSpec::default()
    };
    let container = stack.container(postgres::NAME);
    let began = Instant::now();
    let output = stack.engine().exec_output(&container, &spec).await?;
    if output.exit_code != 0 {
        return Err(BenchError::RequestFailed {
            request: script.lines().next().unwrap_or_default().to_owned(),
            reason: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    Ok(began.elapsed())
}
