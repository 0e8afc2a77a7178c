//! Everything that names a command or a key of the configuration names one that there
//! is: README, the documents, help, and the texts of the sources, hints among them.
//!
//! ```text
//! markdown   code in documents
//! source     texts and comments in the sources
//! shell      command lines in a text, as their words
//! keys       keys of the configuration in a text
//! examples   the examples that each command's help ends with
//! ```

mod examples;
mod keys;
mod markdown;
mod shell;
mod source;

use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use dm::commands::Cli;

/// What a text is, and so how much of a command must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// To be typed as it stands.
    Whole,
    /// About a command, which may be named alone: `dm exec`.
    Mention,
    /// A sentence with a command somewhere in it, which ends where the sentence goes on.
    Prose,
}

/// A text that may name commands and keys.
#[derive(Debug, Clone)]
struct Text {
    /// Where it stands.
    place: String,
    kind: Kind,
    text: String,
}

/// The folder of the repository.
pub(super) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Every file below a folder with this ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|it| it == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The documents of the project.
pub(super) fn documents() -> Vec<PathBuf> {
    let mut documents = files(&repository().join("docs"), "md");
    documents.extend(["README.md", "CONTRIBUTING.md"].map(|name| repository().join(name)));
    documents
}

/// The help of every command.
fn help() -> Vec<Text> {
    fn collect(command: &mut clap::Command, path: &str, found: &mut Vec<Text>) {
        let name = format!("{path} {}", command.get_name());
        let help = command.render_long_help().to_string();
        let place = format!("{} --help", name.trim());
        found.extend(markdown::spans(&place, &help));
        let examples = help.lines().filter(|line| line.starts_with("  dm "));
        found.extend(examples.map(|line| Text {
            place: place.clone(),
            kind: Kind::Whole,
            text: line.trim().to_owned(),
        }));
        for below in command.get_subcommands_mut() {
            collect(below, &name, found);
        }
    }
    let mut found = Vec::new();
    let mut command = Cli::command();
    command.build();
    collect(&mut command, "", &mut found);
    found
}

/// All texts that there are.
fn texts() -> Vec<Text> {
    let mut found = help();
    for path in documents() {
        let place = path.strip_prefix(repository()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        found.extend(markdown::code(&place.display().to_string(), &text));
    }
    for path in files(&repository().join("cli/src"), "rs") {
        let place = path.strip_prefix(repository()).unwrap();
        let is_test = |part: &std::ffi::OsStr| part == "tests" || part == "tests.rs";
        if place.iter().any(is_test) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        found.extend(source::texts(&place.display().to_string(), &text));
    }
    found
}

/// What is wrong with a command line, as clap says it.
fn fault(words: &[String], kind: Kind) -> Option<String> {
    let error = Cli::try_parse_from(words).err()?;
    let is_named_alone = matches!(
        error.kind(),
        ErrorKind::MissingRequiredArgument
            | ErrorKind::MissingSubcommand
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => None,
        _ if kind == Kind::Mention && is_named_alone => None,
        _ => Some(error.to_string()),
    }
}

/// What is wrong with a command that a sentence contains: its longest beginning that is
/// a command counts, and no flag may follow it.
fn fault_in_prose(words: &[String]) -> Option<String> {
    let is_command = |name: &String| {
        let command = Cli::command();
        command.find_subcommand(name).is_some()
    };
    // "dm itself", and the like.
    if !words.get(1).is_some_and(is_command) {
        return None;
    }
    let end = (2..=words.len())
        .rev()
        .find(|end| fault(&words[..*end], Kind::Mention).is_none());
    match end {
        Some(end) => {
            let flag = words.get(end).filter(|word| word.starts_with("--"))?;
            Some(format!("there is no {flag} there"))
        }
        None => fault(words, Kind::Mention),
    }
}

#[test]
fn every_command_line_can_be_typed() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for text in texts() {
        for words in shell::commands(&text) {
            seen += 1;
            let fault = match text.kind {
                Kind::Prose => fault_in_prose(&words),
                kind => fault(&words, kind),
            };
            if let Some(fault) = fault {
                let first = fault.lines().next().unwrap_or_default();
                wrong.push(format!("{}: {}\n    {first}", text.place, words.join(" ")));
            }
        }
    }
    assert!(seen > 300, "only {seen} command lines were found");
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_key_of_the_configuration_is_one() {
    let known = keys::Known::new();
    let (mut seen, mut wrong) = (0, Vec::new());
    for text in texts() {
        for key in keys::named(&text) {
            seen += 1;
            if !known.has(&key) {
                wrong.push(format!("{}: {key}", text.place));
            }
        }
    }
    assert!(seen > 100, "only {seen} keys were found");
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_port_has_its_key() {
    let known = keys::Known::new();
    let options = dm_config::LoadOptions {
        project_dir: Some(repository().to_owned()),
        current_dir: repository().to_owned(),
        overrides: Vec::new(),
    };
    let loaded = dm_config::Config::load(&options, []).unwrap();
    let components = dm_components::all(&loaded.config, repository());
    let ports: Vec<_> = components.iter().flat_map(|it| it.ports()).collect();
    assert!(ports.len() > 10, "{ports:?}");
    for port in ports {
        let key = dm_core::keys::port_key(port.name);
        assert!(known.has(&key), "{key}");
        let entry = loaded.show(Some(&key), false).unwrap().remove(0);
        assert_eq!(entry.value, port.host, "{key}");
    }
}

#[test]
fn the_bundle_needs_no_name() {
    for line in [
        "dm doctor --bundle",
        "dm doctor --bundle FILE",
        "dm doctor --bundle=FILE",
    ] {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        assert_eq!(fault(&words, Kind::Whole), None);
    }
}
