//! Merging of the layers into one configuration, with all errors of all layers.

use std::collections::BTreeMap;

use super::config_tree::ConfigNode;
use super::de::{self, DeserializeError, DeserializeErrorKind};
use super::defaults::defaults_tree;
use super::layers::{ConfigLayers, LayerContent};
use super::model::Config;
use super::source::SourceId;

/// The merged layers, without their invalid values.
pub(super) struct MergedLayers {
    /// The merged tree of the valid values.
    pub tree: ConfigNode,
    /// The configuration, unless a key without a default is missing.
    pub config: Option<Config>,
    /// The errors.
    pub errors: Vec<DeserializeError>,
}

/// Merges the layers and validates them.
///
/// Every layer must be valid by itself, because an error is reported even if a higher layer
/// overrides it. If no layer overrides another and the merged tree is valid, each layer is
/// valid, and deserializing once is enough. This is the common case, and `dm status` must be
/// fast.
pub(super) fn merge_layers(layers: &ConfigLayers) -> MergedLayers {
    let mut trees = layers
        .layers
        .iter()
        .filter_map(|layer| match &layer.content {
            LayerContent::Tree(tree) => Some((layer.source, tree)),
            _ => None,
        });
    let (base_source, base) = trees
        .next()
        .map_or_else(|| (0, defaults_tree()), |(id, tree)| (id, tree.clone()));
    let upper: Vec<(SourceId, &ConfigNode)> = trees.collect();

    let mut tree = base.clone();
    let mut overrides = false;
    for (_, layer) in &upper {
        overrides |= tree.merge(layer, base_source);
    }
    let mut unknown = BTreeMap::new();
    let config = de::deserialize::<Config>(&tree, &mut unknown);
    match config {
        Ok(config) if !overrides && unknown.is_empty() => MergedLayers {
            tree,
            config: Some(config),
            errors: Vec::new(),
        },
        _ => merge_layer_by_layer(base_source, &base, &upper),
    }
}

/// Validates each of the `upper` layers over the defaults, and merges their valid values.
fn merge_layer_by_layer(
    base_source: SourceId,
    base: &ConfigNode,
    upper: &[(SourceId, &ConfigNode)],
) -> MergedLayers {
    let mut errors = Vec::new();
    let mut tree = base.clone();
    for (_, layer) in upper {
        let mut valid = (*layer).clone();
        remove_invalid_values(base_source, base, &mut valid, &mut errors);
        tree.merge(&valid, base_source);
    }
    // Unknown keys were removed from every layer, and the defaults have none.
    let config = match de::deserialize::<Config>(&tree, &mut BTreeMap::new()) {
        Ok(config) => Some(config),
        Err(error) => {
            // A key that is missing because its value was invalid is already reported.
            if !is_consequence_of(&error, &errors) {
                errors.push(*error);
            }
            None
        }
    };
    MergedLayers {
        tree,
        config,
        errors,
    }
}

/// Removes all invalid values from `layer`. Serde stops at the first error: its value is
/// removed, and the layer is deserialized again, until no error remains.
fn remove_invalid_values(
    base_source: SourceId,
    base: &ConfigNode,
    layer: &mut ConfigNode,
    errors: &mut Vec<DeserializeError>,
) {
    let over_defaults = |layer: &ConfigNode| {
        let mut tree = base.clone();
        tree.merge(layer, base_source);
        tree
    };
    let mut unknown = BTreeMap::new();
    let mut tree = over_defaults(layer);
    while let Err(error) = de::deserialize::<Config>(&tree, &mut unknown) {
        let removed = if matches!(error.kind, DeserializeErrorKind::Missing { .. }) {
            // The key may be in another layer, so it is checked after merging. The table is
            // removed here only to continue the search.
            tree.remove(&error.path)
        } else {
            let removed = layer.remove(&error.path);
            tree = over_defaults(layer);
            errors.push(*error);
            removed
        };
        if !removed {
            break;
        }
    }
    for (path, span) in unknown {
        layer.remove(&path);
        errors.push(DeserializeError {
            kind: DeserializeErrorKind::UnknownKey,
            path,
            span,
        });
    }
}

/// Returns whether `error` is a missing key whose invalid value was removed.
fn is_consequence_of(error: &DeserializeError, others: &[DeserializeError]) -> bool {
    matches!(error.kind, DeserializeErrorKind::Missing { .. })
        && others
            .iter()
            .any(|other| other.path.starts_with(&error.path))
}
