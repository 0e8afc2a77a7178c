//! `dm psql`.

mod stdin_usage;

use clap::Args;
use dm_components::{database_setup, postgres};
use dm_core::error::{ExitStatus, Result, UserError};
use dm_core::error_code::ErrorCode;
use dm_engine::exec::ExecSpec;
use thiserror::Error;

use crate::attach;
use crate::context::Context;

/// Cancels a query whose psql has exited, also if it was killed.
const CONNECTION_CHECK_OPTION: &str = "-c client_connection_check_interval=1s";

/// Open psql on the database of the stack.
///
/// Without a command, psql runs the script on standard input. With a command, psql reads
/// standard input only if the command copies from it, so that it does not consume the input
/// of a loop around it.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "Examples:
  dm psql orders
  dm psql --command 'SELECT count(*) FROM orders.orders' -- --tuples-only
  echo 'SELECT 1' | dm psql")]
pub(crate) struct Arguments {
    /// Schema to select (sets the search path), e.g. `orders`.
    schema: Option<String>,
    /// Use the role, and so the permissions, of the service that owns the schema.
    #[arg(long, requires = "schema")]
    as_service: bool,
    /// Run this SQL command and exit.
    // It may begin with a comment, and so with `--`.
    #[arg(long, short, value_name = "SQL", allow_hyphen_values = true)]
    command: Option<String>,
    /// Additional arguments for psql.
    #[arg(last = true, value_name = "ARGUMENT")]
    rest: Vec<String>,
}

/// The schema does not exist.
#[derive(Debug, Error)]
#[error("there is no schema `{name}`")]
struct UnknownSchemaError {
    name: String,
    known: Vec<String>,
}

impl UserError for UnknownSchemaError {
    fn code(&self) -> ErrorCode {
        ErrorCode::SchemaUnknown
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }

    fn suggestions(&self) -> Vec<String> {
        vec![format!("the schemas are {}", self.known.join(", "))]
    }
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let project = context.session.project()?;
    let config = &project.config().postgres;
    let mut options = vec![CONNECTION_CHECK_OPTION.to_owned()];
    if let Some(schema) = &arguments.schema {
        let users = database_setup::schema_users(project.config());
        let Some(user) = users.get(schema) else {
            let known = users.into_keys().collect();
            return Err(UnknownSchemaError {
                name: schema.clone(),
                known,
            }
            .into());
        };
        options.push(format!("-c search_path={schema}"));
        if arguments.as_service {
            // On the superuser's connection, so that no password is needed.
            options.push(format!("-c role={user}"));
        }
    }
    let mut command: Vec<String> = ["psql", "--username", config.user.as_str(), "--dbname"]
        .map(str::to_owned)
        .to_vec();
    command.push(config.database.as_str().to_owned());
    let mut psql_arguments = Vec::new();
    if let Some(sql) = arguments.command {
        psql_arguments.extend(["--command".to_owned(), sql]);
    }
    psql_arguments.extend(arguments.rest);
    let stdin = stdin_usage::reads_stdin(&psql_arguments);
    command.extend(psql_arguments);
    let spec = ExecSpec {
        stdin,
        command,
        env: vec![format!("PGOPTIONS={}", options.join(" "))],
        user: Some("postgres".into()),
        ..ExecSpec::default()
    };
    attach::run_attached(&context.session, &project, postgres::NAME, spec).await
}
