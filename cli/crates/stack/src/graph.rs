//! The dependency graph of a run.

use std::collections::{BTreeMap, BTreeSet};

use dm_core::error::{ExitStatus, UserError};
use dm_core::error_code::ErrorCode;
use thiserror::Error;

/// Named nodes with their dependencies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DependencyGraph {
    dependencies: BTreeMap<String, BTreeSet<String>>,
}

/// An error in a graph, which makes it impossible to execute.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum GraphError {
    /// Nodes depend on each other in a cycle.
    #[error("dependency cycle: {}", .0.join(" → "))]
    Cycle(Vec<String>),
    /// A node depends on a node that does not exist.
    #[error("`{node}` depends on `{missing}`, which is not part of the stack")]
    MissingDependency {
        /// The dependent node.
        node: String,
        /// The missing dependency.
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
    /// Creates a graph of these nodes.
    ///
    /// # Errors
    /// Returns [`GraphError`] if a dependency is missing or nodes form a cycle.
    pub(crate) fn new<N, A>(nodes: impl IntoIterator<Item = (N, A)>) -> Result<Self, GraphError>
    where
        N: Into<String>,
        A: IntoIterator,
        A::Item: Into<String>,
    {
        let dependencies: BTreeMap<String, BTreeSet<String>> = nodes
            .into_iter()
            .map(|(node, names)| (node.into(), names.into_iter().map(Into::into).collect()))
            .collect();
        for (node, names) in &dependencies {
            if let Some(missing) = names.iter().find(|name| !dependencies.contains_key(*name)) {
                return Err(GraphError::MissingDependency {
                    node: node.clone(),
                    missing: missing.clone(),
                });
            }
        }
        let graph = Self { dependencies };
        graph.topological_order()?;
        Ok(graph)
    }

    /// Returns the nodes' names.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &str> {
        self.dependencies.keys().map(String::as_str)
    }

    /// Returns the direct dependencies of the node.
    pub(crate) fn dependencies(&self, node: &str) -> impl Iterator<Item = &str> {
        self.dependencies
            .get(node)
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    /// Returns an order in which every node comes after its dependencies.
    ///
    /// # Errors
    /// Returns [`GraphError::Cycle`] with the nodes of one cycle if the graph has cycles.
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
        for dependency in self.dependencies.get(node).into_iter().flatten() {
            self.visit(dependency, done, path)?;
        }
        path.pop();
        done.push(node.to_owned());
        Ok(())
    }

    /// Returns these nodes and their direct and indirect dependencies.
    #[must_use]
    pub(crate) fn transitive_dependencies(&self, names: &[String]) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut pending: Vec<&str> = names.iter().map(String::as_str).collect();
        while let Some(node) = pending.pop() {
            if self.dependencies.contains_key(node) && reached.insert(node.to_owned()) {
                pending.extend(self.dependencies(node));
            }
        }
        reached
    }

    /// Returns all nodes that depend on the node, directly or indirectly.
    #[must_use]
    pub(crate) fn dependents(&self, node: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut pending = vec![node];
        while let Some(current) = pending.pop() {
            for (name, dependencies) in &self.dependencies {
                if dependencies.contains(current) && reached.insert(name.clone()) {
                    pending.push(name);
                }
            }
        }
        reached
    }

    /// Returns the same nodes with every edge reversed: the graph for stopping.
    #[must_use]
    pub(crate) fn reversed(&self) -> Self {
        let mut reversed: BTreeMap<String, BTreeSet<String>> = self
            .dependencies
            .keys()
            .map(|node| (node.clone(), BTreeSet::new()))
            .collect();
        for (node, names) in &self.dependencies {
            for name in names {
                reversed
                    .entry(name.clone())
                    .or_default()
                    .insert(node.clone());
            }
        }
        Self {
            dependencies: reversed,
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
    fn cycle_error_names_every_node() {
        let error = DependencyGraph::new([("a", vec!["b"]), ("b", vec!["c"]), ("c", vec!["b"])])
            .unwrap_err();
        assert_eq!(error.to_string(), "dependency cycle: b → c → b");
    }

    #[test]
    fn missing_dependency_error_names_both_nodes() {
        let error = DependencyGraph::new([("a", vec!["b"])]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`a` depends on `b`, which is not part of the stack"
        );
    }

    #[test]
    fn transitive_dependencies_include_indirect_ones() {
        let selected = stack().transitive_dependencies(&["keycloak".to_owned()]);
        assert_eq!(
            selected.into_iter().collect::<Vec<_>>(),
            ["database", "keycloak", "postgres"]
        );
    }

    #[test]
    fn dependents_include_indirect_ones() {
        let blocked = stack().dependents("postgres");
        assert_eq!(
            blocked.into_iter().collect::<Vec<_>>(),
            ["database", "keycloak"]
        );
    }

    #[test]
    fn unknown_node_has_no_dependents() {
        assert!(stack().dependents("old").is_empty());
    }

    #[test]
    fn reversed_swaps_dependencies_and_dependents() {
        let reversed = stack().reversed();
        assert_eq!(
            reversed.dependencies("postgres").collect::<Vec<_>>(),
            ["database"]
        );
        assert_eq!(reversed.reversed(), stack());
    }

    proptest! {
        /// Edges to smaller numbers cannot form a cycle. The order then contains
        /// every node once, after its dependencies.
        #[test]
        fn topological_order_puts_dependencies_first(edges in proptest::collection::vec((0_u8..20, 0_u8..20), 0..60)) {
            let mut nodes: BTreeMap<String, BTreeSet<String>> =
                (0..20).map(|n| (n.to_string(), BTreeSet::new())).collect();
            for (a, b) in edges {
                if a != b {
                    nodes.get_mut(&a.max(b).to_string()).unwrap().insert(a.min(b).to_string());
                }
            }
            let graph = DependencyGraph::new(nodes.clone()).unwrap();
            let order = graph.topological_order().unwrap();
            prop_assert_eq!(order.len(), nodes.len());
            for (node, dependencies) in &nodes {
                let position = order.iter().position(|name| name == node).unwrap();
                for dependency in dependencies {
                    prop_assert!(
                        order.iter().position(|name| name == dependency).unwrap() < position
                    );
                }
            }
        }
    }
}
