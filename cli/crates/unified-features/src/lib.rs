//! Unifies the features of dependencies between builds and tests. See the manifest.
