//! Why there are no figures.

use std::path::PathBuf;
use std::time::Duration;

use dm_components::ComponentError;
use dm_components::database::DatabaseError;
use dm_core::error::{Coded, Exit};
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
    Run {
        /// What was run.
        command: String,
        /// How it ended.
        status: String,
        /// The last lines that it wrote, oldest first.
        log: Vec<String>,
    },
    /// A container of the comparison ended or never became healthy.
    #[error("could not start {service} with docker-compose: {what}")]
    Compose {
        /// The service.
        service: String,
        /// What became of it.
        what: String,
    },
    /// A generated file could not be written.
    #[error("could not write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// There was no free port.
    #[error("could not get a free port on 127.0.0.1: {0}")]
    Port(std::io::Error),
    /// A request was not answered as it has to be.
    #[error("{request} failed: {what}")]
    Request {
        /// The request.
        request: String,
        /// What became of it.
        what: String,
    },
    /// Something did not happen in time, so that its time means nothing.
    #[error("timed out after {} s: {what}", patience.as_secs())]
    Missing {
        /// What there was instead.
        what: String,
        /// How long it was waited for.
        patience: Duration,
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

impl Coded for BenchError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Spawn { .. } => ErrorCode::ProgramStart,
            Self::Run { .. } => ErrorCode::BenchRunFailed,
            Self::Compose { .. } => ErrorCode::BenchComposeFailed,
            Self::Write { .. } => ErrorCode::FileAccess,
            Self::Port(_) => ErrorCode::PortExhausted,
            Self::Request { .. } => ErrorCode::BenchResponse,
            Self::Missing { .. } => ErrorCode::BenchTimedOut,
            Self::Sql(_) => ErrorCode::DatabaseQuery,
            Self::Broker(_) => ErrorCode::BrokerCall,
            Self::Interrupted => ErrorCode::Interrupted,
            Self::Engine(error) => error.code(),
            Self::Component(error) => error.code(),
            Self::Database(error) => error.code(),
            Self::Image(error) => error.code(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Spawn { .. } | Self::Write { .. } | Self::Port(_) => Exit::Usage,
            Self::Run { .. }
            | Self::Compose { .. }
            | Self::Request { .. }
            | Self::Missing { .. }
            | Self::Sql(_)
            | Self::Broker(_) => Exit::Component,
            Self::Interrupted => Exit::Interrupted,
            Self::Engine(error) => error.exit(),
            Self::Component(error) => error.exit(),
            Self::Database(error) => error.exit(),
            Self::Image(error) => error.exit(),
        }
    }

    fn next(&self) -> Vec<String> {
        match self {
            Self::Run { command, log, .. } => log
                .iter()
                .map(|line| format!("output: {line}"))
                .chain([format!("run the command yourself: {command}")])
                .collect(),
            Self::Compose { .. } => {
                vec!["keep the compose file to run it yourself: dm bench up --keep".into()]
            }
            Self::Spawn { .. }
            | Self::Write { .. }
            | Self::Port(_)
            | Self::Request { .. }
            | Self::Missing { .. }
            | Self::Sql(_)
            | Self::Broker(_)
            | Self::Interrupted => Vec::new(),
            Self::Engine(error) => error.next(),
            Self::Component(error) => error.next(),
            Self::Database(error) => error.next(),
            Self::Image(error) => error.next(),
        }
    }
}
