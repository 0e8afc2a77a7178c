//! Loads the schemas, the topology and the realm from each of their sources.

use dm_components::database_setup::DatabaseSetup;
use dm_components::lock_watch::WorkLimits;
use dm_components::rabbitmq::queue_policies;
use dm_components::{keycloak, postgres};
use dm_core::error::Result;
use dm_schema::{SchemaDocument, SchemaError, SchemaSource, SchemaSources, SnapshotDir};

use crate::session::{Session, StackClients};

/// Loads the documents of a source: the snapshots in `snapshots`, an empty database after all
/// migrations, or the running stack.
///
/// # Errors
/// If a file cannot be read, a server is not running or cannot be reached, or the call is
/// interrupted.
pub async fn load_documents(
    session: &Session,
    clients: &StackClients,
    source: SchemaSource,
    snapshots: &SnapshotDir,
) -> Result<Vec<SchemaDocument>> {
    if source == SchemaSource::Snapshot {
        return Ok(snapshots.read()?);
    }
    // The migrations are applied by the same server.
    clients.require_database().await?;
    let config = clients.config();
    let root = &clients.project.loaded.root;
    let setup = DatabaseSetup::new(config, root);
    let path = config.rabbitmq.definitions.in_project(root);
    let text = std::fs::read(&path).map_err(|source| SchemaError::File {
        doing: "read",
        path: path.clone(),
        source,
    })?;
    let mut definitions =
        serde_json::from_slice(&text).map_err(|_| SchemaError::InvalidDefinitions(path))?;
    queue_policies::add_policies(&mut definitions, &config.rabbitmq.policies);
    let container = clients.project.instance.container_name(postgres::NAME);
    let (management, keycloak_url) = (clients.management()?, keycloak::base_url(&clients.ports));
    let sources = SchemaSources {
        engine: &clients.engine,
        postgres_container: &container,
        database: postgres::superuser_connect_options(&config.postgres, &clients.ports),
        superuser: config.postgres.user.as_str(),
        database_name: config.postgres.database.as_str(),
        schemas: setup.migrated_schemas(),
        database_setup: &setup,
        broker: &management,
        realm: clients.keycloak_admin(&keycloak_url),
        definitions,
        limits: WorkLimits {
            lock_timeout: config.timeouts.lock.as_duration(),
            deadline: None,
            interrupt: session.interrupt.clone(),
        },
    };
    Ok(match source {
        SchemaSource::Migrations => dm_schema::load_from_migrations(&sources).await?,
        SchemaSource::Live | SchemaSource::Snapshot => dm_schema::load_from_stack(&sources).await?,
    })
}
