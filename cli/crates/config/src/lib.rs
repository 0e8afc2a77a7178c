//! The configuration: `dm.toml` as types, its layers, and diagnostics of its errors.
//!
//! ```text
//! defaults.toml, dm.toml, dm.local.toml, DM_*, flags   layers: texts to trees
//!   → merged and deserialized; after an error, each    merge, de: errors with spans
//!     layer separately; validated across keys          load, validate
//!   → LoadedConfig, or all diagnostics with carets     diagnose, diagnostic
//! ```
//!
//! The types are in `model`, `components`, `services` and `queue_policies`, the types of
//! single values and their validation in `values`. Their doc comments become the JSON
//! Schema and the reference.

mod components;
mod config_tree;
mod de;
mod defaults;
mod diagnose;
mod diagnostic;
mod effective_values;
mod json_schema;
mod layers;
mod load;
mod mask_source;
mod merge;
mod model;
pub mod overrides;
mod queue_policies;
#[cfg(test)]
mod reference;
mod services;
mod source;
mod validate;
pub mod values;

pub use components::{KeycloakConfig, OpenLdapConfig, PostgresConfig, RabbitMqConfig};
pub use diagnostic::{ConfigDiagnostic, ConfigDiagnostics, ConfigError};
pub use effective_values::EffectiveValue;
pub use json_schema::{json_schema, json_schema_text};
pub use layers::{BENCH_REQUEST_VARIABLE, ConfigOverride};
pub use load::{CONFIG_FILE, LOCAL_CONFIG_FILE, LoadOptions, LoadedConfig};
pub use model::{
    AppsConfig, BackupConfig, Config, EngineConfig, GoldenConfig, GoldenPreparation, ImageSource,
    ImagesConfig, InstallPolicy, ProjectConfig, RegistryCredentials, TimeoutsConfig,
};
pub use queue_policies::{MessageTtl, OverflowBehavior, QueuePolicies};
pub use services::{ServiceConfig, ServicesConfig};
pub use source::ValueOrigin;
pub use values::{MemoryLimit, RepeatInterval, Secret, WaitTimeout};

#[cfg(test)]
mod tests;
