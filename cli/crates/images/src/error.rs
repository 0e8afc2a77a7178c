//! What can go wrong with images.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dm_core::error::{CompilerError, ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use dm_core::suggest::closest_match;
use dm_engine::EngineError;
use thiserror::Error;

/// Why a registry gave no image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullFailure {
    /// The registry has no such image or tag.
    NotFound,
    /// The registry wants a login, or another one.
    Unauthorized,
    /// No registry answers there.
    Unreachable,
    /// The registry began, or nothing at all came, within the limit.
    TimedOut {
        /// The limit.
        after: Duration,
    },
    /// No trusted connection comes about.
    Tls,
    /// The registry refuses for now: too many requests.
    RateLimited,
    /// The disk is full.
    DiskFull,
    /// Anything else.
    Other,
}

/// A failure to obtain or keep images.
#[derive(Debug, Error)]
pub enum ImageError {
    /// No image is called so.
    #[error("there is no image `{name}`")]
    UnknownImage {
        /// The name that was given.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// A pull failed.
    #[error("could not pull {reference}: {}", describe(refusal))]
    Pull {
        /// The image component.
        name: String,
        /// What was pulled.
        reference: String,
        /// Why it failed.
        refusal: PullFailure,
        /// What the engine said of it.
        #[source]
        source: Box<EnginePullMessage>,
    },
    /// A reference stands for another image than when it was used first.
    #[error("{reference} now points to another image: {found} instead of {pinned}")]
    PinMismatch {
        /// The image component.
        name: String,
        /// The reference.
        reference: String,
        /// What it stood for.
        pinned: String,
        /// What it stands for now.
        found: String,
    },
    /// Nothing official is known for an image that is to be pulled.
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
        /// The step, as `3/7: RUN …`, where one had begun.
        step: Option<String>,
        /// What the builder said of it.
        reason: String,
        /// The last lines of its output, oldest first.
        log: Vec<String>,
        /// What to do.
        hints: Vec<String>,
    },
    /// A program on this machine failed.
    #[error("{program} failed: {reason}")]
    Program {
        /// Its name.
        program: String,
        /// Its exit, or why it could not be started.
        reason: String,
        /// The last lines of its output, oldest first.
        log: Vec<String>,
        /// What to do.
        hints: Vec<String>,
    },
    /// Sources of the workspace are wrong.
    #[error("{}", compile(targets, errors))]
    Compile {
        /// The crates that did not compile, e.g. `order-service`.
        targets: Vec<String>,
        /// What the compiler found, first one first.
        errors: Vec<CompilerError>,
    },
    /// A binary that can't run alone, so that no image can be made of it.
    #[error("the binary of {name} is not statically linked: {reason}")]
    NotStatic {
        /// The service.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A program is needed that this machine lacks.
    #[error("{tool} is required, but not installed: {reason}")]
    ToolMissing {
        /// Its name.
        tool: String,
        /// Why it could not be had.
        reason: String,
    },
    /// There is no way on this machine to make a Debian base.
    #[error("could not make a Debian base image on this machine")]
    NoBaseImage {
        /// Each way and why it was closed.
        tried: Vec<String>,
    },
    /// A download failed.
    #[error("could not fetch {what}: {reason}")]
    Fetch {
        /// The coordinates.
        what: String,
        /// Why.
        reason: String,
        /// What to do.
        hints: Vec<String>,
    },
    /// A file of images can't be taken.
    #[error("could not use the image archive {}: {reason}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        hints: Vec<String>,
    },
    /// There is nothing to save.
    #[error("there are no current images to save")]
    NothingToSave,
    /// A file could not be read or written.
    #[error("could not {doing}")]
    Io {
        /// What was being done to which file.
        doing: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// It was interrupted.
    #[error("interrupted")]
    Cancelled,
}

/// What the engine said of a pull that failed, kept as a cause.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct EnginePullMessage(pub String);

impl ImageError {
    /// For `map_err`: a failure of the file system, named by what was being done.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// For `map_err`: a file that the caller named can't be opened or made.
    pub(crate) fn archive_io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Archive {
            path: path.to_owned(),
            reason: error.to_string(),
            hints: Vec::new(),
        }
    }
}

/// What does not compile, in one sentence.
fn compile(targets: &[String], errors: &[CompilerError]) -> String {
    let errors = match errors.len() {
        1 => "1 error".to_owned(),
        count => format!("{count} errors"),
    };
    format!("{} did not compile: {errors}", targets.join(" and "))
}

/// A refusal as the end of a sentence.
fn describe(refusal: &PullFailure) -> String {
    match refusal {
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

/// What to do when the disk is full.
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
            Self::Pull { refusal, .. } => match refusal {
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
                refusal: PullFailure::TimedOut { .. },
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
                let mut next = Vec::new();
                if let Some(nearest) = closest_match(name, known) {
                    next.push(format!("did you mean {nearest}?"));
                }
                next.push(format!("the images are {}", known.join(", ")));
                next
            }
            Self::Pull { refusal, .. } => pull_hints(refusal),
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
                let mut next = tried.clone();
                next.push("install mmdebstrap, or set images.mirror to a registry that has debian:trixie-slim".into());
                next
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

fn pull_hints(refusal: &PullFailure) -> Vec<String> {
    let build = "build the image here, without a registry: dm images build";
    match refusal {
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
