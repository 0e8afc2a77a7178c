//! Tests of the database permissions: each role is tried on each schema.

use std::collections::BTreeMap;

use crate::harness::servers::execute;
use crate::harness::shared;
use crate::secrets::HARD;
use crate::test_list;

test_list![
    service_role_can_access_only_its_own_schema,
    service_role_cannot_change_its_migration_records,
    service_role_cannot_connect_to_other_databases,
    database_has_no_other_logins_or_privileged_roles,
    migrated_objects_belong_to_the_schema_owner,
];

/// The SQLSTATE of a missing permission.
const DENIED: &str = "42501";

/// The role of each service and its schema.
const SERVICES: [(&str, &str); 6] = [
    ("profile_service", "profile"),
    ("sales_service", "sales"),
    ("order_service", "orders"),
    ("inventory_service", "inventory"),
    ("finance_service", "finance"),
    ("wuphf_service", "notifications"),
];

/// What a service may do to a table of its own schema, with the number of affected rows.
const ROWS: [(&str, u64); 4] = [
    ("INSERT INTO {} (v) VALUES ('a')", 1),
    ("SELECT id, v FROM {}", 1),
    ("UPDATE {} SET v = 'b'", 1),
    ("DELETE FROM {}", 1),
];

/// What no service may do to any table, not even to its own.
const DEFINITIONS: [&str; 4] = [
    "ALTER TABLE {} ADD COLUMN w text",
    "TRUNCATE {}",
    "DROP TABLE {}",
    "CREATE INDEX ON {} (v)",
];

async fn service_role_can_access_only_its_own_schema() {
    let servers = &shared().servers;
    let mut superuser = servers.superuser().await;
    // The tables are created as by a migration: by the owner, after the permissions were granted.
    for (_, schema) in SERVICES {
        let sql = format!(
            "SET ROLE {schema}_owner;
             DROP TABLE IF EXISTS {schema}.permission_probe;
             CREATE TABLE {schema}.permission_probe (id bigserial PRIMARY KEY, v text);
             RESET ROLE"
        );
        assert_eq!(
            execute(&mut superuser, &sql).await.map(drop),
            Ok(()),
            "{schema}"
        );
    }
    let tables: BTreeMap<&str, String> = SERVICES
        .iter()
        .map(|(_, schema)| (*schema, format!("{schema}.permission_probe")))
        .chain([
            ("keycloak", "keycloak.user_entity".to_owned()),
            ("dm_ops", "dm_ops.database_setup".to_owned()),
        ])
        .collect();

    for (role, own_schema) in SERVICES {
        let mut connection = servers.database(role, HARD).await.unwrap();
        for (&schema, table) in &tables {
            let is_foreign = schema != own_schema;
            for (statement, rows) in ROWS {
                let result = execute(&mut connection, &statement.replace("{}", table)).await;
                let expected = if is_foreign {
                    Err(DENIED.to_owned())
                } else {
                    Ok(rows)
                };
                assert_eq!(result, expected, "{role}: {statement} on {table}");
            }
            for statement in DEFINITIONS {
                let result = execute(&mut connection, &statement.replace("{}", table)).await;
                assert_eq!(
                    result,
                    Err(DENIED.to_owned()),
                    "{role}: {statement} on {table}"
                );
            }
            let create = format!("CREATE TABLE {schema}.mine (id int)");
            let result = execute(&mut connection, &create).await;
            assert_eq!(result, Err(DENIED.to_owned()), "{role}: {create}");
        }
        let owner = format!("{own_schema}_owner");
        for statement in [
            "CREATE TABLE public.mine (id int)",
            "CREATE TEMP TABLE mine (id int)",
            "CREATE SCHEMA mine",
            "CREATE ROLE mine",
            &format!("SET ROLE {owner}"),
            "SET ROLE dundermifflin",
            "SELECT pg_read_file('/etc/passwd')",
            "COPY (SELECT 1) TO PROGRAM 'true'",
        ] {
            let result = execute(&mut connection, statement).await;
            assert_eq!(result, Err(DENIED.to_owned()), "{role}: {statement}");
        }
        // An unqualified name refers to the service's own schema.
        assert_eq!(
            execute(&mut connection, "SELECT id FROM permission_probe").await,
            Ok(0),
            "{role}"
        );
    }
    for (_, schema) in SERVICES {
        let drop_table = format!("DROP TABLE {schema}.permission_probe");
        assert!(execute(&mut superuser, &drop_table).await.is_ok());
    }
}

async fn service_role_cannot_change_its_migration_records() {
    let servers = &shared().servers;
    for (role, schema) in SERVICES {
        let mut connection = servers.database(role, HARD).await.unwrap();
        for record in ["schema_migrations", "event_migrations"] {
            let table = format!("{schema}.{record}");
            // At its start, the service compares the record with its own migrations.
            let select = format!("SELECT version FROM {table}");
            let read = execute(&mut connection, &select).await;
            assert!(
                read.as_ref().is_ok_and(|rows| *rows > 0),
                "{role}: {select}: {read:?}"
            );
            // A statement that is permitted changes no row.
            for statement in [
                format!("INSERT INTO {table} SELECT * FROM {table} WHERE false"),
                format!("UPDATE {table} SET success = success WHERE false"),
                format!("DELETE FROM {table} WHERE false"),
            ] {
                let result = execute(&mut connection, &statement).await;
                assert_eq!(result, Err(DENIED.to_owned()), "{role}: {statement}");
            }
        }
    }
}

async fn service_role_cannot_connect_to_other_databases() {
    let servers = &shared().servers;
    let roles = SERVICES.map(|(role, _)| role);
    for role in roles.into_iter().chain(["keycloak"]) {
        for database in ["postgres", "template1"] {
            let refused = servers.database_named(database, role, HARD).await.err();
            let code = refused
                .as_ref()
                .and_then(sqlx::Error::as_database_error)
                .and_then(|error| error.code());
            assert_eq!(
                code.as_deref(),
                Some(DENIED),
                "{role}: {database}: {refused:?}"
            );
        }
    }
}

async fn database_has_no_other_logins_or_privileged_roles() {
    let servers = &shared().servers;
    let mut superuser = servers.superuser().await;
    let logins: Vec<String> =
        sqlx::query_scalar("SELECT rolname::text FROM pg_roles WHERE rolcanlogin ORDER BY rolname")
            .fetch_all(&mut superuser)
            .await
            .unwrap();
    let mut expected: Vec<&str> = SERVICES.iter().map(|(role, _)| *role).collect();
    // The gateway has no login.
    expected.extend(["dundermifflin", "keycloak"]);
    expected.sort_unstable();
    assert_eq!(logins, expected);
    let privileged: Vec<String> = sqlx::query_scalar(
        "SELECT rolname::text FROM pg_roles
         WHERE (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)
           AND rolname NOT LIKE 'pg\\_%'",
    )
    .fetch_all(&mut superuser)
    .await
    .unwrap();
    assert_eq!(privileged, ["dundermifflin"]);

    assert!(servers.database("order_service", "wrong").await.is_err());
    assert!(servers.database("orders_owner", "").await.is_err());

    let mut keycloak = servers.database("keycloak", HARD).await.unwrap();
    assert!(
        execute(&mut keycloak, "SELECT id FROM keycloak.realm")
            .await
            .is_ok_and(|rows| rows == 2)
    );
    for statement in [
        "CREATE TABLE orders.mine (id int)",
        "CREATE TABLE public.mine (id int)",
        "SELECT digest FROM dm_ops.database_setup",
    ] {
        let result = execute(&mut keycloak, statement).await;
        assert_eq!(result, Err(DENIED.to_owned()), "keycloak: {statement}");
    }
}

async fn migrated_objects_belong_to_the_schema_owner() {
    let mut superuser = shared().servers.superuser().await;
    let foreign: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT n.nspname::text, c.relname::text, pg_get_userbyid(c.relowner)::text
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p', 'S', 'v', 'm')
           AND n.nspname = ANY ($1)
           AND pg_get_userbyid(c.relowner) <> n.nspname || '_owner'",
    )
    .bind(
        SERVICES
            .map(|(_, schema)| schema)
            .iter()
            .chain(&["dm_ops"])
            .map(|schema| (*schema).to_owned())
            .collect::<Vec<_>>(),
    )
    .fetch_all(&mut superuser)
    .await
    .unwrap();
    assert!(foreign.is_empty(), "{foreign:?}");
}
