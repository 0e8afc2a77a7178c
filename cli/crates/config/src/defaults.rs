//! The built-in defaults.

use super::config_tree::ConfigNode;
use super::layers::{ConfigLayers, LayerContent};
use super::source::SourceKind;

/// Their text.
pub(super) const DEFAULTS_TOML: &str = include_str!("defaults.toml");

/// The built-in defaults as a tree.
pub(super) fn defaults_tree() -> ConfigNode {
    let mut layers = ConfigLayers::default();
    layers.push_toml(
        SourceKind::Defaults,
        String::new(),
        DEFAULTS_TOML.to_owned(),
    );
    match layers.layers.pop().map(|layer| layer.content) {
        Some(LayerContent::Tree(tree)) => tree,
        // Compiled in, and parsed by every test.
        _ => unreachable!("the built-in defaults are not valid TOML"),
    }
}
