//! The replacement of one schema by the schema of a staged database, in one transaction.
//!
//! A dump of a schema contains the objects in the schema. Objects elsewhere that depend on it, such
//! as a view, a foreign key or the members of an extension, would be dropped and not restored: the
//! schema is refused then, and each of these objects is named.

use std::collections::BTreeSet;

use dm_components::lock_watch::LockWatch;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::BackupError;
use super::encryption::FileContent;
use super::quote::{quote_identifier, quote_literal};
use super::restore_target::RestoreTarget;
use super::staged_database::{CONTAINER_TEMP_DIR, StagedDatabase, TEMP_FILE_PREFIX};

/// The application name of the session that replaces the schema.
const APPLICATION_NAME: &str = "dm-restore";

/// Selects all objects that depend on a schema and are not in it. An object is in the schema if its
/// name is, or if it is a part of a table or an operator class in the schema.
const DEPENDENTS_QUERY: &str = "
    WITH
    own (classid, objid) AS (
        SELECT 'pg_class'::regclass, oid FROM pg_class WHERE relnamespace = $1::oid
        UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace = $1::oid
        UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typnamespace = $1::oid
        UNION ALL SELECT 'pg_constraint'::regclass, oid FROM pg_constraint
                   WHERE connamespace = $1::oid
        UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator
                   WHERE oprnamespace = $1::oid
        UNION ALL SELECT 'pg_opclass'::regclass, oid FROM pg_opclass WHERE opcnamespace = $1::oid
        UNION ALL SELECT 'pg_opfamily'::regclass, oid FROM pg_opfamily
                   WHERE opfnamespace = $1::oid
        UNION ALL SELECT 'pg_collation'::regclass, oid FROM pg_collation
                   WHERE collnamespace = $1::oid
        UNION ALL SELECT 'pg_conversion'::regclass, oid FROM pg_conversion
                   WHERE connamespace = $1::oid
        UNION ALL SELECT 'pg_statistic_ext'::regclass, oid FROM pg_statistic_ext
                   WHERE stxnamespace = $1::oid
        UNION ALL SELECT 'pg_ts_config'::regclass, oid FROM pg_ts_config
                   WHERE cfgnamespace = $1::oid
        UNION ALL SELECT 'pg_ts_dict'::regclass, oid FROM pg_ts_dict
                   WHERE dictnamespace = $1::oid
        UNION ALL SELECT 'pg_ts_parser'::regclass, oid FROM pg_ts_parser
                   WHERE prsnamespace = $1::oid
        UNION ALL SELECT 'pg_ts_template'::regclass, oid FROM pg_ts_template
                   WHERE tmplnamespace = $1::oid
        UNION ALL SELECT 'pg_default_acl'::regclass, oid FROM pg_default_acl
                   WHERE defaclnamespace = $1::oid
        UNION ALL SELECT 'pg_namespace'::regclass, $1::oid),
    parts (classid, objid) AS (
        SELECT 'pg_trigger'::regclass, it.oid FROM pg_trigger AS it
          JOIN pg_class ON pg_class.oid = tgrelid WHERE relnamespace = $1::oid
        UNION ALL SELECT 'pg_rewrite'::regclass, it.oid FROM pg_rewrite AS it
          JOIN pg_class ON pg_class.oid = ev_class WHERE relnamespace = $1::oid
        UNION ALL SELECT 'pg_policy'::regclass, it.oid FROM pg_policy AS it
          JOIN pg_class ON pg_class.oid = polrelid WHERE relnamespace = $1::oid
        UNION ALL SELECT 'pg_attrdef'::regclass, it.oid FROM pg_attrdef AS it
          JOIN pg_class ON pg_class.oid = adrelid WHERE relnamespace = $1::oid
        UNION ALL SELECT 'pg_amop'::regclass, it.oid FROM pg_amop AS it
          JOIN pg_opfamily ON pg_opfamily.oid = amopfamily WHERE opfnamespace = $1::oid
        UNION ALL SELECT 'pg_amproc'::regclass, it.oid FROM pg_amproc AS it
          JOIN pg_opfamily ON pg_opfamily.oid = amprocfamily WHERE opfnamespace = $1::oid
        UNION ALL SELECT 'pg_class'::regclass, it.oid FROM pg_class AS it
          JOIN pg_namespace ON pg_namespace.oid = relnamespace
         WHERE nspname LIKE 'pg\\_toast%'),
    inside AS (SELECT * FROM own UNION SELECT * FROM parts),
    members AS (
        SELECT 'pg_extension'::regclass::oid AS classid, refobjid AS objid, 0 AS objsubid
          FROM pg_depend JOIN inside USING (classid, objid)
         WHERE deptype = 'e' AND refclassid = 'pg_extension'::regclass),
    dependents AS (
        SELECT it.classid, it.objid, it.objsubid
          FROM pg_depend AS it
          JOIN inside ON inside.classid = it.refclassid AND inside.objid = it.refobjid
         WHERE NOT EXISTS (SELECT FROM inside AS also
                            WHERE also.classid = it.classid AND also.objid = it.objid)
        UNION SELECT * FROM members)
    SELECT DISTINCT pg_describe_object(classid, objid, objsubid) FROM dependents
     ORDER BY 1";

/// Checks that no object outside a schema depends on it.
///
/// # Errors
/// Returns [`BackupError::Dependents`] with these objects if there are any.
pub(super) async fn check_dependents(
    target: &RestoreTarget<'_>,
    schema: &str,
) -> Result<(), BackupError> {
    let mut session = target.connect().await?;
    let dependents = find_dependents(&mut session, schema).await?;
    session.close().await?;
    if dependents.is_empty() {
        Ok(())
    } else {
        Err(BackupError::Dependents {
            schema: schema.to_owned(),
            dependents,
        })
    }
}

async fn find_dependents(
    session: &mut PgConnection,
    schema: &str,
) -> Result<Vec<String>, BackupError> {
    let oid: Option<i64> =
        sqlx::query_scalar("SELECT oid::bigint FROM pg_namespace WHERE nspname = $1")
            .bind(schema)
            .fetch_optional(&mut *session)
            .await?;
    let Some(oid) = oid else {
        return Ok(Vec::new());
    };
    let dependents: Vec<Option<String>> = sqlx::query_scalar(DEPENDENTS_QUERY)
        .bind(oid)
        .fetch_all(session)
        .await?;
    Ok(dependents
        .into_iter()
        .flatten()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect())
}

/// Replaces one schema by the schema of a staged database. No service may use it in the meantime.
///
/// # Errors
/// Returns [`BackupError::Dependents`] if other objects depend on the schema,
/// [`BackupError::LockTimeout`] if another session holds a lock, and [`BackupError::Command`] if
/// pg_dump or psql fails. Nothing has changed then.
pub(super) async fn replace_schema(
    target: &RestoreTarget<'_>,
    staged: &StagedDatabase,
    schema: &str,
) -> Result<(), BackupError> {
    // A second time: staging takes a while.
    check_dependents(target, schema).await?;
    let name = |end: &str| format!("{TEMP_FILE_PREFIX}{}{end}", staged.restore_id);
    // The next restore removes files of these names that a killed call has left.
    let (dump_file, before, after) = (name(".sql"), name(".before.sql"), name(".after.sql"));
    let path = |name: &str| format!("{CONTAINER_TEMP_DIR}/{name}");
    let (selected, output) = (
        format!("--schema={}", quote_identifier(schema)),
        format!("--file={}", path(&dump_file)),
    );
    let dump = [
        "pg_dump",
        "--username",
        target.superuser,
        "--dbname",
        &staged.name,
        &selected,
        &output,
    ];
    let files = [
        (before, drop_statements(schema)),
        (after, final_statements(staged, schema)),
    ];
    let names = [&files[0].0, &dump_file, &files[1].0].map(|name| path(name));
    let load = format!(
        "PGAPPNAME={APPLICATION_NAME} PGOPTIONS='-c lock_timeout={}' exec psql --no-psqlrc --quiet \
         --single-transaction --set=ON_ERROR_STOP=1 --output=/dev/null \
         --username \"$1\" --dbname \"$2\" --file \"$3\" --file \"$4\" --file \"$5\"",
        // The server ends the wait if no lock watch runs any more.
        target.lock_timeout.saturating_mul(2).as_millis(),
    );
    let contents = files.map(|(name, text)| (name, FileContent::from_bytes(text.into_bytes())));
    let replacing = async {
        target.container.run(&dump).await?;
        target
            .container
            .copy_files_into(contents.into(), CONTAINER_TEMP_DIR)
            .await?;
        let [first, second, third] = &names;
        let command = [
            "sh",
            "-c",
            &load,
            "sh",
            target.superuser,
            target.database,
            first,
            second,
            third,
        ];
        let watch = LockWatch::for_application(&target.session_options(), APPLICATION_NAME);
        let loaded =
            watch.run_until_lock_timeout(target.lock_timeout, target.container.run(&command));
        loaded.await.map_err(BackupError::LockTimeout)?
    };
    let replaced = replacing.await;
    let mut remove = vec!["rm", "-f"];
    remove.extend(names.iter().map(String::as_str));
    let removed = target.container.run(&remove).await;
    replaced?;
    removed?;
    Ok(())
}

/// Returns the statements that drop the schema. The dump creates it again.
fn drop_statements(schema: &str) -> String {
    let mut text = format!(
        "DROP SCHEMA IF EXISTS {} CASCADE;\n",
        quote_identifier(schema)
    );
    if schema == "public" {
        // Every database has this schema, so a dump does not create it.
        text.push_str(
            "CREATE SCHEMA public AUTHORIZATION pg_database_owner;
             GRANT USAGE ON SCHEMA public TO PUBLIC;\n",
        );
    }
    text
}

/// Returns the statements at the end of the same transaction: the privileges of the created roles,
/// and the record of the restore.
fn final_statements(staged: &StagedDatabase, schema: &str) -> String {
    let mut text = String::new();
    for statement in &staged.grant_statements {
        text.push_str(statement);
        text.push_str(";\n");
    }
    text.push_str(&format!(
        "INSERT INTO dm_ops.restores (restore_id, backup_id, schema_name, finished_at)
         VALUES ({}, {}, {}, clock_timestamp());\n",
        quote_literal(&staged.restore_id),
        quote_literal(&staged.backup_id),
        quote_literal(schema),
    ));
    text
}

/// Collects statistics of the restored tables for the planner.
pub(super) async fn analyze(target: &RestoreTarget<'_>) -> Result<(), BackupError> {
    let mut session = target.connect().await?;
    sqlx::raw_sql(AssertSqlSafe("ANALYZE"))
        .execute(&mut session)
        .await?;
    session.close().await?;
    Ok(())
}
