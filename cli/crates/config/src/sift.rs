//! From layers to one configuration: joining them, and finding everything that
//! is wrong in any of them.

use std::collections::BTreeSet;

use super::de::{self, Fault, FaultKind, Notes};
use super::defaults::defaults_tree;
use super::layers::{Content, Layers};
use super::model::Config;
use super::source::SourceId;
use super::tree::{Node, Path};

/// Layers joined, whatever is wrong taken out of them.
pub(super) struct Sifted {
    /// The joined tree of what is right.
    pub tree: Node,
    /// What it says, unless a key is missing that has no default.
    pub config: Option<Config>,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// The paths of all secrets that were met.
    pub secrets: BTreeSet<Path>,
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
    let notes = Notes::default();
    let config = de::deserialize::<Config>(&tree, &notes);
    match config {
        Ok(config) if !hides => Sifted {
            tree,
            config: Some(config),
            faults: Vec::new(),
            secrets: notes.into_secrets().into_iter().collect(),
        },
        _ => one_by_one(base_source, &base, &upper),
    }
}

/// Checks each of the `upper` layers over the defaults, and joins what is right
/// in them.
fn one_by_one(base_source: SourceId, base: &Node, upper: &[(SourceId, &Node)]) -> Sifted {
    let mut faults = Vec::new();
    let mut secrets = BTreeSet::new();
    let mut tree = base.clone();
    for (_, layer) in upper {
        let mut right = (*layer).clone();
        strike_out(base_source, base, &mut right, &mut faults, &mut secrets);
        tree.overlay(&right, base_source);
    }
    let notes = Notes::default();
    let result = de::deserialize::<Config>(&tree, &notes);
    secrets.extend(notes.into_secrets());
    let config = match result {
        Ok(config) => Some(config),
        Err(fault) => {
            // A key that is missing because its value was wrong is no news.
            if !explained(&fault, &faults) {
                faults.push(fault);
            }
            None
        }
    };
    Sifted {
        tree,
        config,
        faults,
        secrets,
    }
}

/// Takes everything out of `layer` that is wrong. Serde stops at the first
/// fault: that one is noted and taken out, and the rest is read again, until
/// nothing is wrong.
fn strike_out(
    base_source: SourceId,
    base: &Node,
    layer: &mut Node,
    faults: &mut Vec<Fault>,
    secrets: &mut BTreeSet<Path>,
) {
    let over_defaults = |layer: &Node| {
        let mut tree = base.clone();
        tree.overlay(layer, base_source);
        tree
    };
    let mut alone = over_defaults(layer);
    loop {
        let notes = Notes::default();
        let Err(fault) = de::deserialize::<Config>(&alone, &notes) else {
            return;
        };
        secrets.extend(notes.into_secrets());
        let path = fault.at.as_deref().map(|(path, _)| path.clone());
        let path = path.unwrap_or_default();
        let goes_on = if matches!(fault.kind, FaultKind::Missing { .. }) {
            // What is missing may stand in another layer, so it counts only when
            // all are joined; here it must only not end the search.
            alone.remove(&path)
        } else {
            faults.push(fault);
            let removed = layer.remove(&path);
            alone = over_defaults(layer);
            removed
        };
        if !goes_on {
            return;
        }
    }
}

/// True where `fault` is only that a key is missing whose value was taken out.
fn explained(fault: &Fault, others: &[Fault]) -> bool {
    let (FaultKind::Missing { .. }, Some((table, _))) = (&fault.kind, fault.at.as_deref()) else {
        return false;
    };
    others
        .iter()
        .filter_map(|other| other.at.as_deref())
        .any(|(path, _)| path.starts_with(table))
}
