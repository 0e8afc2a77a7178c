//! From layers to one configuration: joining them, and finding everything that
//! is wrong in any of them.

use std::collections::BTreeMap;

use super::de::{self, Fault, FaultKind};
use super::defaults::defaults_tree;
use super::layers::{Content, Layers};
use super::model::Config;
use super::source::SourceId;
use super::tree::Node;

/// Layers joined, whatever is wrong taken out of them.
pub(super) struct Sifted {
    /// The joined tree of what is right.
    pub tree: Node,
    /// What it says, unless a key is missing that has no default.
    pub config: Option<Config>,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

/// Joins the layers and checks them.
///
/// Every layer must be right by itself, as a mistake is one even where a higher
/// layer hides it. Where nothing is hidden and the whole is right, so are its
/// parts, and reading once is enough; that is nearly always so, and `dm status`
/// has no time to lose.
pub(super) fn sift(layers: &Layers) -> Sifted {
    let mut trees = layers
        .layers
        .iter()
        .filter_map(|layer| match &layer.content {
            Content::Tree(tree) => Some((layer.source, tree)),
            _ => None,
        });
    let (base_source, base) = trees
        .next()
        .map_or_else(|| (0, defaults_tree()), |(id, tree)| (id, tree.clone()));
    let upper: Vec<(SourceId, &Node)> = trees.collect();

    let mut tree = base.clone();
    let mut hides = false;
    for (_, layer) in &upper {
        hides |= tree.overlay(layer, base_source);
    }
    let mut unknown = BTreeMap::new();
    let config = de::deserialize::<Config>(&tree, &mut unknown);
    match config {
        Ok(config) if !hides && unknown.is_empty() => Sifted {
            tree,
            config: Some(config),
            faults: Vec::new(),
        },
        _ => one_by_one(base_source, &base, &upper),
    }
}

/// Checks each of the `upper` layers over the defaults, and joins what is right
/// in them.
fn one_by_one(base_source: SourceId, base: &Node, upper: &[(SourceId, &Node)]) -> Sifted {
    let mut faults = Vec::new();
    let mut tree = base.clone();
    for (_, layer) in upper {
        let mut right = (*layer).clone();
        strike_out(base_source, base, &mut right, &mut faults);
        tree.overlay(&right, base_source);
    }
    // Unknown keys were taken out of every layer, and the defaults have none.
    let config = match de::deserialize::<Config>(&tree, &mut BTreeMap::new()) {
        Ok(config) => Some(config),
        Err(fault) => {
            // A key that is missing because its value was wrong is no news.
            if !explained(&fault, &faults) {
                faults.push(*fault);
            }
            None
        }
    };
    Sifted {
        tree,
        config,
        faults,
    }
}

/// Takes everything out of `layer` that is wrong. Serde stops at the first
/// fault: that one is noted and taken out, and the rest is read again, until
/// nothing is wrong.
fn strike_out(base_source: SourceId, base: &Node, layer: &mut Node, faults: &mut Vec<Fault>) {
    let over_defaults = |layer: &Node| {
        let mut tree = base.clone();
        tree.overlay(layer, base_source);
        tree
    };
    let mut unknown = BTreeMap::new();
    let mut alone = over_defaults(layer);
    while let Err(fault) = de::deserialize::<Config>(&alone, &mut unknown) {
        let goes_on = if matches!(fault.kind, FaultKind::Missing { .. }) {
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
        faults.push(Fault {
            kind: FaultKind::UnknownKey,
            path,
            place,
        });
    }
}

/// True where `fault` is only that a key is missing whose value was taken out.
fn explained(fault: &Fault, others: &[Fault]) -> bool {
    matches!(fault.kind, FaultKind::Missing { .. })
        && others
            .iter()
            .any(|other| other.path.starts_with(&fault.path))
}
