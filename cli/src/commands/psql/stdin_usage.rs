//! Whether psql reads its standard input.

/// The options that have a value, by their letters.
const OPTIONS_WITH_VALUE: &str = "cdfFhLoPRpTUv";

/// What the arguments of psql say about where its commands come from.
#[derive(Debug, Default)]
struct CommandSources {
    /// There is a command, a file, or something else to do than to read a script.
    has_other_source: bool,
    /// One of them reads the standard input.
    reads_stdin: bool,
}

/// True where psql, called with these arguments, reads its standard input: as the script
/// to run, or as the data of a copy. Otherwise the input is the caller's, e.g. a loop's.
pub(super) fn reads_stdin(arguments: &[String]) -> bool {
    let mut told = CommandSources::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
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
                None if takes_value => rest.next().map(String::as_str),
                value => value,
            };
            told.apply_option(name, value.unwrap_or_default());
        } else if let Some(letters) = argument.strip_prefix('-') {
            for (at, letter) in letters.char_indices() {
                if !OPTIONS_WITH_VALUE.contains(letter) {
                    told.apply_option(letter.encode_utf8(&mut [0; 4]), "");
                    continue;
                }
                let attached = &letters[at + letter.len_utf8()..];
                let value = if attached.is_empty() {
                    rest.next().map_or("", String::as_str)
                } else {
                    attached
                };
                told.apply_option(letter.encode_utf8(&mut [0; 4]), value);
                break;
            }
        }
    }
    !told.has_other_source || told.reads_stdin
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
        let arguments: Vec<_> = arguments.iter().map(|&it| it.to_owned()).collect();
        reads_stdin(&arguments)
    }

    #[test]
    fn a_script_comes_by_standard_input() {
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
    fn a_command_leaves_standard_input_to_the_caller() {
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
    fn a_copy_reads_its_data() {
        assert!(reads(&["-c", "COPY t FROM STDIN"]));
        assert!(reads(&["-c", "\\copy t from pstdin csv"]));
        assert!(reads(&["-c", "SELECT 1", "-c", "copy t from stdin"]));
        assert!(!reads(&["-c", "COPY t TO STDOUT"]));
    }
}
