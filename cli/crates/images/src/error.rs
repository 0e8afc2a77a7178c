//! Errors of obtaining, building and storing images.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dm_core::error::{CompilerError, ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use dm_core::suggest::closest_match;
use dm_core::units::pluralize;
use dm_engine::EngineError;
use thiserror::Error;

/// The reason why a pull failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullFailure {
    /// The registry has no such image or tag.
    NotFound,
    /// The registry requires a login, or refused the given one.
    Unauthorized,
    /// No registry answers at the address.
    Unreachable,
    /// The registry did not answer, or stopped sending, within the limit.
    TimedOut {
        /// The limit.
        after: Duration,
    },
    /// No trusted connection could be established.
    Tls,
    /// The registry refused the request because of its rate limit.
    RateLimited,
    /// The disk is full.
    DiskFull,
    /// Anything else.
    Other,
}

/// A failure to obtain or store images.
#[derive(Debug, Error)]
pub enum ImageError {
    /// The image name is unknown.
    #[error("there is no image `{name}`")]
    UnknownImage {
        /// The name that was given.
        name: String,
        /// The known names.
        known: Vec<String>,
    },
    /// A pull failed.
    #[error("could not pull {reference}: {}", describe_pull_failure(failure))]
    Pull {
        /// The image component.
        name: String,
        /// The reference that was pulled.
        reference: String,
        /// Why it failed.
        failure: PullFailure,
        /// The message of the engine.
        #[source]
        source: Box<EnginePullMessage>,
    },
    /// A reference now points to another image than when it was used first.
    #[error("{reference} now points to another image: {found} instead of {pinned}")]
    PinMismatch {
        /// The image component.
        name: String,
        /// The reference.
        reference: String,
        /// The image that it pointed to first.
        pinned: String,
        /// The image that it points to now.
        found: String,
    },
    /// The image that is to be pulled has no official image.
    #[error("image {name} is not published in any registry")]
    NotPublished {
        /// The image component.
        name: String,
    },
    /// A step of a build failed.
    #[error("could not build image {name}: {reason}")]
    Build {
        /// The image component.
        name: String,
        /// The step, as `3/7: RUN …`, if one had begun.
        step: Option<String>,
        /// The message of the builder.
        reason: String,
        /// The last lines of its output, oldest first.
        log: Vec<String>,
        /// Suggested commands or actions.
        hints: Vec<String>,
    },
    /// A program on this machine failed.
    #[error("{program} failed: {reason}")]
    Program {
        /// Its name.
        program: String,
        /// Its exit status, or why it could not be started.
        reason: String,
        /// The last lines of its output, oldest first.
        log: Vec<String>,
        /// Suggested commands or actions.
        hints: Vec<String>,
    },
    /// Sources of the workspace do not compile.
    #[error("{}", compile_summary(targets, errors))]
    Compile {
        /// The crates that did not compile, e.g. `order-service`.
        targets: Vec<String>,
        /// The errors of the compiler, in their order.
        errors: Vec<CompilerError>,
    },
    /// A binary is not statically linked, so that no image can be built from it.
    #[error("the binary of {name} is not statically linked: {reason}")]
    NotStatic {
        /// The service.
        name: String,
        /// The library loader that it requires, or why it is not a program.
        reason: String,
    },
    /// A required program is not installed.
    #[error("{tool} is required, but not installed: {reason}")]
    ToolMissing {
        /// Its name.
        tool: String,
        /// Why it could not be installed.
        reason: String,
    },
    /// No way to create a Debian base image works on this machine.
    #[error("could not make a Debian base image on this machine")]
    NoBaseImage {
        /// Each way and why it is unavailable.
        tried: Vec<String>,
    },
    /// A download failed.
    #[error("could not fetch {resource}: {reason}")]
    Fetch {
        /// The coordinates of the artifact, or the file.
        resource: String,
        /// Why.
        reason: String,
        /// Suggested commands or actions.
        hints: Vec<String>,
    },
    /// An image archive cannot be read or written.
    #[error("could not use the image archive {}: {reason}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why it cannot be used.
        reason: String,
        /// Suggested commands or actions.
        hints: Vec<String>,
    },
    /// There are no current images to save.
    #[error("there are no current images to save")]
    NothingToSave,
    /// A file could not be read or written.
    #[error("could not {action}")]
    Io {
        /// The failed action and its file, e.g. `read /x`.
        action: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The operation was cancelled.
    #[error("interrupted")]
    Cancelled,
}

/// The engine's message of a failed pull, as the cause of an error.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct EnginePullMessage(pub String);

impl ImageError {
    /// Returns a function for `map_err` that wraps a file system error with the failed action.
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    /// Returns a function for `map_err` for an archive that cannot be opened or created.
    pub(crate) fn archive_io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Archive {
            path: path.to_owned(),
            reason: error.to_string(),
            hints: Vec::new(),
        }
    }
}

/// Returns one sentence that names the targets that do not compile.
fn compile_summary(targets: &[String], errors: &[CompilerError]) -> String {
    format!(
        "{} did not compile: {}",
        targets.join(" and "),
        pluralize(errors.len(), "error")
    )
}

/// Returns a pull failure as the end of a sentence.
fn describe_pull_failure(failure: &PullFailure) -> String {
    match failure {
        PullFailure::NotFound => "the registry does not have the image".into(),
        PullFailure::Unauthorized => "the registry refused the credentials".into(),
        PullFailure::Unreachable => "the registry is unreachable".into(),
        PullFailure::TimedOut { after } => {
            format!("no data within {} s", after.as_secs_f64())
        }
        PullFailure::Tls => "no trusted TLS connection to the registry".into(),
        PullFailure::RateLimited => "the rate limit of the registry is reached".into(),
        PullFailure::DiskFull => "the disk is full".into(),
        PullFailure::Other => "the registry or the engine refused the pull".into(),
    }
}

/// Returns suggestions for a full disk.
pub(super) fn disk_full_hints() -> Vec<String> {
    vec![
        "free disk space by removing unused images: dm images prune".into(),
        "dm doctor".into(),
    ]
}

impl UserError for ImageError {
    fn log_tail(&self) -> &[String] {
        match self {
            Self::Build { log, .. } | Self::Program { log, .. } => log,
            _ => &[],
        }
    }

    fn compiler_errors(&self) -> &[CompilerError] {
        match self {
            Self::Compile { errors, .. } => errors,
            _ => &[],
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownImage { .. } => ErrorCode::ImageUnknown,
            Self::Pull { failure, .. } => match failure {
                PullFailure::NotFound => ErrorCode::ImageNotFound,
                PullFailure::Unauthorized => ErrorCode::RegistryCredentials,
                PullFailure::Unreachable => ErrorCode::RegistryUnreachable,
                PullFailure::TimedOut { .. } => ErrorCode::RegistryTimeout,
                PullFailure::Tls => ErrorCode::RegistryTls,
                PullFailure::RateLimited => ErrorCode::RegistryRateLimit,
                PullFailure::DiskFull => ErrorCode::DiskFull,
                PullFailure::Other => ErrorCode::ImagePull,
            },
            Self::PinMismatch { .. } => ErrorCode::ImageMoved,
            Self::NotPublished { .. } => ErrorCode::ImageNotPublished,
            Self::Build { .. } => ErrorCode::ImageBuild,
            Self::Program { .. } => ErrorCode::ProgramFailed,
            Self::Compile { .. } => ErrorCode::SourcesNotCompiling,
            Self::NotStatic { .. } => ErrorCode::BinaryNotStatic,
            Self::ToolMissing { .. } => ErrorCode::ToolMissing,
            Self::NoBaseImage { .. } => ErrorCode::ImageNoBase,
            Self::Fetch { .. } => ErrorCode::DownloadFailed,
            Self::Archive { .. } => ErrorCode::ImageArchive,
            Self::NothingToSave => ErrorCode::ImageNothingToSave,
            Self::Io { .. } => ErrorCode::FileAccess,
            Self::Engine(error) => error.code(),
            Self::Cancelled => ErrorCode::Interrupted,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::UnknownImage { .. } | Self::Archive { .. } | Self::NotPublished { .. } => {
                ExitStatus::Usage
            }
            Self::Pull {
                failure: PullFailure::TimedOut { .. },
                ..
            } => ExitStatus::TimedOut,
            Self::Engine(error) => error.exit_status(),
            Self::Cancelled => ExitStatus::Interrupted,
            _ => ExitStatus::Component,
        }
    }

    fn suggestions(&self) -> Vec<String> {
        match self {
            Self::UnknownImage { name, known } => {
                let mut hints = Vec::new();
                if let Some(nearest) = closest_match(name, known) {
                    hints.push(format!("did you mean {nearest}?"));
                }
                hints.push(format!("the images are {}", known.join(", ")));
                hints
            }
            Self::Pull { failure, .. } => pull_hints(failure),
            Self::PinMismatch { name, .. } => vec![
                format!("accept the new image: dm images pull {name}"),
                format!("or build the image here: dm images build {name}"),
            ],
            Self::NotPublished { name } => vec![
                format!("build the image here: dm images build {name}"),
                "or set images.source to \"auto\" or \"build\", so that dm up builds the image".into(),
            ],
            Self::Build { hints, .. }
            | Self::Program { hints, .. }
            | Self::Fetch { hints, .. }
            | Self::Archive { hints, .. } => hints.clone(),
            Self::NotStatic { .. } => vec![
                "check RUSTC, RUSTC_WRAPPER, CARGO_* and .cargo/config.toml for another compiler, linker or target".into(),
                "dm rebuild".into(),
            ],
            Self::ToolMissing { tool, .. } if ["cargo", "rustc"].contains(&tool.as_str()) => {
                vec!["install Rust with rustup, then run the command again".into()]
            }
            Self::ToolMissing { tool, .. } => {
                vec![format!("install {tool} with the package manager of this system")]
            }
            Self::NoBaseImage { tried } => {
                let mut hints = tried.clone();
                hints.push("install mmdebstrap, or set images.mirror to a registry that has debian:trixie-slim".into());
                hints
            }
            Self::Compile { .. } => Vec::new(),
            Self::NothingToSave => vec!["dm images build".into()],
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                disk_full_hints()
            }
            Self::Io { .. } => Vec::new(),
            Self::Engine(error) => error.suggestions(),
            Self::Cancelled => Vec::new(),
        }
    }
}

fn pull_hints(failure: &PullFailure) -> Vec<String> {
    let build = "build the image here, without a registry: dm images build";
    match failure {
        PullFailure::NotFound => vec![
            "check images.mirror in dm.toml: the mirror must have the image at its usual path"
                .into(),
            build.into(),
        ],
        PullFailure::Unauthorized => vec![
            "check images.credentials, or DM_IMAGES__CREDENTIALS__USERNAME and DM_IMAGES__CREDENTIALS__PASSWORD".into(),
            build.into(),
        ],
        PullFailure::Unreachable => vec![
            "check the network, and images.mirror in dm.toml".into(),
            build.into(),
        ],
        PullFailure::TimedOut { .. } => vec![
            "raise images.pull_timeout in dm.toml if the network is slow".into(),
            build.into(),
        ],
        PullFailure::Tls => vec![
            "copy the certificate of the registry's authority to /etc/docker/certs.d/<registry>/ca.crt, so that the engine trusts it".into(),
            build.into(),
        ],
        PullFailure::RateLimited => vec![
            "log in with images.credentials, or set images.mirror".into(),
            build.into(),
        ],
        PullFailure::DiskFull => disk_full_hints(),
        PullFailure::Other => vec![build.into(), "dm doctor".into()],
    }
}
