//! The built-in defaults.

use super::layers::{Content, Layers};
use super::source::SourceKind;
use super::tree::Node;

/// Their text.
pub(super) const DEFAULTS: &str = include_str!("defaults.toml");

/// The built-in defaults as a tree.
pub(super) fn defaults_tree() -> Node {
    let mut layers = Layers::default();
    layers.push_toml(SourceKind::Defaults, String::new(), DEFAULTS.to_owned());
    match layers.layers.pop().map(|layer| layer.content) {
        Some(Content::Tree(tree)) => tree,
        // Compiled in, and parsed by every test.
        _ => unreachable!("the built-in defaults are not valid TOML"),
    }
}
