//! Modules of a crate that import each other in a circle can't be understood one by one.
//!
//! A parent may use its children and they may use it. Siblings, each with all that is below
//! it, stand on each other one way. What only tests import does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A module by the names on the way to it; the crate itself is the empty one.
type Module = Vec<String>;

/// What one crate's modules are, and what they name of each other.
#[derive(Default)]
struct Modules {
    known: BTreeSet<Module>,
    /// The paths that each module names, as they are written.
    named: Vec<(Module, Module)>,
}

impl Modules {
    /// Those of a crate whose root is this file.
    fn of(root: &Path) -> Self {
        let mut modules = Self::default();
        modules.read(root, &Module::new(), root.parent().unwrap());
        modules
    }

    /// Reads a file, whose own modules are in `folder`.
    fn read(&mut self, file: &Path, module: &Module, folder: &Path) {
        let text = std::fs::read_to_string(file).unwrap();
        let tokens: TokenStream = text.parse().unwrap();
        self.items(tokens, module, folder);
    }

    fn items(&mut self, tokens: TokenStream, module: &Module, folder: &Path) {
        self.known.insert(module.clone());
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            if is_test_attribute(&tokens[at..]) {
                at = end_of_item(&tokens, at + 2);
                continue;
            }
            match (
                word(token).as_deref(),
                tokens.get(at + 1),
                tokens.get(at + 2),
            ) {
                (Some("mod"), Some(name), Some(body)) => {
                    let name = word(name).unwrap();
                    let child = [module.as_slice(), std::slice::from_ref(&name)].concat();
                    match body {
                        TokenTree::Group(body) => {
                            self.items(body.stream(), &child, &folder.join(&name));
                        }
                        _ => self.read(&file_of(folder, &name), &child, &folder.join(&name)),
                    }
                    at += 3;
                }
                (Some("use" | "crate" | "super" | "self"), ..) => {
                    let from = at + usize::from(word(token).as_deref() == Some("use"));
                    at = self.path(&tokens, from, &Module::new(), module).max(at + 1);
                }
                _ => {
                    if let TokenTree::Group(group) = token {
                        self.items(group.stream(), module, folder);
                    }
                    at += 1;
                }
            }
        }
    }

    /// Notes the path that begins there, or each one of a group of paths. Answers where it
    /// ends.
    fn path(&mut self, tokens: &[TokenTree], at: usize, before: &Module, module: &Module) -> usize {
        let mut path = before.clone();
        let mut at = at;
        loop {
            match tokens.get(at) {
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    for one in inner.split(|token| is(token, ',')) {
                        self.path(one, 0, &path, module);
                    }
                    return at + 1;
                }
                Some(token) => match word(token) {
                    Some(name) => path.push(name),
                    None => break,
                },
                None => break,
            }
            at += 1;
            let is_longer = tokens
                .get(at..at + 2)
                .is_some_and(|it| it.iter().all(|it| is(it, ':')));
            if !is_longer {
                break;
            }
            at += 2;
        }
        self.named.push((module.clone(), path));
        at
    }

    /// The module that a path leads to, as far as it names modules.
    fn resolve(&self, module: &Module, path: &Module) -> Option<Module> {
        let mut names = path.iter().map(String::as_str).peekable();
        let mut found = match *names.peek()? {
            "crate" => Module::new(),
            "self" | "super" => module.clone(),
            // Another crate's, or one that this module has imported.
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

    /// Which siblings name which, by their parent.
    fn between_siblings(&self) -> BTreeMap<Module, BTreeMap<String, BTreeSet<String>>> {
        let mut all: BTreeMap<Module, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        for (module, path) in &self.named {
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

    /// The circles, each as the names of its modules.
    fn circles(&self) -> BTreeSet<String> {
        let mut circles = BTreeSet::new();
        for (parent, siblings) in self.between_siblings() {
            let reached: BTreeMap<&String, BTreeSet<&String>> = siblings
                .keys()
                .map(|it| (it, reached(it, &siblings)))
                .collect();
            for (name, found) in &reached {
                let circle: Vec<&str> = found
                    .iter()
                    .filter(|other| reached.get(*other).is_some_and(|it| it.contains(name)))
                    .map(|other| other.as_str())
                    .collect();
                if circle.len() > 1 {
                    circles.insert([parent.join("::"), circle.join(", ")].join(": "));
                }
            }
        }
        circles
    }
}

/// All that a module names, and what that names.
fn reached<'a>(
    name: &'a String,
    siblings: &'a BTreeMap<String, BTreeSet<String>>,
) -> BTreeSet<&'a String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![name];
    while let Some(name) = open.pop() {
        for next in siblings.get(name).into_iter().flatten() {
            if reached.insert(next) {
                open.push(next);
            }
        }
    }
    reached
}

fn child(module: &Module, name: &str) -> Module {
    [module.as_slice(), &[name.to_owned()]].concat()
}

fn word(token: &TokenTree) -> Option<String> {
    match token {
        TokenTree::Ident(name) => Some(name.to_string()),
        _ => None,
    }
}

fn is(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(it) if it.as_char() == sign)
}

/// Whether an item begins there that only tests have.
fn is_test_attribute(tokens: &[TokenTree]) -> bool {
    let [hash, TokenTree::Group(attribute), ..] = tokens else {
        return false;
    };
    let text = attribute.stream().to_string().replace(' ', "");
    is(hash, '#') && text.starts_with("cfg(") && text.contains("test") && !text.contains("not(")
}

/// Where the item ends that begins there.
fn end_of_item(tokens: &[TokenTree], from: usize) -> usize {
    let is_end = |token: &TokenTree| {
        let is_body = |it: &proc_macro2::Group| it.delimiter() == Delimiter::Brace;
        is(token, ';') || matches!(token, TokenTree::Group(it) if is_body(it))
    };
    let length = tokens[from..].iter().position(is_end);
    length.map_or(tokens.len(), |length| from + length + 1)
}

fn file_of(folder: &Path, name: &str) -> PathBuf {
    let alone = folder.join(format!("{name}.rs"));
    let with_others = folder.join(name).join("mod.rs");
    if alone.exists() { alone } else { with_others }
}

/// The root files of all crates of the workspace.
fn roots() -> Vec<PathBuf> {
    let cli = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [cli.join("crates"), cli.join("../services")];
    let crates = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path());
    let roots = crates
        .chain([cli.to_owned()])
        .map(|it| it.join("src/lib.rs"));
    roots.filter(|root| root.exists()).collect()
}

#[test]
fn no_siblings_import_each_other_in_a_circle() {
    let mut circles = BTreeSet::new();
    for root in roots() {
        let name = root.ancestors().nth(2).unwrap().file_name().unwrap();
        let found = Modules::of(&root).circles();
        circles.extend(found.iter().map(|it| format!("{} {it}", name.display())));
    }
    assert_eq!(circles, BTreeSet::new());
}

#[test]
fn a_circle_is_found_and_a_way_down_is_none() {
    let of = |text: &str| {
        let mut modules = Modules::default();
        modules.items(text.parse().unwrap(), &Module::new(), Path::new(""));
        modules.circles()
    };
    let down = "mod a { use super::b::{B, C}; } mod b { use super::Parent; } use a::A;";
    assert!(of(down).is_empty());
    let circle = "mod a { use super::b::B; } mod b { fn f() { crate::a::f() } }";
    assert_eq!(of(circle), BTreeSet::from([": a, b".to_owned()]));
    let deeper = "mod a { mod x { use crate::b; } } mod b { mod y { use crate::a::x; } }";
    assert_eq!(of(deeper), BTreeSet::from([": a, b".to_owned()]));
    let tests = "mod a { use super::b; } mod b { #[cfg(test)] mod tests { use crate::a; } }";
    assert!(of(tests).is_empty());
}
