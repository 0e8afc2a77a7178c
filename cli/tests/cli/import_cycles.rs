//! Tests that the modules of a crate do not import each other in cycles, because such modules
//! cannot be understood separately.
//!
//! A parent may use its children, and they may use their parent. Siblings, each with everything
//! below it, may depend on each other only in one direction. Imports of tests do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The path of a module as names. The path of the crate root is empty.
type Module = Vec<String>;

/// The modules of a crate and the paths that they contain.
#[derive(Default)]
struct Modules {
    known: BTreeSet<Module>,
    /// The paths in each module, as they are written.
    references: Vec<(Module, Module)>,
}

impl Modules {
    /// Reads the modules of the crate with this root file.
    fn read_crate(root: &Path) -> Self {
        let mut modules = Self::default();
        modules.read(root, &Module::new(), root.parent().unwrap());
        modules
    }

    /// Reads a file whose child modules are in `directory`.
    fn read(&mut self, file: &Path, module: &Module, directory: &Path) {
        let text = std::fs::read_to_string(file).unwrap();
        let tokens: TokenStream = text.parse().unwrap();
        self.read_items(tokens, module, directory);
    }

    /// Reads the items of a module whose child modules are in `directory`.
    fn read_items(&mut self, tokens: TokenStream, module: &Module, directory: &Path) {
        self.known.insert(module.clone());
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            if is_test_attribute(&tokens[at..]) {
                at = end_of_item(&tokens, at + 2);
                continue;
            }
            match (
                identifier(token).as_deref(),
                tokens.get(at + 1),
                tokens.get(at + 2),
            ) {
                (Some("mod"), Some(name), Some(body)) => {
                    let name = identifier(name).unwrap();
                    let child = child(module, &name);
                    match body {
                        TokenTree::Group(body) => {
                            self.read_items(body.stream(), &child, &directory.join(&name));
                        }
                        _ => self.read(&file_of(directory, &name), &child, &directory.join(&name)),
                    }
                    at += 3;
                }
                (Some("use" | "crate" | "super" | "self"), ..) => {
                    let from = at + usize::from(identifier(token).as_deref() == Some("use"));
                    at = self
                        .read_path(&tokens, from, &Module::new(), module)
                        .max(at + 1);
                }
                _ => {
                    if let TokenTree::Group(group) = token {
                        self.read_items(group.stream(), module, directory);
                    }
                    at += 1;
                }
            }
        }
    }

    /// Records the path that begins at `at`, or each path of a group. Returns the position behind
    /// it.
    fn read_path(
        &mut self,
        tokens: &[TokenTree],
        at: usize,
        before: &Module,
        module: &Module,
    ) -> usize {
        let mut path = before.clone();
        let mut at = at;
        loop {
            match tokens.get(at) {
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    for one in inner.split(|token| is_punct(token, ',')) {
                        self.read_path(one, 0, &path, module);
                    }
                    return at + 1;
                }
                Some(token) => match identifier(token) {
                    Some(name) => path.push(name),
                    None => break,
                },
                None => break,
            }
            at += 1;
            let is_longer = tokens
                .get(at..at + 2)
                .is_some_and(|next| next.iter().all(|token| is_punct(token, ':')));
            if !is_longer {
                break;
            }
            at += 2;
        }
        self.references.push((module.clone(), path));
        at
    }

    /// Returns the module that a path leads to, as far as the path consists of modules.
    fn resolve(&self, module: &Module, path: &Module) -> Option<Module> {
        let mut names = path.iter().map(String::as_str).peekable();
        let mut found = match *names.peek()? {
            "crate" => Module::new(),
            "self" | "super" => module.clone(),
            // The name belongs to another crate or to an import of this module.
            name if !self.known.contains(&child(module, name)) => return None,
            _ => module.clone(),
        };
        while let Some(name) = names.next_if(|name| ["crate", "self", "super"].contains(name)) {
            if name == "super" {
                found.pop();
            }
        }
        for name in names {
            let next = child(&found, name);
            if !self.known.contains(&next) {
                break;
            }
            found = next;
        }
        Some(found)
    }

    /// Returns the references between siblings, by their parent.
    fn sibling_references(&self) -> BTreeMap<Module, BTreeMap<String, BTreeSet<String>>> {
        let mut all: BTreeMap<Module, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        for (module, path) in &self.references {
            let Some(found) = self.resolve(module, path) else {
                continue;
            };
            let common = module
                .iter()
                .zip(&found)
                .take_while(|(a, b)| a == b)
                .count();
            if let (Some(from), Some(to)) = (module.get(common), found.get(common)) {
                let siblings = all.entry(module[..common].to_vec()).or_default();
                siblings.entry(from.clone()).or_default().insert(to.clone());
            }
        }
        all
    }

    /// Returns the cycles, each as the names of its modules.
    fn cycles(&self) -> BTreeSet<String> {
        let mut cycles = BTreeSet::new();
        for (parent, siblings) in self.sibling_references() {
            let reachable: BTreeMap<&String, BTreeSet<&String>> = siblings
                .keys()
                .map(|name| (name, reachable(name, &siblings)))
                .collect();
            for (name, found) in &reachable {
                let cycle: Vec<&str> = found
                    .iter()
                    .filter(|other| {
                        reachable
                            .get(*other)
                            .is_some_and(|names| names.contains(name))
                    })
                    .map(|other| other.as_str())
                    .collect();
                if cycle.len() > 1 {
                    cycles.insert([parent.join("::"), cycle.join(", ")].join(": "));
                }
            }
        }
        cycles
    }
}

/// Returns all modules that a module depends on, directly or indirectly.
fn reachable<'a>(
    name: &'a String,
    siblings: &'a BTreeMap<String, BTreeSet<String>>,
) -> BTreeSet<&'a String> {
    let mut reachable = BTreeSet::new();
    let mut pending = vec![name];
    while let Some(name) = pending.pop() {
        for next in siblings.get(name).into_iter().flatten() {
            if reachable.insert(next) {
                pending.push(next);
            }
        }
    }
    reachable
}

fn child(module: &Module, name: &str) -> Module {
    [module.as_slice(), &[name.to_owned()]].concat()
}

fn identifier(token: &TokenTree) -> Option<String> {
    match token {
        TokenTree::Ident(name) => Some(name.to_string()),
        _ => None,
    }
}

fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

/// Returns whether an item for tests begins here.
fn is_test_attribute(tokens: &[TokenTree]) -> bool {
    let [hash, TokenTree::Group(attribute), ..] = tokens else {
        return false;
    };
    let text = attribute.stream().to_string().replace(' ', "");
    is_punct(hash, '#')
        && text.starts_with("cfg(")
        && text.contains("test")
        && !text.contains("not(")
}

/// Returns the position behind the item that begins at `from`.
fn end_of_item(tokens: &[TokenTree], from: usize) -> usize {
    let is_end = |token: &TokenTree| {
        let is_body = |group: &proc_macro2::Group| group.delimiter() == Delimiter::Brace;
        is_punct(token, ';') || matches!(token, TokenTree::Group(group) if is_body(group))
    };
    let length = tokens[from..].iter().position(is_end);
    length.map_or(tokens.len(), |length| from + length + 1)
}

fn file_of(directory: &Path, name: &str) -> PathBuf {
    let alone = directory.join(format!("{name}.rs"));
    let with_others = directory.join(name).join("mod.rs");
    if alone.exists() { alone } else { with_others }
}

/// Returns the root files of all crates of the workspace.
fn roots() -> Vec<PathBuf> {
    let cli = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directories = [cli.join("crates"), cli.join("../services")];
    let crates = directories
        .iter()
        .flat_map(|directory| std::fs::read_dir(directory).unwrap())
        .map(|entry| entry.unwrap().path());
    let roots = crates
        .chain([cli.to_owned()])
        .map(|path| path.join("src/lib.rs"));
    roots.filter(|root| root.exists()).collect()
}

#[test]
fn sibling_modules_have_no_import_cycles() {
    let mut cycles = BTreeSet::new();
    for root in roots() {
        let name = root.ancestors().nth(2).unwrap().file_name().unwrap();
        let found = Modules::read_crate(&root).cycles();
        cycles.extend(
            found
                .iter()
                .map(|cycle| format!("{} {cycle}", name.display())),
        );
    }
    assert_eq!(cycles, BTreeSet::new());
}

#[test]
fn cycles_finds_mutual_imports_and_ignores_one_way_imports() {
    let cycles_in = |text: &str| {
        let mut modules = Modules::default();
        modules.read_items(text.parse().unwrap(), &Module::new(), Path::new(""));
        modules.cycles()
    };
    let down = "mod a { use super::b::{B, C}; } mod b { use super::Parent; } use a::A;";
    assert!(cycles_in(down).is_empty());
    let cycle = "mod a { use super::b::B; } mod b { fn f() { crate::a::f() } }";
    assert_eq!(cycles_in(cycle), BTreeSet::from([": a, b".to_owned()]));
    let deeper = "mod a { mod x { use crate::b; } } mod b { mod y { use crate::a::x; } }";
    assert_eq!(cycles_in(deeper), BTreeSet::from([": a, b".to_owned()]));
    let tests = "mod a { use super::b; } mod b { #[cfg(test)] mod tests { use crate::a; } }";
    assert!(cycles_in(tests).is_empty());
}
