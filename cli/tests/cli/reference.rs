//! The pages below `docs/reference` are generated from the code.
//!
//! To write them: `UPDATE_GENERATED=1 cargo test --workspace --test cli reference`.

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};
use dm::commands::Cli;
use dm_core::document::{self, DocumentSchema};
use dm_core::error::ExitStatus;
use dm_core::error_code::ErrorCode;

use crate::documented::repository;

/// The columns of a help text in the reference.
const COLUMNS: usize = 100;

/// Compares a page with what the code generates, or writes it.
fn assert_generated(page: &str, expected: &str) {
    let path = repository().join("docs/reference").join(page);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let actual = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        actual == expected,
        "docs/reference/{page} differs from the code; write it with\n  \
         UPDATE_GENERATED=1 cargo test --workspace --test cli reference"
    );
}

/// Appends the help of a command and of the commands below it.
fn append_help(page: &mut String, command: &Command, parents: &[&str]) {
    let path = [parents, &[command.get_name()]].concat();
    if path.len() > 1 {
        let help = command.clone().term_width(COLUMNS).render_long_help();
        let lines: Vec<_> = help
            .to_string()
            .lines()
            .map(|it| it.trim_end().to_owned())
            .collect();
        let help = lines.join("\n");
        let heading = path.join(" ");
        write!(page, "\n## `{heading}`\n\n```text\n{}\n```\n", help.trim()).unwrap();
    }
    let below = command.get_subcommands().filter(|it| !it.is_hide_set());
    for command in below.filter(|it| it.get_name() != "help") {
        append_help(page, command, &path);
    }
}

#[test]
fn reference_of_commands_is_generated() {
    let mut page = String::from(
        "# Commands\n\n\
         The `--help` of every command. This page is generated from the code. For a list by \
         purpose, see\n[commands](../commands.md).\n",
    );
    let mut root = Cli::command();
    root.build();
    append_help(&mut page, &root, &[]);
    assert_generated("commands.md", &page);
}

#[test]
fn reference_of_error_codes_is_generated() {
    let mut page = String::from(
        "# Error codes\n\n\
         The stable codes of failures: in `error[CODE]` on stderr, and in `error.code` of\n\
         [`dm.error/1`](json.md). This page is generated from the code.\n\n\
         | Code | Meaning |\n|---|---|\n",
    );
    for code in ErrorCode::ALL {
        writeln!(page, "| `{code}` | {} |", code.meaning()).unwrap();
    }
    assert_generated("error-codes.md", &page);
}

#[test]
fn reference_of_exit_codes_is_generated() {
    let mut page = String::from(
        "# Exit codes\n\n\
         This page is generated from the code. `dm exec` and `dm psql` end with the exit code of \
         the command\nthat they ran.\n\n\
         | Code | Meaning |\n|---|---|\n",
    );
    for (status, meaning) in ExitStatus::DOCUMENTED {
        writeln!(page, "| {} | {meaning} |", status.code()).unwrap();
    }
    assert_generated("exit-codes.md", &page);
}

/// Returns the commands that print a document, in Markdown.
fn commands(schema: &DocumentSchema) -> String {
    let commands = schema.commands().iter().map(|command| {
        if command.starts_with("dm ") {
            format!("`{command}`")
        } else {
            (*command).to_owned()
        }
    });
    commands.collect::<Vec<_>>().join(", ")
}

#[test]
fn reference_of_json_documents_is_generated() {
    let mut page = String::from(
        "# JSON documents\n\n\
         What each command prints with `--json`. This page is generated from the code. A document, \
         and the\nfirst line of a stream, begins with the field `schema`. For rules and examples, \
         see\n[JSON output](../progress-json.md).\n\n\
         | Schema | Kind | Command | Content |\n|---|---|---|---|\n",
    );
    for schema in document::ALL {
        let kind = if schema.is_stream() {
            "stream"
        } else {
            "document"
        };
        let (id, commands) = (schema.id(), commands(schema));
        writeln!(
            page,
            "| `{id}` | {kind} | {commands} | {} |",
            schema.content()
        )
        .unwrap();
    }
    assert_generated("json.md", &page);
}

#[test]
fn every_document_names_a_command_that_prints_json() {
    let mut root = Cli::command();
    root.build();
    for schema in document::ALL {
        for command in schema.commands() {
            let Some(words) = command.strip_prefix("dm ") else {
                continue;
            };
            let mut found = &root;
            for word in words
                .split(' ')
                .filter(|it| it.chars().all(|c| c.is_ascii_lowercase()))
            {
                let below = found.find_subcommand(word);
                found = below.unwrap_or_else(|| panic!("{schema}: there is no `{command}`"));
            }
            let has_json = found.get_arguments().any(|it| it.get_id() == "json");
            assert!(has_json, "{schema}: `{command}` has no --json");
        }
    }
}
