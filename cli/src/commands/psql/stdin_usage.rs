//! Detects whether psql reads its standard input.

/// The letters of the options that have a value.
const OPTIONS_WITH_VALUE: &str = "cdfFhLoPRpTUv";

/// The sources of commands in the arguments of psql.
#[derive(Debug, Default)]
struct CommandSources {
    /// The arguments contain a command, a file, or another action instead of a script.
    has_other_source: bool,
    /// A command or a file reads the standard input.
    reads_stdin: bool,
}

/// Returns whether psql with these arguments reads its standard input: as the script to run, or as
/// the data of a copy. Otherwise the input is left to the caller, e.g. a shell loop.
pub(super) fn reads_stdin(arguments: &[String]) -> bool {
    let mut sources = CommandSources::default();
    let mut remaining = arguments.iter();
    while let Some(argument) = remaining.next() {
        if argument == "--" {
            break;
        }
        if let Some(long) = argument.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            let takes_value = ["command", "file"].contains(&name);
            let value = match value {
                None if takes_value => remaining.next().map(String::as_str),
                value => value,
            };
            sources.apply_option(name, value.unwrap_or_default());
        } else if let Some(letters) = argument.strip_prefix('-') {
            for (index, letter) in letters.char_indices() {
                if !OPTIONS_WITH_VALUE.contains(letter) {
                    sources.apply_option(letter.encode_utf8(&mut [0; 4]), "");
                    continue;
                }
                let attached = &letters[index + letter.len_utf8()..];
                let value = if attached.is_empty() {
                    remaining.next().map_or("", String::as_str)
                } else {
                    attached
                };
                sources.apply_option(letter.encode_utf8(&mut [0; 4]), value);
                break;
            }
        }
    }
    !sources.has_other_source || sources.reads_stdin
}

impl CommandSources {
    fn apply_option(&mut self, name: &str, value: &str) {
        match name {
            "c" | "command" => {
                self.has_other_source = true;
                // COPY … FROM STDIN, and \copy … from pstdin.
                self.reads_stdin |= value.to_ascii_lowercase().contains("stdin");
            }
            "f" | "file" => {
                self.has_other_source = true;
                self.reads_stdin |= value == "-" || value == "/dev/stdin";
            }
            "l" | "list" | "V" | "version" | "?" | "help" => self.has_other_source = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(arguments: &[&str]) -> bool {
        let arguments: Vec<_> = arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        reads_stdin(&arguments)
    }

    #[test]
    fn psql_without_a_command_reads_stdin() {
        for arguments in [
            &[][..],
            &["-tA"],
            &["--no-align", "-F", ","],
            &["-v", "c=1"],
            // The value of -v and of -F, and no command.
            &["-v", "-c"],
            &["-tAFc"],
            &["-f", "-"],
            &["--file=/dev/stdin"],
        ] {
            assert!(reads(arguments), "{arguments:?}");
        }
    }

    #[test]
    fn psql_with_a_command_or_file_leaves_stdin() {
        for arguments in [
            &["-c", "SELECT 1"][..],
            &["-tAc", "SELECT 1"],
            &["-cSELECT 1"],
            &["--command", "SELECT 1", "-tA"],
            &["--command=SELECT 1"],
            &["-f", "/tmp/script.sql"],
            &["-l"],
            &["-tl"],
            &["--help=variables"],
        ] {
            assert!(!reads(arguments), "{arguments:?}");
        }
    }

    #[test]
    fn psql_with_copy_from_stdin_reads_stdin() {
        assert!(reads(&["-c", "COPY t FROM STDIN"]));
        assert!(reads(&["-c", "\\copy t from pstdin csv"]));
        assert!(reads(&["-c", "SELECT 1", "-c", "copy t from stdin"]));
        assert!(!reads(&["-c", "COPY t TO STDOUT"]));
    }
}
