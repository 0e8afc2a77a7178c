//! Whose is what in the database: each role is tried on each schema.

use std::collections::BTreeMap;

use crate::harness::servers::execute;
use crate::harness::shared;
use crate::secrets::HARD;
use crate::test_list;

test_list![
    a_service_role_has_its_own_schema_and_nothing_else,
    nobody_else_gets_into_the_database,
    migrations_belong_to_the_owner,
];

/// What a refusal for want of a right is called.
const DENIED: &str = "42501";

/// Role, and the schema that is its own.
const SERVICES: [(&str, &str); 6] = [
    ("profile_service", "profile"),
    ("sales_service", "sales"),
    ("order_service", "orders"),
    ("inventory_service", "inventory"),
    ("finance_service", "finance"),
    ("wuphf_service", "notifications"),
];

/// What may be done to a table, with the number of rows that it concerns.
const ROWS: [(&str, u64); 4] = [
    ("INSERT INTO {} (v) VALUES ('a')", 1),
    ("SELECT id, v FROM {}", 1),
    ("UPDATE {} SET v = 'b'", 1),
    ("DELETE FROM {}", 1),
];

/// What no service may do to any table, its own included.
const DEFINITIONS: [&str; 4] = [
    "ALTER TABLE {} ADD COLUMN w text",
    "TRUNCATE {}",
    "DROP TABLE {}",
    "CREATE INDEX ON {} (v)",
];

async fn a_service_role_has_its_own_schema_and_nothing_else() {
    let servers = &shared().servers;
    let mut superuser = servers.superuser().await;
    // As a migration makes it: by the owner, after the rights were given.
    for (_, schema) in SERVICES {
        let sql = format!(
            "SET ROLE {schema}_owner;
             DROP TABLE IF EXISTS {schema}.rights_probe;
             CREATE TABLE {schema}.rights_probe (id bigserial PRIMARY KEY, v text);
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
        .map(|(_, schema)| (*schema, format!("{schema}.rights_probe")))
        .chain([
            ("keycloak", "keycloak.user_entity".to_owned()),
            ("dm_ops", "dm_ops.database_setup".to_owned()),
        ])
        .collect();

    for (role, own) in SERVICES {
        let mut connection = servers.database(role, HARD).await.unwrap();
        for (&schema, table) in &tables {
            let other = schema != own;
            for (statement, rows) in ROWS {
                let did = execute(&mut connection, &statement.replace("{}", table)).await;
                let expected = if other {
                    Err(DENIED.to_owned())
                } else {
                    Ok(rows)
                };
                assert_eq!(did, expected, "{role}: {statement} on {table}");
            }
            for statement in DEFINITIONS {
                let did = execute(&mut connection, &statement.replace("{}", table)).await;
                assert_eq!(
                    did,
                    Err(DENIED.to_owned()),
                    "{role}: {statement} on {table}"
                );
            }
            let made = format!("CREATE TABLE {schema}.mine (id int)");
            let did = execute(&mut connection, &made).await;
            assert_eq!(did, Err(DENIED.to_owned()), "{role}: {made}");
        }
        let owner = format!("{own}_owner");
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
            let did = execute(&mut connection, statement).await;
            assert_eq!(did, Err(DENIED.to_owned()), "{role}: {statement}");
        }
        // Without a schema's name it is in its own.
        assert_eq!(
            execute(&mut connection, "SELECT id FROM rights_probe").await,
            Ok(0),
            "{role}"
        );
    }
    for (_, schema) in SERVICES {
        let dropped = format!("DROP TABLE {schema}.rights_probe");
        assert!(execute(&mut superuser, &dropped).await.is_ok());
    }
}

async fn nobody_else_gets_into_the_database() {
    let servers = &shared().servers;
    let mut superuser = servers.superuser().await;
    let logins: Vec<String> =
        sqlx::query_scalar("SELECT rolname::text FROM pg_roles WHERE rolcanlogin ORDER BY rolname")
            .fetch_all(&mut superuser)
            .await
            .unwrap();
    let mut expected: Vec<&str> = SERVICES.iter().map(|(role, _)| *role).collect();
    // The gateway has none.
    expected.extend(["dundermifflin", "keycloak"]);
    expected.sort_unstable();
    assert_eq!(logins, expected);
    let mighty: Vec<String> = sqlx::query_scalar(
        "SELECT rolname::text FROM pg_roles
         WHERE (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)
           AND rolname NOT LIKE 'pg\\_%'",
    )
    .fetch_all(&mut superuser)
    .await
    .unwrap();
    assert_eq!(mighty, ["dundermifflin"]);

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
        let did = execute(&mut keycloak, statement).await;
        assert_eq!(did, Err(DENIED.to_owned()), "keycloak: {statement}");
    }
}

async fn migrations_belong_to_the_owner() {
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
            .map(|it| (*it).to_owned())
            .collect::<Vec<_>>(),
    )
    .fetch_all(&mut superuser)
    .await
    .unwrap();
    assert!(foreign.is_empty(), "{foreign:?}");
}
