//! The crates of the workspace, as the ADR has them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// The names below `cli/crates` that each crate there depends on, and those that it depends on
/// of others; of the code that is shipped.
fn manifests() -> BTreeMap<String, BTreeSet<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates");
    let crates = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap());
    let read = |entry: std::fs::DirEntry| {
        let text = std::fs::read_to_string(entry.path().join("Cargo.toml")).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        let dependencies = manifest.get("dependencies").and_then(|it| it.as_table());
        let names = dependencies
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone());
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, names.collect())
    };
    crates.map(read).collect()
}

/// What a crate stands on by the table of the ADR: directly, or by what that stands on.
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
        let (crates, stands_on) = (names(cells.next().unwrap()), names(cells.next().unwrap()));
        for name in crates {
            // Rows go from the ground up.
            let below = stands_on
                .iter()
                .filter_map(|it| table.get(it))
                .flatten()
                .cloned();
            let all = stands_on.iter().cloned().chain(below).collect();
            table.insert(name, all);
        }
    }
    table
}

#[test]
fn each_crate_depends_on_what_the_adr_says() {
    let (documented, manifests) = (documented(), manifests());
    for (name, dependencies) in &manifests {
        // Without a row of their own: they stand on no other one.
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
fn the_engine_alone_knows_its_client() {
    for (name, dependencies) in manifests() {
        assert!(
            !dependencies.contains("bollard") || name == "engine",
            "{name}"
        );
    }
}

/// What cargo says of the dependencies of these packages, one a line.
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

/// The features that cargo gives each dependency of these packages, along these edges. The
/// same dependency has others where it is built for build scripts and macros.
fn features(packages: &[&str], edges: &str) -> BTreeMap<String, BTreeSet<String>> {
    let text = tree(packages, edges);
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().map(|line| line.trim_end_matches(" (*)")) {
        let mut words = line.splitn(3, ' ');
        let (Some(name), Some(version)) = (words.next(), words.next()) else {
            continue;
        };
        let rest = words.next().unwrap_or_default();
        // A package of ours has its path.
        if !rest.starts_with("(/") {
            let features = found.entry(format!("{name} {version}")).or_default();
            features.insert(rest.to_owned());
        }
    }
    found
}

#[test]
fn every_dependency_is_compiled_once() {
    let all = ["--workspace"];
    let (shipped, tested) = (
        features(&all, "normal,build"),
        features(&all, "normal,build,dev"),
    );
    assert!(shipped.len() > 300, "{}", shipped.len());
    for (dependency, features) in &shipped {
        // Of macros alone in what is shipped, and of tests themselves.
        if dependency.starts_with("syn ") {
            continue;
        }
        assert_eq!(
            features, &tested[dependency],
            "tests change features of {dependency}: add them to cli/crates/unified-features"
        );
    }
}

#[test]
fn the_launcher_compiles_what_the_benchmarks_share() {
    // As `./dm` builds, which leaves the benchmarks out.
    let launched = features(&["--workspace", "--exclude", "dm-bench"], "normal,build");
    let all = features(&["--workspace"], "normal,build");
    for (dependency, features) in &launched {
        assert_eq!(
            features, &all[dependency],
            "the benchmarks change {dependency}"
        );
    }
}

#[test]
fn the_shipped_binary_has_no_measurements() {
    let tree = tree(&["--package", "dm"], "normal");
    let has = |package: &str| tree.lines().any(|line| line.starts_with(package));
    assert!(has("dm-bench-request v"), "{tree}");
    assert!(!has("dm-bench v"), "{tree}");
}
