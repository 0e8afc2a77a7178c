//! Prebuilt tables of a component, which would otherwise create them on its own.
//!
//! A program that migrates an empty database through all of its history always
//! ends with the same tables. Its image may contain them as a script, which then
//! fills the schema before the first start. The script comes from the image that
//! is started, so it never belongs to another version. It contains the program's
//! own record of migrations, from which the program continues.

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use thiserror::Error;

/// A schema that can be filled from a script in a component's image.
#[derive(Debug, Clone)]
pub struct PrebuiltSchema {
    /// The script's path in the image. Without the file the schema is not filled.
    pub script: &'static str,
    /// The schema.
    pub schema: &'static str,
    /// The connection options of the schema's owner.
    pub owner_options: PgConnectOptions,
}

/// An error of filling a schema.
#[derive(Debug, Error)]
pub enum PrebuiltSchemaError {
    /// A connection or a statement failed.
    #[error("could not create the tables of schema `{schema}` with {script} of the image")]
    Sql {
        /// The schema.
        schema: &'static str,
        /// The script's path in the image.
        script: &'static str,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// The script is not UTF-8 text.
    #[error("could not read {script} of the image as text")]
    InvalidScript {
        /// The script's path in the image.
        script: &'static str,
        /// The cause.
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
    /// Returns whether the schema has no tables. Existing tables belong to the program, which
    /// continues its own migration.
    ///
    /// # Errors
    /// Returns [`PrebuiltSchemaError::Sql`] if the connection or the query fails.
    pub async fn is_empty(&self) -> Result<bool, PrebuiltSchemaError> {
        let query = async {
            let mut connection = PgConnection::connect_with(&self.owner_options).await?;
            let is_empty = sqlx::query_scalar(
                "SELECT NOT EXISTS (SELECT FROM pg_tables WHERE schemaname = $1)",
            )
            .bind(self.schema)
            .fetch_one(&mut connection)
            .await?;
            connection.close().await?;
            Ok(is_empty)
        };
        query.await.map_err(|source| self.sql_error(source))
    }

    /// Fills the schema, as its owner and in one transaction: killed at any
    /// moment it leaves all of it or nothing.
    ///
    /// # Errors
    /// Returns [`PrebuiltSchemaError`] if the script is not UTF-8 or the server rejects it.
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
