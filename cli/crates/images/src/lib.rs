//! Images: what they are made of, where they come from, and what is kept of them.
//!
//! [`Images`] is the way in. An image is known by a [`Recipe`](recipe::Recipe),
//! whose digest is its tag; [`Catalog`] has those of the stack.

pub mod archive;
mod artifact;
mod base;
mod build;
mod cargo;
pub mod catalog;
mod context;
pub mod derived;
mod digest;
pub mod error;
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
pub use catalog::{BASE, Catalog};
pub use derived::Derivation;
pub use error::ImageError;
pub use process::{InstalledTools, Tools};
pub use progress::{Progress, Silent, Unit, Update};
pub use services::{SERVICES, SOURCES, ServiceImages, is_editors_rest, sources_digest};
pub use settings::{Dirs, ImageSettings, Source};
pub use store::{Acquired, How, Images};

/// The origin of an image that a Dockerfile made.
const ORIGIN_BUILT: &str = "built";
/// The origin of an image that a registry gave.
const ORIGIN_PULLED: &str = "pulled";
