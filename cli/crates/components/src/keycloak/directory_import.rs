//! Imports the users of the directory into Keycloak before the first sign-in.
//!
//! Without this, Keycloak imports each user at the first sign-in of the user, and caches the user
//! before the import is committed. If another first sign-in of the same user reads the cache in
//! between, and the import is rolled back, the cache keeps a user that the database does not have.
//! Keycloak then refuses the user's correct password until it restarts.

use std::time::Duration;

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};

use super::admin_client::AdminClient;
use crate::{ProbeFuture, openldap, root_cause};

/// How long Keycloak may take to reach a directory that is ready: Java keeps a failed look-up of an
/// address for 10 s.
const DIRECTORY_TIMEOUT: Duration = Duration::from_secs(15);
/// The timeout of one probe of the directory.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// The interval between probes and between attempts.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The reason why it is unknown whether the users of the directory are imported.
#[derive(Debug, Error)]
pub(super) enum DirectoryImportError {
    /// A database statement failed.
    #[error("could not read which directories Keycloak has imported: {0}")]
    Sql(#[from] sqlx::Error),
    /// Keycloak cannot be reached.
    #[error("could not import the users of the directory: {0}")]
    Unreachable(String),
}

impl UserError for DirectoryImportError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Sql(_) => ErrorCode::DatabaseQuery,
            Self::Unreachable(_) => ErrorCode::KeycloakUnreachable,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Component
    }

    fn suggestions(&self) -> Vec<String> {
        let component = match self {
            Self::Sql(_) => "postgres",
            Self::Unreachable(_) => "keycloak",
        };
        vec![format!("dm logs {component}")]
    }
}

/// Imports the users of the stack's directory, unless Keycloak has imported them before. Returns a
/// note about users who are not imported: Keycloak imports them when they sign in.
///
/// `database` connects as the owner of Keycloak's schema. `probe_directory` probes the directory,
/// which starts at the same time as Keycloak; the caller limits the time.
///
/// # Errors
/// Returns [`DirectoryImportError`] if a database statement fails or Keycloak cannot be reached.
pub(super) async fn import_users(
    admin: &AdminClient<'_>,
    database: &PgConnectOptions,
    probe_directory: impl Fn() -> ProbeFuture,
) -> Result<Option<String>, DirectoryImportError> {
    let mut pending = pending_federations(admin.realm, database).await?;
    if pending.is_empty() {
        return Ok(None);
    }
    while !matches!(timeout(PROBE_TIMEOUT, probe_directory()).await, Ok(Ok(()))) {
        sleep(RETRY_INTERVAL).await;
    }
    let mut deadline = Instant::now() + DIRECTORY_TIMEOUT;
    loop {
        let mut failed = 0;
        for federation in &pending {
            match admin.import_users(federation).await {
                Ok(result) if result.ignored => deadline = Instant::now() + DIRECTORY_TIMEOUT,
                Ok(result) => failed += result.failed,
                Err(error) if error.is_status() => return Ok(Some(note(&root_cause(&error)))),
                Err(error) => return Err(DirectoryImportError::Unreachable(root_cause(&error))),
            }
        }
        if failed > 0 {
            return Ok(Some(note(&format!("Keycloak refuses {failed} of them"))));
        }
        pending = pending_federations(admin.realm, database).await?;
        if pending.is_empty() {
            return Ok(None);
        }
        if Instant::now() >= deadline {
            return Ok(Some(note("Keycloak cannot read the directory")));
        }
        sleep(RETRY_INTERVAL).await;
    }
}

fn note(cause: &str) -> String {
    format!(
        "could not import all users of the directory; the others are imported when they sign in: {cause} (dm logs keycloak)"
    )
}

/// Returns the ids of the realm's federations with the stack's directory whose users have not been
/// imported. Keycloak records the time of an import in the configuration of the federation, as
/// `lastSync_FULL` or, in older versions, `lastSync`. A realm file that was exported from another
/// Keycloak contains its record, and no users.
async fn pending_federations(
    realm: &str,
    database: &PgConnectOptions,
) -> Result<Vec<String>, sqlx::Error> {
    let mut connection = PgConnection::connect_with(database).await?;
    let federations = sqlx::query_scalar(
        "SELECT component.id FROM keycloak.component
         JOIN keycloak.realm ON realm.id = component.realm_id AND realm.name = $1
         JOIN keycloak.component_config AS address
           ON address.component_id = component.id AND address.name = 'connectionUrl'
         WHERE component.provider_id = 'ldap'
           AND address.value ~ $2
           AND NOT EXISTS (
               SELECT FROM keycloak.component_config AS switch
               WHERE switch.component_id = component.id
                 AND switch.name IN ('enabled', 'importEnabled') AND switch.value = 'false')
           AND NOT (
               EXISTS (
                   SELECT FROM keycloak.component_config AS record
                   WHERE record.component_id = component.id
                     AND record.name IN ('lastSync', 'lastSync_FULL'))
               AND EXISTS (
                   SELECT FROM keycloak.user_entity
                   WHERE user_entity.federation_link = component.id))",
    )
    .bind(realm)
    .bind(format!("^ldap://{}(:|/|$)", openldap::NAME))
    .fetch_all(&mut connection)
    .await?;
    connection.close().await?;
    Ok(federations)
}
