//! The schemas, the broker's topology and the realm, from each place that has them.

use dm_components::database::Database;
use dm_components::locks::Limits;
use dm_components::rabbitmq::policies;
use dm_components::{keycloak, postgres};
use dm_core::error::Result;
use dm_schema::{Document, Folder, SchemaError, Site, Source};

use crate::session::{Desk, Session};

/// The documents of a source: the snapshots of `folder`, what the migrations make of an
/// empty database, or the running stack.
///
/// # Errors
/// A file that can't be read; a server that does not answer; an interrupt.
pub async fn documents(
    session: &Session,
    desk: &Desk,
    source: Source,
    folder: &Folder,
) -> Result<Vec<Document>> {
    if source == Source::Snapshot {
        return Ok(folder.read()?);
    }
    let config = desk.config();
    let root = &desk.project.loaded.root;
    let setup = Database::new(config, root);
    let path = config.rabbitmq.definitions.in_project(root);
    let text = std::fs::read(&path).map_err(|source| SchemaError::File {
        doing: "read",
        path: path.clone(),
        source,
    })?;
    let mut definitions =
        serde_json::from_slice(&text).map_err(|_| SchemaError::Definitions(path))?;
    policies::add_to(&mut definitions, &config.rabbitmq.policies);
    let container = desk.project.instance.container(postgres::NAME);
    let (management, base) = (desk.management()?, keycloak::base_url(&desk.ports));
    let site = Site {
        engine: &desk.engine,
        container: &container,
        database: postgres::connect_options(&config.postgres, &desk.ports),
        user: config.postgres.user.as_str(),
        name: config.postgres.database.as_str(),
        schemas: setup.migrated_schemas(),
        setup: &setup,
        broker: &management,
        realm: desk.keycloak(&base),
        definitions,
        limits: Limits {
            lock: config.timeouts.lock.get(),
            until: None,
            interrupt: session.interrupt.clone(),
        },
    };
    Ok(match source {
        Source::Migrations => dm_schema::fresh(&site).await?,
        Source::Live | Source::Snapshot => dm_schema::live(&site).await?,
    })
}
