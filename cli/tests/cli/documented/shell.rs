//! Splits command lines into words.

use super::{Kind, Text};

/// Replaces a placeholder for a value in documents and hints.
const VALUE: &str = "evt_1";

/// The beginnings of texts that begin like a command but are not one.
const NOT_COMMANDS: [&str; 5] = ["dm {", "dm up, ", "dm COMMAND", "dm would ", "dm does not "];

/// Returns the calls of `dm` in a text, each as its words, without `sudo` and the like.
pub(super) fn commands(text: &Text) -> Vec<Vec<String>> {
    let is_not_a_command = NOT_COMMANDS
        .iter()
        .any(|other| text.text.starts_with(other));
    if is_not_a_command || text.kind == Kind::Sentence {
        return Vec::new();
    }
    let mut found = Vec::new();
    for piece in text.text.split("$(") {
        for mut words in split_commands(piece) {
            let skipped = words.iter().position(|word| {
                !(word == "sudo" || word == "time" || word.contains('=') || word == "env")
            });
            words.drain(..skipped.unwrap_or_default());
            let Some(first) = words.first() else { continue };
            let is_launcher = first == "./dm";
            if !(is_launcher || first == "dm") {
                continue;
            }
            // `./dm test` is a command of the launcher.
            if is_launcher && words.get(1).is_some_and(|word| word == "test") {
                continue;
            }
            // Optional parts of a synopsis are left out.
            words.retain(|word| !word.starts_with('['));
            if words.len() == 1 {
                continue;
            }
            found.push(words);
        }
    }
    found
}

/// Returns the commands of a line, split at pipes and other operators, without redirections.
fn split_commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let (mut word, mut in_word) = (String::new(), false);
    let mut characters = line.chars().peekable();
    let end = |word: &mut String, in_word: &mut bool, commands: &mut Vec<Vec<String>>| {
        if std::mem::take(in_word)
            && let Some(command) = commands.last_mut()
        {
            command.push(std::mem::take(word));
        }
    };
    while let Some(character) = characters.next() {
        match character {
            '\'' | '"' => {
                in_word = true;
                while let Some(inner) = characters.next_if(|inner| *inner != character) {
                    word.push(inner);
                }
                characters.next();
            }
            '{' if characters.peek() != Some(&'"') => {
                in_word = true;
                while characters.next_if(|inner| *inner != '}').is_some() {}
                characters.next();
                word.push_str(VALUE);
            }
            '…' => {
                in_word = true;
                word.push_str(VALUE);
            }
            '#' if !in_word => break,
            '|' | ';' | '&' | ')' | '(' => {
                end(&mut word, &mut in_word, &mut commands);
                commands.push(Vec::new());
            }
            '>' | '<' => {
                // The number of a stream is not a word.
                if word != "2" {
                    end(&mut word, &mut in_word, &mut commands);
                }
                word.clear();
                in_word = false;
                while characters
                    .next_if(|character| matches!(character, '>' | '<' | '&' | ' '))
                    .is_some()
                {}
                while characters
                    .next_if(|character| !character.is_whitespace())
                    .is_some()
                {}
            }
            space if space.is_whitespace() => end(&mut word, &mut in_word, &mut commands),
            other => {
                in_word = true;
                word.push(other);
            }
        }
    }
    end(&mut word, &mut in_word, &mut commands);
    commands
}
