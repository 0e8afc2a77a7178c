//! Tables that a component would make by itself, recorded.
//!
//! A program that migrates an empty database step by step through all of its
//! history ends every time with the same tables. Its image may hold them as a
//! script; then the schema is filled from that before the first start. The script
//! comes out of the very image that is started, so it never belongs to another
//! version, and it holds the program's own record of migrations, from where the
//! program goes on.

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use thiserror::Error;

/// A schema that can be filled from a script in a component's image.
#[derive(Debug, Clone)]
pub struct PrebuiltSchema {
    /// The script's path in the image. Where there is none, nothing is filled.
    pub script: &'static str,
    /// The schema.
    pub schema: &'static str,
    /// How to connect as the schema's owner.
    pub owner_options: PgConnectOptions,
}

/// A schema that could not be filled.
#[derive(Debug, Error)]
pub enum PrebuiltSchemaError {
    /// The server refused or went away.
    #[error("could not create the tables of schema `{schema}` with {script} of the image")]
    Sql {
        /// The schema.
        schema: &'static str,
        /// The script's path in the image.
        script: &'static str,
        /// Why not.
        #[source]
        source: sqlx::Error,
    },
    /// The script is no text.
    #[error("could not read {script} of the image as text")]
    InvalidScript {
        /// The script's path in the image.
        script: &'static str,
        /// Why not.
        #[source]
        source: std::string::FromUtf8Error,
    },
}

impl UserError for PrebuiltSchemaError {
    fn code(&self) -> ErrorCode {
        ErrorCode::RecordedSchema
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Component
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::Sql { .. } => vec![
                "dm logs postgres".into(),
                "or discard the existing data: dm reset".into(),
            ],
            Self::InvalidScript { .. } => vec!["dm images ls".into()],
        }
    }
}

impl PrebuiltSchema {
    /// True where the schema has no table at all. Anything else is the program's
    /// own, however far it came, and left to it.
    ///
    /// # Errors
    /// [`RecordedError::Sql`] where the server refuses.
    pub async fn is_empty(&self) -> Result<bool, PrebuiltSchemaError> {
        let ask = async {
            let mut connection = PgConnection::connect_with(&self.owner_options).await?;
            let empty = sqlx::query_scalar(
                "SELECT NOT EXISTS (SELECT FROM pg_tables WHERE schemaname = $1)",
            )
            .bind(self.schema)
            .fetch_one(&mut connection)
            .await?;
            connection.close().await?;
            Ok(empty)
        };
        ask.await.map_err(|source| self.sql_error(source))
    }

    /// Fills the schema, as its owner and in one transaction: killed at any
    /// moment it leaves all of it or nothing.
    ///
    /// # Errors
    /// [`RecordedError`] where the script is none or the server refuses it.
    pub async fn load_script(&self, script: Vec<u8>) -> Result<(), PrebuiltSchemaError> {
        let script =
            String::from_utf8(script).map_err(|source| PrebuiltSchemaError::InvalidScript {
                script: self.script,
                source,
            })?;
        let fill = async {
            let mut connection = PgConnection::connect_with(&self.owner_options).await?;
            let mut transaction = connection.begin().await?;
            transaction.execute(AssertSqlSafe(script)).await?;
            transaction.commit().await?;
            connection.close().await
        };
        fill.await.map_err(|source| self.sql_error(source))
    }

    fn sql_error(&self, source: sqlx::Error) -> PrebuiltSchemaError {
        PrebuiltSchemaError::Sql {
            schema: self.schema,
            script: self.script,
            source,
        }
    }
}
