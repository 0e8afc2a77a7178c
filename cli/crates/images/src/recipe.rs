//! Recipes of images, and the references derived from them.
//!
//! The tag of an image contains a digest of all inputs of its build. Therefore an unchanged
//! recipe is never built twice, and the image of a changed recipe is never reused.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use dm_core::labels;
use sha2::{Digest as _, Sha256};

use super::artifact::Artifact;
pub use super::digest::Sha256Digest;

/// The label with the full digest of the recipe.
pub(crate) const LABEL_RECIPE: &str = "com.dundermifflin.dm.recipe";
/// The label with the version of the component.
pub(crate) const LABEL_VERSION: &str = "com.dundermifflin.dm.version";
/// The label with the origin of the image: how it was obtained.
pub(crate) const LABEL_ORIGIN: &str = "com.dundermifflin.dm.origin";

/// One file of a build context.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecipeFile {
    /// Its path in the context.
    pub path: String,
    /// Its permission bits.
    pub mode: u32,
    /// Its contents.
    pub contents: Cow<'static, [u8]>,
}

impl RecipeFile {
    /// Creates a file whose mode depends on its contents: a script is executable. Therefore
    /// the digest does not depend on the umask of the checkout.
    #[must_use]
    pub fn new(path: impl Into<String>, contents: impl Into<Cow<'static, [u8]>>) -> Self {
        let contents = contents.into();
        let mode = if contents.starts_with(b"#!") {
            0o755
        } else {
            0o644
        };
        Self {
            path: path.into(),
            mode,
            contents,
        }
    }
}

/// The inputs of an image build.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recipe {
    /// The component, e.g. `postgres`.
    pub name: String,
    /// Its version, e.g. `17`.
    pub version: String,
    /// The build context.
    pub files: Vec<RecipeFile>,
    /// The name of the base image, which the build receives as `BASE`.
    pub base: Option<String>,
    /// Files that are fetched and added to the context.
    pub artifacts: Vec<Artifact>,
    /// Values for the `ARG`s.
    pub build_args: BTreeMap<String, String>,
}

impl Recipe {
    /// Returns the digest of all inputs of the build. `base` is the digest of the base
    /// image: of its recipe, or of a pulled image.
    ///
    /// It does not depend on the order of files, artifacts and arguments.
    #[must_use]
    pub(crate) fn digest(&self, base: Option<&str>) -> Sha256Digest {
        let mut hash = FieldHasher::default();
        hash.write_field("dm image recipe 1");
        hash.write_field(&self.name);
        hash.write_field(&self.version);
        hash.write_field(base.unwrap_or_default());
        let mut files: Vec<_> = self.files.iter().collect();
        files.sort();
        hash.write_count(files.len());
        for file in files {
            hash.write_field(&file.path);
            hash.write_field(file.mode.to_be_bytes());
            hash.write_field(&file.contents);
        }
        let mut artifacts: Vec<_> = self.artifacts.iter().collect();
        artifacts.sort();
        hash.write_count(artifacts.len());
        for artifact in artifacts {
            hash.write_field(artifact.coordinates());
            hash.write_field(&artifact.context_path);
        }
        hash.write_count(self.build_args.len());
        for (name, value) in &self.build_args {
            hash.write_field(name);
            hash.write_field(value);
        }
        Sha256Digest::from_hasher(hash.0)
    }

    /// Returns the file at a path as text.
    #[must_use]
    pub(crate) fn file_text(&self, path: &str) -> Option<Cow<'_, str>> {
        self.files
            .iter()
            .find(|file| file.path == path)
            .map(|file| String::from_utf8_lossy(&file.contents))
    }
}

/// Returns the local reference of an image: `dm/<name>:<12 hex>`.
#[must_use]
pub(crate) fn local_reference(name: &str, digest: &Sha256Digest) -> String {
    format!("dm/{name}:{}", digest.short_hex())
}

/// Returns the labels of an image that is built from a recipe.
#[must_use]
pub(crate) fn recipe_labels(
    recipe: &Recipe,
    digest: &Sha256Digest,
    origin: &str,
) -> HashMap<String, String> {
    HashMap::from([
        (LABEL_RECIPE.to_owned(), digest.to_string()),
        (labels::COMPONENT.to_owned(), recipe.name.clone()),
        (LABEL_VERSION.to_owned(), recipe.version.clone()),
        (LABEL_ORIGIN.to_owned(), origin.to_owned()),
    ])
}

/// A hash of fields, each preceded by its length, so that different sequences of fields
/// yield different input.
#[derive(Default)]
struct FieldHasher(Sha256);

impl FieldHasher {
    fn write_count(&mut self, count: usize) {
        self.0.update((count as u64).to_be_bytes());
    }

    fn write_field(&mut self, bytes: impl AsRef<[u8]>) {
        self.write_count(bytes.as_ref().len());
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file() -> impl Strategy<Value = RecipeFile> {
        (
            "[a-z]{1,6}(/[a-z]{1,6})?",
            prop_oneof![Just(0o644_u32), Just(0o755)],
            proptest::collection::vec(any::<u8>(), 0..20),
        )
            .prop_map(|(path, mode, contents)| RecipeFile {
                path,
                mode,
                contents: contents.into(),
            })
    }

    fn artifact() -> impl Strategy<Value = Artifact> {
        ("[a-z]{1,4}", "[a-z]{1,4}", "[0-9]{1,3}").prop_map(|(group, name, version)| Artifact {
            group_id: group,
            artifact_id: name,
            version,
            packaging: "tar.gz".into(),
            context_path: "x.tar.gz".into(),
            sha256: String::new(),
        })
    }

    prop_compose! {
        fn recipe()(
            name in "[a-z]{1,6}",
            version in "[0-9]{1,3}",
            files in proptest::collection::vec(file(), 0..4),
            base in proptest::option::of("[a-z]{1,4}"),
            artifacts in proptest::collection::vec(artifact(), 0..3),
            build_args in proptest::collection::btree_map("[A-Z]{1,4}", "[a-z]{0,4}", 0..3),
        ) -> Recipe {
            Recipe { name, version, files, base, artifacts, build_args }
        }
    }

    proptest! {
        #[test]
        fn recipe_digest_ignores_the_order_of_files_and_artifacts(recipe in recipe()) {
            let mut reversed = recipe.clone();
            reversed.files.reverse();
            reversed.artifacts.reverse();
            prop_assert_eq!(recipe.digest(None), reversed.digest(None));
        }

        #[test]
        fn recipe_digest_changes_with_every_input(recipe in recipe(), extra in file(), more in artifact()) {
            let before = recipe.digest(Some("base"));
            let mut changes: Vec<Recipe> = Vec::new();
            let mut change = |edit: &dyn Fn(&mut Recipe)| {
                let mut changed = recipe.clone();
                edit(&mut changed);
                changes.push(changed);
            };
            change(&|recipe| recipe.name.push('x'));
            change(&|recipe| recipe.version.push('1'));
            change(&|recipe| recipe.files.push(extra.clone()));
            change(&|recipe| recipe.artifacts.push(more.clone()));
            change(&|recipe| {
                recipe.build_args.insert("NEW".to_owned() + "X", String::new());
            });
            for index in 0..recipe.files.len() {
                change(&|recipe| recipe.files[index].path.push('x'));
                change(&|recipe| recipe.files[index].mode ^= 0o111);
                change(&|recipe| recipe.files[index].contents.to_mut().push(0));
                change(&|recipe| drop(recipe.files.remove(index)));
            }
            for index in 0..recipe.artifacts.len() {
                change(&|recipe| recipe.artifacts[index].version.push('1'));
                change(&|recipe| recipe.artifacts[index].context_path.push('x'));
            }
            for name in recipe.build_args.keys() {
                change(&|recipe| {
                    recipe.build_args.entry(name.clone()).or_default().push('x');
                });
                change(&|recipe| drop(recipe.build_args.remove(name)));
            }
            for changed in changes {
                prop_assert_ne!(&before, &changed.digest(Some("base")));
            }
            prop_assert_ne!(&before, &recipe.digest(Some("other")));
            prop_assert_ne!(&before, &recipe.digest(None));
        }

        #[test]
        fn recipe_digest_separates_adjacent_fields(left in "[a-z]{0,4}", right in "[a-z]{1,4}") {
            let recipe = |name: String, version: String| Recipe { name, version, ..Recipe::default() };
            let one = recipe(left.clone() + &right, String::new());
            let other = recipe(left, right);
            prop_assert_ne!(one.digest(None), other.digest(None));
        }
    }

    #[test]
    fn local_reference_contains_the_short_digest() {
        let digest = Sha256Digest::compute(b"");
        assert_eq!(
            local_reference("postgres", &digest),
            "dm/postgres:e3b0c44298fc"
        );
    }

    #[test]
    fn recipe_file_with_a_shebang_is_executable() {
        assert_eq!(RecipeFile::new("run", b"#!/bin/sh".as_slice()).mode, 0o755);
        assert_eq!(RecipeFile::new("conf", b"a = 1".as_slice()).mode, 0o644);
    }
}
