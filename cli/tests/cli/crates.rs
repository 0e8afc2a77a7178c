//! Tests of the crates of the workspace, as the ADR defines them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Returns the dependencies in the manifest of this directory. Development dependencies are left
/// out.
fn dependencies(directory: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(directory.join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    let dependencies = manifest
        .get("dependencies")
        .and_then(|value| value.as_table());
    let names = dependencies
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone());
    names.collect()
}

/// Returns the dependencies of each crate below `cli/crates`.
fn manifests() -> BTreeMap<String, BTreeSet<String>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates");
    let crates = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap());
    let read = |entry: std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, dependencies(&entry.path()))
    };
    crates.map(read).collect()
}

/// Returns the direct and indirect dependencies of each crate in the table of the ADR.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let adr = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/adr/0027-crates-by-noun.md");
    let text = std::fs::read_to_string(adr).unwrap();
    let names = |cell: &str| -> Vec<String> {
        let parts = cell.split('`').skip(1).step_by(2);
        parts.map(str::to_owned).collect()
    };
    let mut table: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = row.split('|').skip(1);
        let (crates, dependencies) = (names(cells.next().unwrap()), names(cells.next().unwrap()));
        for name in crates {
            // The rows of dependencies precede the rows of their dependents.
            let below = dependencies
                .iter()
                .filter_map(|name| table.get(name))
                .flatten()
                .cloned();
            let all = dependencies.iter().cloned().chain(below).collect();
            table.insert(name, all);
        }
    }
    table
}

#[test]
fn crates_depend_only_on_what_the_adr_allows() {
    let (documented, manifests) = (documented(), manifests());
    for (name, dependencies) in &manifests {
        // A crate without a row may depend on no other crate.
        let allowed = documented.get(name).cloned().unwrap_or_default();
        for dependency in dependencies {
            let Some(other) = dependency.strip_prefix("dm-") else {
                continue;
            };
            if manifests.contains_key(other) {
                assert!(allowed.contains(other), "{name} depends on {other}");
            }
        }
    }
}

#[test]
fn command_crate_does_not_depend_directly_on_bollard_lapin_ldap3_reqwest_or_sqlx() {
    let dependencies = dependencies(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(dependencies.contains("dm-operations"), "{dependencies:?}");
    for client in ["bollard", "lapin", "ldap3", "reqwest", "sqlx"] {
        assert!(!dependencies.contains(client), "dm depends on {client}");
    }
}

#[test]
fn only_the_engine_crate_depends_on_bollard() {
    // Tests use it directly, which these edges exclude.
    let dependents = ["--workspace", "--invert", "bollard", "--depth", "1"];
    let tree = tree(&dependents, "normal");
    let names: Vec<_> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(names, ["bollard", "dm-engine"], "{tree}");
}

#[test]
fn architecture_document_names_each_crate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let parents = ["cli/crates", "services"];
    let mut crates = BTreeSet::new();
    for parent in parents {
        for entry in std::fs::read_dir(root.join(parent)).unwrap() {
            let entry = entry.unwrap();
            if entry.path().join("Cargo.toml").is_file() {
                let name = entry.file_name().to_string_lossy().into_owned();
                crates.insert(format!("{parent}/{name}/"));
            }
        }
    }
    let is_crate = |path: &str| {
        let name = parents.iter().find_map(|parent| path.strip_prefix(parent));
        // `services/gateway/web/` is a directory of a crate.
        name.is_some_and(|name| name.matches('/').count() == 2)
    };
    let text = std::fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let documented: BTreeSet<_> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|path| is_crate(path))
        .map(str::to_owned)
        .collect();
    assert_eq!(documented, crates);
}

/// Returns the dependencies of these packages as `cargo tree` prints them, one per line.
fn tree(packages: &[&str], edges: &str) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--prefix", "none"])
        .args(["--format", "{p} {f}", "--edges", edges])
        .args(packages)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the features of each dependency of these packages along these edges. A dependency of
/// build scripts and macros may have other features.
fn features(packages: &[&str], edges: &str) -> BTreeMap<String, BTreeSet<String>> {
    let text = tree(packages, edges);
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().map(|line| line.trim_end_matches(" (*)")) {
        let mut words = line.splitn(3, ' ');
        let (Some(name), Some(version)) = (words.next(), words.next()) else {
            continue;
        };
        let rest = words.next().unwrap_or_default();
        // A package of this workspace has a path.
        if !rest.starts_with("(/") {
            let features = found.entry(format!("{name} {version}")).or_default();
            features.insert(rest.to_owned());
        }
    }
    found
}

#[test]
fn tests_do_not_change_features_of_shipped_dependencies() {
    let all = ["--workspace"];
    let (shipped, tested) = (
        features(&all, "normal,build"),
        features(&all, "normal,build,dev"),
    );
    assert!(shipped.len() > 300, "{}", shipped.len());
    for (dependency, features) in &shipped {
        // In the shipped binary, only macros depend on `syn`, but tests use it directly.
        if dependency.starts_with("syn ") {
            continue;
        }
        assert_eq!(
            features, &tested[dependency],
            "tests change the features of {dependency}: add them to cli/crates/unified-features"
        );
    }
}

#[test]
fn benchmarks_do_not_change_features_of_shipped_dependencies() {
    // `./dm` builds without the benchmarks.
    let launched = features(&["--workspace", "--exclude", "dm-bench"], "normal,build");
    let all = features(&["--workspace"], "normal,build");
    for (dependency, features) in &launched {
        assert_eq!(
            features, &all[dependency],
            "the benchmarks change the features of {dependency}"
        );
    }
}

#[test]
fn shipped_binary_does_not_depend_on_the_benchmarks() {
    let tree = tree(&["--package", "dm"], "normal");
    let has = |package: &str| tree.lines().any(|line| line.starts_with(package));
    assert!(has("dm-bench-request v"), "{tree}");
    assert!(!has("dm-bench v"), "{tree}");
}
