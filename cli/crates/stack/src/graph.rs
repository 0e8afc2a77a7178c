//! The dependency graph: who waits for whom.

use std::collections::{BTreeMap, BTreeSet};

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use thiserror::Error;

/// Named nodes and what each one waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DependencyGraph {
    dependencies: BTreeMap<String, BTreeSet<String>>,
}

/// A graph that can't be executed.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum GraphError {
    /// Nodes wait for each other.
    #[error("dependency cycle: {}", .0.join(" → "))]
    Cycle(Vec<String>),
    /// A node waits for one that isn't there.
    #[error("`{node}` depends on `{missing}`, which is not part of the stack")]
    MissingDependency {
        /// The node that waits.
        node: String,
        /// What it waits for.
        missing: String,
    },
}

impl UserError for GraphError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Cycle(_) => ErrorCode::DependencyCycle,
            Self::MissingDependency { .. } => ErrorCode::DependencyUnknown,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Usage
    }
}

impl DependencyGraph {
    /// A graph of these nodes.
    ///
    /// # Errors
    /// [`GraphError`] where a dependency is missing or nodes wait for each other.
    pub(crate) fn new<N, A>(nodes: impl IntoIterator<Item = (N, A)>) -> Result<Self, GraphError>
    where
        N: Into<String>,
        A: IntoIterator,
        A::Item: Into<String>,
    {
        let after: BTreeMap<String, BTreeSet<String>> = nodes
            .into_iter()
            .map(|(node, after)| (node.into(), after.into_iter().map(Into::into).collect()))
            .collect();
        for (node, wanted) in &after {
            if let Some(missing) = wanted.iter().find(|name| !after.contains_key(*name)) {
                return Err(GraphError::MissingDependency {
                    node: node.clone(),
                    missing: missing.clone(),
                });
            }
        }
        let graph = Self {
            dependencies: after,
        };
        graph.topological_order()?;
        Ok(graph)
    }

    /// The nodes' names.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &str> {
        self.dependencies.keys().map(String::as_str)
    }

    /// What the node waits for, directly.
    pub(crate) fn dependencies(&self, node: &str) -> impl Iterator<Item = &str> {
        self.dependencies
            .get(node)
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    /// An order in which every node comes after all that it waits for.
    ///
    /// # Errors
    /// [`GraphError::Cycle`] with the nodes of one cycle.
    pub(crate) fn topological_order(&self) -> Result<Vec<String>, GraphError> {
        let mut done = Vec::new();
        let mut path = Vec::new();
        for node in self.dependencies.keys() {
            self.visit(node, &mut done, &mut path)?;
        }
        Ok(done)
    }

    fn visit<'a>(
        &'a self,
        node: &'a str,
        done: &mut Vec<String>,
        path: &mut Vec<&'a str>,
    ) -> Result<(), GraphError> {
        if done.iter().any(|name| name == node) {
            return Ok(());
        }
        if let Some(start) = path.iter().position(|name| *name == node) {
            let mut cycle: Vec<String> =
                path[start..].iter().map(|&name| name.to_owned()).collect();
            cycle.push(node.to_owned());
            return Err(GraphError::Cycle(cycle));
        }
        path.push(node);
        for wanted in self.dependencies.get(node).into_iter().flatten() {
            self.visit(wanted, done, path)?;
        }
        path.pop();
        done.push(node.to_owned());
        Ok(())
    }

    /// These nodes and everything that they wait for, directly or not.
    #[must_use]
    pub(crate) fn transitive_dependencies(&self, wanted: &[String]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&str> = wanted.iter().map(String::as_str).collect();
        while let Some(node) = open.pop() {
            if self.dependencies.contains_key(node) && found.insert(node.to_owned()) {
                open.extend(self.dependencies(node));
            }
        }
        found
    }

    /// Everything that waits for the node, directly or not.
    #[must_use]
    pub(crate) fn dependents(&self, node: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open = vec![node];
        while let Some(current) = open.pop() {
            for (name, after) in &self.dependencies {
                if after.contains(current) && found.insert(name.clone()) {
                    open.push(name);
                }
            }
        }
        found
    }

    /// The same nodes with every arrow turned round: the order in which to stop.
    #[must_use]
    pub(crate) fn reversed(&self) -> Self {
        let mut after: BTreeMap<String, BTreeSet<String>> = self
            .dependencies
            .keys()
            .map(|node| (node.clone(), BTreeSet::new()))
            .collect();
        for (node, wanted) in &self.dependencies {
            for name in wanted {
                after.entry(name.clone()).or_default().insert(node.clone());
            }
        }
        Self {
            dependencies: after,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stack() -> DependencyGraph {
        DependencyGraph::new([
            ("postgres", vec![]),
            ("rabbitmq", vec![]),
            ("database", vec!["postgres"]),
            ("keycloak", vec!["database"]),
        ])
        .unwrap()
    }

    #[test]
    fn a_cycle_is_named_in_full() {
        let error = DependencyGraph::new([("a", vec!["b"]), ("b", vec!["c"]), ("c", vec!["b"])])
            .unwrap_err();
        assert_eq!(error.to_string(), "dependency cycle: b → c → b");
    }

    #[test]
    fn a_missing_dependency_is_named() {
        let error = DependencyGraph::new([("a", vec!["b"])]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`a` depends on `b`, which is not part of the stack"
        );
    }

    #[test]
    fn only_brings_what_it_needs() {
        let wanted = stack().transitive_dependencies(&["keycloak".to_owned()]);
        assert_eq!(
            wanted.into_iter().collect::<Vec<_>>(),
            ["database", "keycloak", "postgres"]
        );
    }

    #[test]
    fn dependents_are_transitive() {
        let blocked = stack().dependents("postgres");
        assert_eq!(
            blocked.into_iter().collect::<Vec<_>>(),
            ["database", "keycloak"]
        );
    }

    #[test]
    fn stopping_turns_the_arrows_round() {
        let reversed = stack().reversed();
        assert_eq!(
            reversed.dependencies("postgres").collect::<Vec<_>>(),
            ["database"]
        );
        assert_eq!(reversed.reversed(), stack());
    }

    proptest! {
        /// Arrows that point only to smaller numbers can't form a cycle, and the
        /// order then has every node once, after all that it waits for.
        #[test]
        fn order_respects_every_arrow(arrows in proptest::collection::vec((0_u8..20, 0_u8..20), 0..60)) {
            let mut nodes: BTreeMap<String, BTreeSet<String>> =
                (0..20).map(|n| (n.to_string(), BTreeSet::new())).collect();
            for (a, b) in arrows {
                if a != b {
                    nodes.get_mut(&a.max(b).to_string()).unwrap().insert(a.min(b).to_string());
                }
            }
            let graph = DependencyGraph::new(nodes.clone()).unwrap();
            let order = graph.topological_order().unwrap();
            prop_assert_eq!(order.len(), nodes.len());
            for (node, after) in &nodes {
                let place = order.iter().position(|name| name == node).unwrap();
                for wanted in after {
                    prop_assert!(order.iter().position(|name| name == wanted).unwrap() < place);
                }
            }
        }
    }
}
