//! The schemas, the broker's topology and the realm, from each place that has them.

use dm_components::database_setup::DatabaseSetup;
use dm_components::lock_watch::WorkLimits;
use dm_components::rabbitmq::queue_policies;
use dm_components::{keycloak, postgres};
use dm_core::error::Result;
use dm_schema::{SchemaDocument, SchemaError, SchemaSource, SchemaSources, SnapshotDir};

use crate::session::{Session, StackClients};

/// The documents of a source: the snapshots of `folder`, what the migrations make of an
/// empty database, or the running stack.
///
/// # Errors
/// A file that can't be read; a server that does not answer; an interrupt.
pub async fn load_documents(
    session: &Session,
    desk: &StackClients,
    source: SchemaSource,
    folder: &SnapshotDir,
) -> Result<Vec<SchemaDocument>> {
    if source == SchemaSource::Snapshot {
        return Ok(folder.read()?);
    }
    let config = desk.config();
    let root = &desk.project.loaded.root;
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
    let container = desk.project.instance.container_name(postgres::NAME);
    let (management, base) = (desk.management()?, keycloak::base_url(&desk.ports));
    let site = SchemaSources {
        engine: &desk.engine,
        postgres_container: &container,
        database: postgres::superuser_connect_options(&config.postgres, &desk.ports),
        superuser: config.postgres.user.as_str(),
        database_name: config.postgres.database.as_str(),
        schemas: setup.migrated_schemas(),
        database_setup: &setup,
        broker: &management,
        realm: desk.keycloak_admin(&base),
        definitions,
        limits: WorkLimits {
            lock_timeout: config.timeouts.lock.as_duration(),
            deadline: None,
            interrupt: session.interrupt.clone(),
        },
    };
    Ok(match source {
        SchemaSource::Migrations => dm_schema::load_from_migrations(&site).await?,
        SchemaSource::Live | SchemaSource::Snapshot => dm_schema::load_from_stack(&site).await?,
    })
}
