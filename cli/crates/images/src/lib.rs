//! Images: recipes, builds, pulls, archives and the inventory.
//!
//! [`ImageStore`] is the entry point. An image is identified by a [`Recipe`](recipe::Recipe),
//! whose digest is its tag; [`Catalog`] contains the recipes of the stack.

pub mod archive;
mod artifact;
mod base;
mod build_context;
mod cargo;
pub mod catalog;
mod derived;
mod digest;
pub mod error;
mod image_builder;
pub mod inventory;
mod lock;
mod pin;
mod process;
pub mod progress;
mod pull;
pub mod recipe;
mod reference;
mod services;
pub mod settings;
mod store;

pub use cargo::Cargo;
pub use catalog::{BASE_IMAGE, Catalog};
pub use derived::DerivedImageSpec;
pub use error::ImageError;
pub use process::ToolProvider;
pub use progress::{ImageProgress, NoImageProgress, ProgressUnit, ProgressUpdate};
pub use services::{
    SERVICE_SOURCES, SERVICES_PROGRESS_NAME, ServiceImages, is_editor_temp_file, sources_digest,
};
pub use settings::{ImageDirs, ImageSettings, SourcePolicy};
pub use store::{AcquiredImage, ImageOrigin, ImageStore};

/// The origin of an image that was built from a Dockerfile.
const ORIGIN_BUILT: &str = "built";
/// The origin of an image that was pulled from a registry.
const ORIGIN_PULLED: &str = "pulled";
