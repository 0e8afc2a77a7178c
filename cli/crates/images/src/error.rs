//! What can go wrong with images.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dm_core::error::{Coded, Exit, SourceError};
use dm_core::suggest::nearest;
use dm_engine::EngineError;
use thiserror::Error;

/// Why a registry gave no image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullRefusal {
    /// The registry has no such image or tag.
    NotFound,
    /// The registry wants a login, or another one.
    Credentials,
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
    #[error("there is no image called {name}")]
    Unknown {
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
        refusal: PullRefusal,
        /// What the engine said of it.
        #[source]
        source: Box<PullDetail>,
    },
    /// A reference stands for another image than when it was used first.
    #[error("{reference} is another image now: {found} in place of {pinned}")]
    Moved {
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
    #[error("image {name} exists in no registry")]
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
        errors: Vec<SourceError>,
    },
    /// A binary that can't run alone, so that no image can be made of it.
    #[error("the binary of {name} is not a static one: {reason}")]
    NotStatic {
        /// The service.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A program is needed that this machine lacks.
    #[error("{tool} is needed and not installed: {reason}")]
    ToolMissing {
        /// Its name.
        tool: String,
        /// Why it could not be had.
        reason: String,
    },
    /// There is no way on this machine to make a Debian base.
    #[error("no Debian base image can be made here")]
    NoBase {
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
    #[error("{} {reason}", path.display())]
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
pub struct PullDetail(pub String);

impl ImageError {
    /// For `map_err`: a failure of the file system, named by what was being done.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// For `map_err`: a file that the caller named can't be opened or made.
    pub(crate) fn named_file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Archive {
            path: path.to_owned(),
            reason: format!("can't be opened: {error}"),
            hints: Vec::new(),
        }
    }
}

/// What does not compile, in one sentence.
fn compile(targets: &[String], errors: &[SourceError]) -> String {
    let errors = match errors.len() {
        1 => "1 error".to_owned(),
        count => format!("{count} errors"),
    };
    format!("{} did not compile: {errors}", targets.join(" and "))
}

/// A refusal as the end of a sentence.
fn describe(refusal: &PullRefusal) -> String {
    match refusal {
        PullRefusal::NotFound => "the registry has no such image".into(),
        PullRefusal::Credentials => "the registry refuses the credentials".into(),
        PullRefusal::Unreachable => "no registry answers there".into(),
        PullRefusal::TimedOut { after } => {
            format!("nothing came within {} s", after.as_secs_f64())
        }
        PullRefusal::Tls => "no trusted connection to the registry".into(),
        PullRefusal::RateLimited => "the registry allows no more pulls for now".into(),
        PullRefusal::DiskFull => "the disk is full".into(),
        PullRefusal::Other => "the registry or the engine refused".into(),
    }
}

/// What to do when the disk is full.
pub(super) fn disk_full_hints() -> Vec<String> {
    vec![
        "free some space: `dm images prune` removes images that nothing needs any more".into(),
        "dm doctor".into(),
    ]
}

impl Coded for ImageError {
    fn log(&self) -> &[String] {
        match self {
            Self::Build { log, .. } | Self::Program { log, .. } => log,
            _ => &[],
        }
    }

    fn source_errors(&self) -> &[SourceError] {
        match self {
            Self::Compile { errors, .. } => errors,
            _ => &[],
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "image-unknown",
            Self::Pull { refusal, .. } => match refusal {
                PullRefusal::NotFound => "image-not-found",
                PullRefusal::Credentials => "registry-credentials",
                PullRefusal::Unreachable => "registry-unreachable",
                PullRefusal::TimedOut { .. } => "registry-timeout",
                PullRefusal::Tls => "registry-tls",
                PullRefusal::RateLimited => "registry-rate-limit",
                PullRefusal::DiskFull => "disk-full",
                PullRefusal::Other => "image-pull",
            },
            Self::Moved { .. } => "image-moved",
            Self::NotPublished { .. } => "image-not-published",
            Self::Build { .. } => "image-build",
            Self::Program { .. } => "program-failed",
            Self::Compile { .. } => "sources-not-compiling",
            Self::NotStatic { .. } => "binary-not-static",
            Self::ToolMissing { .. } => "tool-missing",
            Self::NoBase { .. } => "image-no-base",
            Self::Fetch { .. } => "fetch-failed",
            Self::Archive { .. } => "image-archive",
            Self::NothingToSave => "image-nothing-to-save",
            Self::Io { .. } => "file-access",
            Self::Engine(error) => error.code(),
            Self::Cancelled => "interrupted",
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Unknown { .. } | Self::Archive { .. } | Self::NotPublished { .. } => Exit::Usage,
            Self::Pull {
                refusal: PullRefusal::TimedOut { .. },
                ..
            } => Exit::TimedOut,
            Self::Engine(error) => error.exit(),
            Self::Cancelled => Exit::Interrupted,
            _ => Exit::Component,
        }
    }

    fn next(&self) -> Vec<String> {
        match self {
            Self::Unknown { name, known } => {
                let mut next = Vec::new();
                if let Some(nearest) = nearest(name, known) {
                    next.push(format!("did you mean {nearest}?"));
                }
                next.push(format!("the images are {}", known.join(", ")));
                next
            }
            Self::Pull { refusal, .. } => pull_hints(refusal),
            Self::Moved { name, .. } => vec![
                format!("if the new one is wanted, take it: dm images pull {name}"),
                format!("dm images build {name} makes one here"),
            ],
            Self::NotPublished { name } => vec![
                format!("`dm images build {name}` makes it here"),
                "`dm up` does so by itself while images.source is \"auto\" or \"build\"".into(),
            ],
            Self::Build { hints, .. }
            | Self::Program { hints, .. }
            | Self::Fetch { hints, .. }
            | Self::Archive { hints, .. } => hints.clone(),
            Self::NotStatic { .. } => vec![
                "look in RUSTC, RUSTC_WRAPPER, CARGO_* and .cargo/config.toml for another compiler, linker or target".into(),
                "dm rebuild".into(),
            ],
            Self::ToolMissing { tool, .. } if ["cargo", "rustc"].contains(&tool.as_str()) => {
                vec!["install Rust by rustup, then run this again".into()]
            }
            Self::ToolMissing { tool, .. } => {
                vec![format!("install {tool} with this system's package manager")]
            }
            Self::NoBase { tried } => {
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
            Self::Engine(error) => error.next(),
            Self::Cancelled => Vec::new(),
        }
    }
}

fn pull_hints(refusal: &PullRefusal) -> Vec<String> {
    let build = "make the image here, without a registry: dm images build";
    match refusal {
        PullRefusal::NotFound => vec![
            "check images.mirror in dm.toml: the mirror must hold the image under its usual path"
                .into(),
            build.into(),
        ],
        PullRefusal::Credentials => vec![
            "check images.credentials, or DM_IMAGES__CREDENTIALS__USERNAME and DM_IMAGES__CREDENTIALS__PASSWORD".into(),
            build.into(),
        ],
        PullRefusal::Unreachable => vec![
            "check the network, and images.mirror in dm.toml".into(),
            build.into(),
        ],
        PullRefusal::TimedOut { .. } => vec![
            "raise images.pull_timeout in dm.toml where the network is slow".into(),
            build.into(),
        ],
        PullRefusal::Tls => vec![
            "the engine must trust the registry's authority: put its certificate into /etc/docker/certs.d/<registry>/ca.crt".into(),
            build.into(),
        ],
        PullRefusal::RateLimited => vec![
            "log in with images.credentials, or set images.mirror".into(),
            build.into(),
        ],
        PullRefusal::DiskFull => disk_full_hints(),
        PullRefusal::Other => vec![build.into(), "dm doctor".into()],
    }
}
