//! The built-in defaults.

use super::config_tree::ConfigNode;
use super::layers::{ConfigLayers, LayerContent};
use super::source::SourceKind;

/// The built-in defaults as TOML.
pub(super) const DEFAULTS_TOML: &str = include_str!("defaults.toml");

/// Returns the built-in defaults as a tree.
pub(super) fn defaults_tree() -> ConfigNode {
    let mut layers = ConfigLayers::default();
    layers.push_toml(
        SourceKind::Defaults,
        String::new(),
        DEFAULTS_TOML.to_owned(),
    );
    match layers.layers.pop().map(|layer| layer.content) {
        Some(LayerContent::Tree(tree)) => tree,
        // The text is part of the binary, and every test parses it.
        _ => unreachable!("the built-in defaults are not valid TOML"),
    }
}
