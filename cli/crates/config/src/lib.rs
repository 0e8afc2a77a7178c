//! The configuration: `dm.toml` as types, its layers, and what is wrong with it.
//!
//! ```text
//! defaults.toml, dm.toml, dm.local.toml, DM_*, flags   layers: texts to trees
//!   → joined and deserialized, each by itself where    sift, de: faults with places
//!     something is wrong; compared across keys         load, check
//!   → Loaded, or every Problem with its caret          diagnose, problem
//! ```
//!
//! The types are in `model`, `components` and `services`; single values, with
//! what makes them valid, in `values`. Their doc comments become the JSON Schema
//! and the reference.

mod check;
mod components;
mod de;
mod defaults;
mod diagnose;
mod layers;
mod load;
mod mask;
mod model;
pub mod overrides;
mod policies;
mod problem;
#[cfg(test)]
mod reference;
mod schema;
mod services;
mod show;
mod sift;
mod source;
mod tree;
pub mod values;

pub use components::{Keycloak, Openldap, Postgres, Rabbitmq};
pub use layers::{BENCH_REQUEST, OTHER_VARIABLES, Override};
pub use load::{FILE, LOCAL_FILE, LoadOptions, Loaded, PROJECT_DIR};
pub use model::{
    Backup, Config, Credentials, Engine, Golden, ImageSource, Images, Install, Prepare, Project,
    Timeouts,
};
pub use policies::{Kept, Overflow, Policies};
pub use problem::{ConfigError, Problem, Problems};
pub use schema::{schema, schema_text};
pub use services::{Service, Services};
pub use show::Entry;
pub use source::Origin;
pub use values::{Cadence, Memory, Secret, Wait};

#[cfg(test)]
mod tests;
