//! From layers to one configuration: joining them, and finding everything that
//! is wrong in any of them.

use std::collections::BTreeMap;

use super::config_tree::ConfigNode;
use super::de::{self, DeserializeError, DeserializeErrorKind};
use super::defaults::defaults_tree;
use super::layers::{ConfigLayers, LayerContent};
use super::model::Config;
use super::source::SourceId;

/// Layers joined, whatever is wrong taken out of them.
pub(super) struct MergedLayers {
    /// The joined tree of what is right.
    pub tree: ConfigNode,
    /// What it says, unless a key is missing that has no default.
    pub config: Option<Config>,
    /// What is wrong.
    pub errors: Vec<DeserializeError>,
}

/// Joins the layers and checks them.
///
/// Every layer must be right by itself, as a mistake is one even where a higher
/// layer hides it. Where nothing is hidden and the whole is right, so are its
/// parts, and reading once is enough; that is nearly always so, and `dm status`
/// has no time to lose.
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
    let mut hides = false;
    for (_, layer) in &upper {
        hides |= tree.merge(layer, base_source);
    }
    let mut unknown = BTreeMap::new();
    let config = de::deserialize::<Config>(&tree, &mut unknown);
    match config {
        Ok(config) if !hides && unknown.is_empty() => MergedLayers {
            tree,
            config: Some(config),
            errors: Vec::new(),
        },
        _ => merge_layer_by_layer(base_source, &base, &upper),
    }
}

/// Checks each of the `upper` layers over the defaults, and joins what is right
/// in them.
fn merge_layer_by_layer(
    base_source: SourceId,
    base: &ConfigNode,
    upper: &[(SourceId, &ConfigNode)],
) -> MergedLayers {
    let mut faults = Vec::new();
    let mut tree = base.clone();
    for (_, layer) in upper {
        let mut right = (*layer).clone();
        remove_invalid_values(base_source, base, &mut right, &mut faults);
        tree.merge(&right, base_source);
    }
    // Unknown keys were taken out of every layer, and the defaults have none.
    let config = match de::deserialize::<Config>(&tree, &mut BTreeMap::new()) {
        Ok(config) => Some(config),
        Err(fault) => {
            // A key that is missing because its value was wrong is no news.
            if !is_consequence_of(&fault, &faults) {
                faults.push(*fault);
            }
            None
        }
    };
    MergedLayers {
        tree,
        config,
        errors: faults,
    }
}

/// Takes everything out of `layer` that is wrong. Serde stops at the first
/// fault: that one is noted and taken out, and the rest is read again, until
/// nothing is wrong.
fn remove_invalid_values(
    base_source: SourceId,
    base: &ConfigNode,
    layer: &mut ConfigNode,
    faults: &mut Vec<DeserializeError>,
) {
    let over_defaults = |layer: &ConfigNode| {
        let mut tree = base.clone();
        tree.merge(layer, base_source);
        tree
    };
    let mut unknown = BTreeMap::new();
    let mut alone = over_defaults(layer);
    while let Err(fault) = de::deserialize::<Config>(&alone, &mut unknown) {
        let goes_on = if matches!(fault.kind, DeserializeErrorKind::Missing { .. }) {
            // What is missing may stand in another layer, so it counts only when
            // all are joined; here it must only not end the search.
            alone.remove(&fault.path)
        } else {
            let removed = layer.remove(&fault.path);
            alone = over_defaults(layer);
            faults.push(*fault);
            removed
        };
        if !goes_on {
            break;
        }
    }
    for (path, place) in unknown {
        layer.remove(&path);
        faults.push(DeserializeError {
            kind: DeserializeErrorKind::UnknownKey,
            path,
            span: place,
        });
    }
}

/// True where `fault` is only that a key is missing whose value was taken out.
fn is_consequence_of(fault: &DeserializeError, others: &[DeserializeError]) -> bool {
    matches!(fault.kind, DeserializeErrorKind::Missing { .. })
        && others
            .iter()
            .any(|other| other.path.starts_with(&fault.path))
}
