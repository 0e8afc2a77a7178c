//! Tests of the command modules, as the ADR about operations requires them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use proc_macro2::{TokenStream, TokenTree};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/commands")
}

/// Returns the names of the command modules. Each is a file or a directory.
fn commands() -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory()).unwrap();
    let names = entries.map(|entry| {
        let path = entry.unwrap().path();
        path.file_stem().unwrap().to_string_lossy().into_owned()
    });
    names.filter(|name| name != "mod").collect()
}

/// Returns the source files of a command, with the depth of each module below `commands`.
fn sources(command: &str) -> Vec<(PathBuf, usize)> {
    let file = directory().join(format!("{command}.rs"));
    let mut sources = Vec::new();
    if file.exists() {
        sources.push((file, 1));
    }
    let mut directories = vec![(directory().join(command), 1)];
    while let Some((directory, depth)) = directories.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push((path, depth + 1));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let is_module = path.file_name().is_some_and(|name| name == "mod.rs");
                sources.push((path, if is_module { depth } else { depth + 1 }));
            }
        }
    }
    sources
}

/// Collects the paths in a source. A group yields one path per branch.
fn collect_paths(tokens: TokenStream, prefix: &[String], found: &mut Vec<Vec<String>>) {
    let mut path = prefix.to_vec();
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            TokenTree::Ident(ident) => {
                if colons != 2 && path.len() > prefix.len() {
                    found.push(std::mem::replace(&mut path, prefix.to_vec()));
                }
                path.push(ident.to_string());
                colons = 0;
            }
            TokenTree::Group(group) => {
                let below = if colons == 2 { path.as_slice() } else { &[] };
                collect_paths(group.stream(), below, found);
                colons = 0;
            }
            _ => {
                found.push(std::mem::replace(&mut path, prefix.to_vec()));
                colons = 0;
            }
        }
    }
    found.push(path);
}

/// Returns the command that a path in a module refers to. `depth` is the depth of the module
/// below `commands`.
fn referenced_command(path: &[String], depth: usize) -> Option<&str> {
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["crate", "commands", command, ..] => Some(command),
        _ => {
            // `super` leads from the module up to `commands`. Test modules are one level deeper.
            let ups = parts.iter().take_while(|part| **part == "super").count();
            (ups >= depth).then(|| parts.get(ups).copied()).flatten()
        }
    }
}

/// Returns the other commands that a source refers to.
fn imports(source: &str, depth: usize, own: &str, commands: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    collect_paths(TokenStream::from_str(source).unwrap(), &[], &mut found);
    let named = found
        .iter()
        .filter_map(|path| referenced_command(path, depth));
    let others = named.filter(|name| *name != own && commands.contains(*name));
    others.map(str::to_owned).collect()
}

#[test]
fn command_modules_do_not_import_each_other() {
    let commands = commands();
    for command in &commands {
        for (path, depth) in sources(command) {
            let source = std::fs::read_to_string(&path).unwrap();
            let imported = imports(&source, depth, command, &commands);
            assert!(imported.is_empty(), "{}: {imported:?}", path.display());
        }
    }
}

#[test]
fn imports_finds_paths_to_other_commands() {
    let commands = BTreeSet::from(["up", "down", "golden"].map(str::to_owned));
    let found = |source, depth| imports(source, depth, "up", &commands);
    assert_eq!(found("use super::golden;", 1), ["golden"]);
    assert_eq!(found("use super::{down, golden};", 1), ["down", "golden"]);
    assert_eq!(found("use super::super::down::take_down;", 2), ["down"]);
    assert_eq!(found("use crate::{commands::{down}, views};", 1), ["down"]);
    assert_eq!(
        found("fn f() { crate::commands::golden::make(); }", 1),
        ["golden"]
    );
    assert!(found("use super::down;", 2).is_empty(), "its own module");
    assert!(found("use dm_operations::golden; use super::Cli;", 1).is_empty());
}

#[test]
fn every_command_module_is_listed_in_the_help() {
    let output = assert_cmd::Command::cargo_bin("dm")
        .unwrap()
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for command in commands() {
        let listed = help
            .lines()
            .any(|line| line.split_whitespace().next() == Some(command.as_str()));
        assert!(listed, "{command}");
    }
}
