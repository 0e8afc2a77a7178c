//! Errors of benchmarks.

use std::path::PathBuf;
use std::time::Duration;

use dm_components::ComponentError;
use dm_components::database_setup::DatabaseError;
use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use dm_engine::EngineError;
use dm_images::ImageError;
use thiserror::Error;

/// The error of a bench.
#[derive(Debug, Error)]
pub(crate) enum BenchError {
    /// A program could not be started.
    #[error("could not run {program}: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A measured command failed.
    #[error("`{command}` failed ({status})")]
    CommandFailed {
        /// The command line.
        command: String,
        /// The exit status.
        status: String,
        /// The last lines of its output, oldest first.
        log: Vec<String>,
    },
    /// A container of docker-compose exited or did not become healthy.
    #[error("could not start {service} with docker-compose: {status}")]
    ComposeUnhealthy {
        /// The service.
        service: String,
        /// The status of the container.
        status: String,
    },
    /// A generated file could not be written.
    #[error("could not write {}: {source}", path.display())]
    WriteFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// There was no free port.
    #[error("could not get a free port on 127.0.0.1: {0}")]
    NoFreePort(std::io::Error),
    /// A request failed.
    #[error("{request} failed: {reason}")]
    RequestFailed {
        /// The request.
        request: String,
        /// The reason.
        reason: String,
    },
    /// An expected effect did not occur in time.
    #[error("timed out after {} s: {reason}", timeout.as_secs())]
    Timeout {
        /// The state that was found instead.
        reason: String,
        /// The timeout that elapsed.
        timeout: Duration,
    },
    /// A query failed.
    #[error("could not query PostgreSQL")]
    Sql(#[from] sqlx::Error),
    /// RabbitMQ returned an error.
    #[error("could not communicate with RabbitMQ")]
    Broker(#[from] lapin::Error),
    /// The bench was interrupted.
    #[error("interrupted; the scratch stacks were removed")]
    Interrupted,
    /// The engine returned an error.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A component could not be configured.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// The migrations could not be read.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// An image could not be found.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl UserError for BenchError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Spawn { .. } => ErrorCode::ProgramStart,
            Self::CommandFailed { .. } => ErrorCode::BenchRunFailed,
            Self::ComposeUnhealthy { .. } => ErrorCode::BenchComposeFailed,
            Self::WriteFile { .. } => ErrorCode::FileAccess,
            Self::NoFreePort(_) => ErrorCode::PortExhausted,
            Self::RequestFailed { .. } => ErrorCode::BenchResponse,
            Self::Timeout { .. } => ErrorCode::BenchTimedOut,
            Self::Sql(_) => ErrorCode::DatabaseQuery,
            Self::Broker(_) => ErrorCode::BrokerCall,
            Self::Interrupted => ErrorCode::Interrupted,
            Self::Engine(error) => error.code(),
            Self::Component(error) => error.code(),
            Self::Database(error) => error.code(),
            Self::Image(error) => error.code(),
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Spawn { .. } | Self::WriteFile { .. } | Self::NoFreePort(_) => ExitStatus::Usage,
            Self::CommandFailed { .. }
            | Self::ComposeUnhealthy { .. }
            | Self::RequestFailed { .. }
            | Self::Timeout { .. }
            | Self::Sql(_)
            | Self::Broker(_) => ExitStatus::Component,
            Self::Interrupted => ExitStatus::Interrupted,
            Self::Engine(error) => error.exit_status(),
            Self::Component(error) => error.exit_status(),
            Self::Database(error) => error.exit_status(),
            Self::Image(error) => error.exit_status(),
        }
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::CommandFailed { command, log, .. } => log
                .iter()
                .map(|line| format!("output: {line}"))
                .chain([format!("run the command yourself: {command}")])
                .collect(),
            Self::ComposeUnhealthy { .. } => {
                vec!["keep the compose file to run it yourself: dm bench up --keep-files".into()]
            }
            Self::Spawn { .. }
            | Self::WriteFile { .. }
            | Self::NoFreePort(_)
            | Self::RequestFailed { .. }
            | Self::Timeout { .. }
            | Self::Sql(_)
            | Self::Broker(_)
            | Self::Interrupted => Vec::new(),
            Self::Engine(error) => error.suggestions(),
            Self::Component(error) => error.suggestions(),
            Self::Database(error) => error.suggestions(),
            Self::Image(error) => error.suggestions(),
        }
    }
}
