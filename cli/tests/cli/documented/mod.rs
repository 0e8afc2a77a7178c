//! Tests that commands and keys of the configuration exist wherever they are mentioned: in the
//! README, the documents, the help texts, and the strings and comments of the sources.
//!
//! ```text
//! markdown   finds code in documents
//! source     finds strings and comments in the sources
//! shell      splits command lines into words
//! keys       finds keys of the configuration in a text
//! examples   checks the examples at the end of each command's help
//! ```

mod examples;
mod keys;
mod markdown;
mod shell;
mod source;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use dm::commands::Cli;

/// The kind of a text. It decides how much of a command must be present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A command line that can be typed as it is.
    Whole,
    /// A mention of a command, whose arguments may be missing: `dm exec`.
    Mention,
    /// The part of a sentence from a command on. The end of the command is not marked.
    Prose,
    /// A sentence that may contain keys. Its commands are texts of their own.
    Sentence,
}

/// A text that may contain commands and keys.
#[derive(Debug, Clone)]
struct Text {
    /// The location of the text.
    location: String,
    kind: Kind,
    text: String,
}

/// Returns the root directory of the repository.
pub(super) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Returns every file below a directory with this extension.
fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Returns the documents of the project.
pub(super) fn documents() -> Vec<PathBuf> {
    let mut documents = files(&repository().join("docs"), "md");
    documents.extend(["README.md", "CONTRIBUTING.md"].map(|name| repository().join(name)));
    documents
}

/// Returns the texts of the help of every command.
fn help() -> Vec<Text> {
    fn collect(command: &mut clap::Command, path: &str, found: &mut Vec<Text>) {
        let name = format!("{path} {}", command.get_name());
        let help = command.render_long_help().to_string();
        let location = format!("{} --help", name.trim());
        found.extend(markdown::spans(&location, &help));
        let examples = help.lines().filter(|line| line.starts_with("  dm "));
        found.extend(examples.map(|line| Text {
            location: location.clone(),
            kind: Kind::Whole,
            text: line.trim().to_owned(),
        }));
        for subcommand in command.get_subcommands_mut() {
            collect(subcommand, &name, found);
        }
    }
    let mut found = Vec::new();
    let mut command = Cli::command();
    command.build();
    collect(&mut command, "", &mut found);
    found
}

/// Returns all texts.
fn texts() -> Vec<Text> {
    let mut found = help();
    for path in documents() {
        let location = path.strip_prefix(repository()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        found.extend(markdown::code(&location.display().to_string(), &text));
    }
    for directory in ["cli/src", "cli/crates"] {
        for path in files(&repository().join(directory), "rs") {
            let location = path.strip_prefix(repository()).unwrap();
            let is_test = |part: &OsStr| {
                part.to_str()
                    .is_some_and(|name| name == "tests" || name.ends_with("tests.rs"))
            };
            if location.iter().any(is_test) {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            found.extend(source::texts(&location.display().to_string(), &text));
        }
    }
    found
}

/// Returns the error of a command line as clap reports it, if any.
fn parse_error(words: &[String], kind: Kind) -> Option<String> {
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

/// Returns the error of a command in a sentence, if any. The longest prefix that is a command
/// counts, and no option may follow it.
fn parse_error_in_prose(words: &[String]) -> Option<String> {
    let is_command = |name: &String| {
        let command = Cli::command();
        command.find_subcommand(name).is_some()
    };
    // For example, "dm itself" is not a command.
    if !words.get(1).is_some_and(is_command) {
        return None;
    }
    let end = (2..=words.len())
        .rev()
        .find(|end| parse_error(&words[..*end], Kind::Mention).is_none());
    match end {
        Some(end) => {
            let flag = words.get(end).filter(|word| word.starts_with("--"))?;
            Some(format!("the command has no option {flag}"))
        }
        None => parse_error(words, Kind::Mention),
    }
}

/// Returns the number of command lines in texts, and their errors.
fn command_errors(texts: &[Text]) -> (usize, Vec<String>) {
    let (mut count, mut errors) = (0, Vec::new());
    for text in texts {
        for words in shell::commands(text) {
            count += 1;
            let error = match text.kind {
                Kind::Prose => parse_error_in_prose(&words),
                kind => parse_error(&words, kind),
            };
            if let Some(error) = error {
                let first = error.lines().next().unwrap_or_default();
                errors.push(format!(
                    "{}: {}\n    {first}",
                    text.location,
                    words.join(" ")
                ));
            }
        }
    }
    (count, errors)
}

/// Returns the number of keys in texts, and those that do not exist.
fn key_errors(texts: &[Text]) -> (usize, Vec<String>) {
    let known = keys::ConfigKeys::new();
    let (mut count, mut errors) = (0, Vec::new());
    for text in texts {
        for key in known.find_in(text) {
            count += 1;
            if !known.contains(&key) {
                errors.push(format!("{}: {key}", text.location));
            }
        }
    }
    (count, errors)
}

#[test]
fn every_documented_command_line_parses() {
    let texts = texts();
    let (count, errors) = command_errors(&texts);
    assert!(count > 300, "only {count} command lines were found");
    assert!(errors.is_empty(), "\n{}\n", errors.join("\n"));
    let is_hint =
        |text: &&Text| text.kind == Kind::Whole && text.location.starts_with("cli/crates/");
    let hints = texts.iter().filter(is_hint).count();
    assert!(hints > 100, "only {hints} hints of crates were found");
}

#[test]
fn every_documented_configuration_key_exists() {
    let (count, errors) = key_errors(&texts());
    assert!(count > 100, "only {count} keys were found");
    assert!(errors.is_empty(), "\n{}\n", errors.join("\n"));
}

#[test]
fn faulty_hints_are_reported() {
    let source = r#"
        #[error("could not load the data: see `dm seed --fersh`")]
        fn suggestions() -> Vec<String> {
            connect(uri, "dm readiness", || note("show it: dm sttus"));
            vec![
                "dm stauts".into(),
                format!("or show its log: dm logs {component} --tial 5"),
                "start a part of the stack (dm up --onyl postgres)".into(),
                "set images.sorce to \"build\", or services.{name}.prot".into(),
                "set postgres.prot, then: dm up".into(),
                "move rabbitmq.prot FROM the file".into(),
            ]
        }
    "#;
    let texts = source::texts("faulty", source);
    let (count, errors) = command_errors(&texts);
    assert_eq!((count, errors.len()), (6, 5), "{errors:?}");
    let (_, errors) = key_errors(&texts);
    let keys = [
        "images.sorce",
        "services.{name}.prot",
        "postgres.prot",
        "rabbitmq.prot",
    ];
    assert_eq!(errors, keys.map(|key| format!("faulty: {key}")));
}

#[test]
fn correct_hints_and_names_are_accepted() {
    let source = r#"
        fn suggestions() -> Vec<String> {
            hash.write_field("dm image recipe 1");
            connect(uri, "dm readiness");
            query("SELECT id FROM keycloak.client");
            sentence.replace("dm backup ", &format!("dm backup --dir {} ", directory));
            vec![
                format!("or show its log: dm logs {component} --tail 5"),
                format!("set services.{name}.port or services.{name}.{setting}"),
            ]
        }

        #[cfg(test)]
        mod tests {
            const FAULTY: &str = "dm stauts";
        }
    "#;
    let texts = source::texts("correct", source);
    assert_eq!(command_errors(&texts), (3, Vec::new()));
    assert_eq!(key_errors(&texts), (1, Vec::new()));
}

#[test]
fn every_port_has_a_configuration_key() {
    let known = keys::ConfigKeys::new();
    let options = dm_config::LoadOptions {
        project_dir: Some(repository().to_owned()),
        current_dir: repository().to_owned(),
        overrides: Vec::new(),
    };
    let loaded = dm_config::Config::load(&options, []).unwrap();
    let components = dm_components::all_components(&loaded.config, repository());
    let ports: Vec<_> = components
        .iter()
        .flat_map(|component| component.ports())
        .collect();
    assert!(ports.len() > 10, "{ports:?}");
    for port in ports {
        let key = dm_core::config_keys::port_key(port.name);
        assert!(known.contains(&key), "{key}");
        let entry = loaded
            .effective_values(Some(&key), false)
            .unwrap()
            .remove(0);
        assert_eq!(entry.value, port.host_port, "{key}");
    }
}

#[test]
fn doctor_bundle_file_name_is_optional() {
    for line in [
        "dm doctor --bundle",
        "dm doctor --bundle FILE",
        "dm doctor --bundle=FILE",
    ] {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        assert_eq!(parse_error(&words, Kind::Whole), None);
    }
}
