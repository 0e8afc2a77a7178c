//! Measures seeds, backups, restores and schema diffs.

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

/// The number of orders of a large history.
const LARGE_ORDER_COUNT: &str = "100000";
/// The directory for the files of the baselines, in the container of the database.
const SCRATCH_DIRECTORY: &str = "/tmp/dm-bench";

/// Returns the tables of a history. Referenced tables come first.
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
        HistoryTable::Avatars,
        HistoryTable::AppSettings,
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

/// Returns the qualified name of a table with the default schemas.
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

/// Measures a seed, compared with psql copying the same rows into the same tables one after the
/// other; and the peak memory of the seed.
pub(super) async fn measure_seed(stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>> {
    truncate_tables(stack).await?;
    let seed =
        measured_command::run_measured(stack, &["seed", "--scale", LARGE_ORDER_COUNT, "--append"])
            .await?;
    let (mut export, mut import) = (String::new(), String::new());
    for table in history_tables() {
        let (name, columns) = (qualified_name(table), table.columns());
        export.push_str(&format!(
            "\\copy (SELECT {columns} FROM {name}) TO '{SCRATCH_DIRECTORY}/{name}'\n"
        ));
        import.push_str(&format!(
            "\\copy {name} ({columns}) FROM '{SCRATCH_DIRECTORY}/{name}'\n"
        ));
    }
    run_in_postgres(
        stack,
        &format!("rm -rf {SCRATCH_DIRECTORY}; mkdir {SCRATCH_DIRECTORY}"),
    )
    .await?;
    run_psql(stack, &export).await?;
    truncate_tables(stack).await?;
    let baseline = run_psql(stack, &import).await?;
    run_in_postgres(stack, &format!("rm -rf {SCRATCH_DIRECTORY}")).await?;
    Ok(vec![
        (
            Metric::SeedThroughputRatio,
            baseline.as_secs_f64() / seed.duration.as_secs_f64(),
        ),
        (Metric::SeedMemory, as_f64(seed.peak_memory as usize)),
    ])
}

/// Measures a backup of the large stack between two runs of pg_dump, to average drift out, and the
/// restore of its database, compared with pg_restore.
pub(super) async fn measure_backup(stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>> {
    if !is_seeded(stack).await? {
        measured_command::run_measured(stack, &["seed", "--scale", LARGE_ORDER_COUNT, "--append"])
            .await?;
    }
    // Otherwise autovacuum would run during the measurement.
    sqlx::raw_sql("VACUUM ANALYZE")
        .execute(&stack.database)
        .await
        .map_err(BenchError::from)?;
    let config = stack.config();
    let (user, name) = (
        config.postgres.user.as_str(),
        config.postgres.database.as_str(),
    );
    // Without --no-sync, because a backup is flushed to the disk, too.
    let dump = format!(
        "rm -rf {SCRATCH_DIRECTORY}; pg_dump -Fd -j2 --compress=zstd:3 -U {user} -d {name} -f {SCRATCH_DIRECTORY}"
    );
    flush_to_disk(stack).await?;
    let before = run_in_postgres(stack, &dump).await?;
    let directory = TempDir::new().map_err(|source| BenchError::WriteFile {
        path: std::env::temp_dir(),
        source,
    })?;
    let path = directory.path().to_string_lossy().into_owned();
    flush_to_disk(stack).await?;
    let backup_run =
        measured_command::run_measured(stack, &["backup", "--dir", &path, "create"]).await?;
    flush_to_disk(stack).await?;
    let after = run_in_postgres(stack, &dump).await?;
    let restored = "dm_bench_restored";
    let restore = format!(
        "dropdb -U {user} --if-exists {restored} && createdb -U {user} -T template0 {restored} &&
         pg_restore --exit-on-error -j2 -U {user} -d {restored} {SCRATCH_DIRECTORY}"
    );
    flush_to_disk(stack).await?;
    let baseline_restore = run_in_postgres(stack, &restore).await?;
    run_in_postgres(
        stack,
        &format!("dropdb -U {user} {restored}; rm -rf {SCRATCH_DIRECTORY}"),
    )
    .await?;
    let project_directory = directory
        .path()
        .join(&stack.clients.project.instance.project);
    let backup = BackupStore::new(project_directory.join(stack.instance())).find("latest")?;
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
    dm_backup::stage_database(&target, &backup.open(&keys)?, RestoreScope::Full).await?;
    let restore_time = began.elapsed();
    dm_backup::drop_leftover_databases(&target).await?;
    Ok(vec![
        (
            Metric::BackupTimeRatio,
            2.0 * backup_run.duration.as_secs_f64() / (before + after).as_secs_f64(),
        ),
        (
            Metric::RestoreTimeRatio,
            restore_time.as_secs_f64() / baseline_restore.as_secs_f64(),
        ),
    ])
}

/// Measures `dm schema diff` between the running stack and the snapshots.
pub(super) async fn measure_schema_diff(stack: &BenchStack<'_>) -> Result<Vec<(Metric, f64)>> {
    let diff = measured_command::run_measured(stack, &["schema", "diff"]).await?;
    Ok(vec![(Metric::SchemaTime, diff.duration.as_secs_f64())])
}

async fn is_seeded(stack: &BenchStack<'_>) -> Result<bool, BenchError> {
    let query = sqlx::query_scalar("SELECT count(*) >= 100000 FROM orders.orders");
    Ok(query.fetch_one(&stack.database).await?)
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

/// Flushes pending writes to the disk, so that one measurement does not slow the next one down.
async fn flush_to_disk(stack: &BenchStack<'_>) -> Result<(), BenchError> {
    sqlx::raw_sql("CHECKPOINT").execute(&stack.database).await?;
    run_in_postgres(stack, "sync").await.map(drop)
}

/// Runs a script with psql, and returns the duration.
async fn run_psql(stack: &BenchStack<'_>, script: &str) -> Result<Duration, BenchError> {
    let config = &stack.config().postgres;
    let (user, name) = (&config.user, &config.database);
    run_in_postgres(
        stack,
        &format!("psql -q -v ON_ERROR_STOP=1 -U {user} -d {name} <<'END'\n{script}END"),
    )
    .await
}

/// Runs a shell script in the container of the database, and returns the duration.
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
