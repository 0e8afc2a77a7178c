//! Why there are no figures.

use std::path::PathBuf;
use std::time::Duration;

use dm_components::ComponentError;
use dm_components::database_setup::DatabaseError;
use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use dm_engine::EngineError;
use dm_images::ImageError;
use thiserror::Error;

/// A bench that could not measure.
#[derive(Debug, Error)]
pub(crate) enum BenchError {
    /// A program could not be started.
    #[error("could not run {program}: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A run failed, so that its time means nothing.
    #[error("`{command}` failed ({status})")]
    CommandFailed {
        /// What was run.
        command: String,
        /// How it ended.
        status: String,
        /// The last lines that it wrote, oldest first.
        log: Vec<String>,
    },
    /// A container of the comparison ended or never became healthy.
    #[error("could not start {service} with docker-compose: {status}")]
    ComposeUnhealthy {
        /// The service.
        service: String,
        /// What became of it.
        status: String,
    },
    /// A generated file could not be written.
    #[error("could not write {}: {source}", path.display())]
    WriteFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// There was no free port.
    #[error("could not get a free port on 127.0.0.1: {0}")]
    NoFreePort(std::io::Error),
    /// A request was not answered as it has to be.
    #[error("{request} failed: {reason}")]
    RequestFailed {
        /// The request.
        request: String,
        /// What became of it.
        reason: String,
    },
    /// Something did not happen in time, so that its time means nothing.
    #[error("timed out after {} s: {reason}", timeout.as_secs())]
    Timeout {
        /// What there was instead.
        reason: String,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// The database refused.
    #[error("could not query PostgreSQL")]
    Sql(#[from] sqlx::Error),
    /// The broker refused.
    #[error("could not communicate with RabbitMQ")]
    Broker(#[from] lapin::Error),
    /// It was interrupted.
    #[error("interrupted; the scratch stacks were removed")]
    Interrupted,
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A component can't be configured.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// The migrations can't be read.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// An image can't be had.
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
                vec!["keep the compose file to run it yourself: dm bench up --keep".into()]
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
