//! The output settings, resolved once from the flags and the environment.

use std::ffi::OsString;
use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::canvas::{Canvas, Style};

/// Columns of a pipe, and of a terminal of unknown size.
const DEFAULT_WIDTH: usize = 80;
/// Rows of a terminal of unknown size.
const DEFAULT_HEIGHT: usize = 24;
/// The minimum width of readable output. A narrower terminal breaks the lines.
const MIN_WIDTH: usize = 20;

/// When to colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum ColorChoice {
    /// Colour on a terminal, unless NO_COLOR is set or TERM is dumb.
    #[default]
    Auto,
    /// Colour everywhere, also in a pipe.
    Always,
    /// No colour.
    Never,
}

/// How a run is reported while it lasts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum ProgressChoice {
    /// Live lines on a terminal, plain lines otherwise.
    #[default]
    Auto,
    /// Live lines, redrawn in place.
    Live,
    /// One line per event.
    Plain,
    /// One JSON object per event, on stderr (see docs/progress-json.md).
    Json,
    /// Only failures.
    None,
}

/// The output flags of every command.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
pub struct OutputFlags {
    /// When to use colour in the output.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: ColorChoice,
    /// How to report progress.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "HOW")]
    pub progress: ProgressChoice,
    /// Write the result to stdout as JSON: one document, or one per line.
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only results and failures.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print more details.
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

impl OutputFlags {
    /// Returns the flags that select JSON, from a command line that could not be parsed: its error
    /// has the requested form. The words after `--` are no flags.
    #[must_use]
    pub fn from_invalid_command_line(words: impl IntoIterator<Item = OsString>) -> Self {
        let mut flags = Self::default();
        let mut follows_progress = false;
        for word in words {
            let word = word.to_str();
            match word {
                Some("--") => break,
                Some("--json") => flags.json = true,
                Some("--progress=json") => flags.progress = ProgressChoice::Json,
                Some("json") if follows_progress => flags.progress = ProgressChoice::Json,
                _ => {}
            }
            follows_progress = word == Some("--progress");
        }
        flags
    }
}

/// The environment variables and streams that affect the output. A value, so that
/// tests need not change the process's environment.
#[derive(Debug, Clone, Default)]
pub struct TerminalEnv {
    /// True if stdin is a terminal.
    pub stdin_is_terminal: bool,
    /// True if stdout is a terminal.
    pub stdout_is_terminal: bool,
    /// True if stderr is a terminal.
    pub stderr_is_terminal: bool,
    /// `NO_COLOR`: any text turns colour off (no-color.org).
    pub no_color: Option<String>,
    /// `CLICOLOR_FORCE`: any text but `0` turns colour on.
    pub clicolor_force: Option<String>,
    /// `TERM`.
    pub term: Option<String>,
    /// `COLUMNS`: overrides the width.
    pub columns: Option<String>,
    /// The first of `LC_ALL`, `LC_CTYPE` and `LANG` that is not empty.
    pub locale: Option<String>,
    /// `CI`: a terminal in a CI job is recorded.
    pub ci: Option<String>,
    /// `GITHUB_ACTIONS`.
    pub github_actions: Option<String>,
}

impl TerminalEnv {
    /// Reads the environment of this process.
    #[must_use]
    pub(crate) fn from_process() -> Self {
        let get = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            stdin_is_terminal: std::io::stdin().is_terminal(),
            stdout_is_terminal: std::io::stdout().is_terminal(),
            stderr_is_terminal: std::io::stderr().is_terminal(),
            no_color: get("NO_COLOR"),
            clicolor_force: get("CLICOLOR_FORCE"),
            term: get("TERM"),
            columns: get("COLUMNS"),
            locale: get("LC_ALL")
                .or_else(|| get("LC_CTYPE"))
                .or_else(|| get("LANG")),
            ci: get("CI"),
            github_actions: get("GITHUB_ACTIONS"),
        }
    }

    fn is_dumb(&self) -> bool {
        self.term.as_deref() == Some("dumb")
    }

    /// Returns whether the locale is UTF-8 and the terminal is not the Linux console, which has few
    /// glyphs.
    fn supports_unicode(&self) -> bool {
        let locale = self
            .locale
            .as_deref()
            .unwrap_or_default()
            .to_ascii_lowercase();
        (locale.contains("utf-8") || locale.contains("utf8"))
            && self.term.as_deref() != Some("linux")
    }

    fn resolve_colour(&self, choice: ColorChoice, terminal: bool) -> bool {
        match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto if self.no_color.is_some() => false,
            ColorChoice::Auto => match self.clicolor_force.as_deref() {
                Some(force) if force != "0" => true,
                _ => terminal && !self.is_dumb(),
            },
        }
    }

    fn is_ci(&self) -> bool {
        self.ci
            .as_deref()
            .is_some_and(|ci| ci != "false" && ci != "0")
    }
}

/// The capabilities of stdout or stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamCapabilities {
    /// True if the stream is a terminal.
    pub is_terminal: bool,
    /// True if colours are written.
    pub has_colour: bool,
}

/// The resolved output settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputSettings {
    /// Stdout.
    pub stdout: StreamCapabilities,
    /// Stderr.
    pub stderr: StreamCapabilities,
    /// True if a prompt can be shown and answered.
    pub is_interactive: bool,
    /// The width set by `COLUMNS`.
    pub width_override: Option<usize>,
    /// True if non-ASCII characters may be written.
    pub unicode: bool,
    /// How a run is reported; never [`ProgressChoice::Auto`].
    pub progress: ProgressChoice,
    /// True if stdout receives JSON.
    pub json: bool,
    /// True if notes are suppressed.
    pub quiet: bool,
    /// True if details are shown.
    pub verbose: bool,
    /// True if GitHub Actions reads the output and creates annotations.
    pub github_annotations: bool,
}

impl OutputSettings {
    /// Resolves the settings from the flags and the environment.
    #[must_use]
    pub fn resolve(flags: &OutputFlags, env: &TerminalEnv) -> Self {
        let stream = |terminal| StreamCapabilities {
            is_terminal: terminal,
            has_colour: env.resolve_colour(flags.color, terminal),
        };
        let progress = match flags.progress {
            ProgressChoice::Auto if flags.quiet => ProgressChoice::None,
            ProgressChoice::Auto if env.stderr_is_terminal && !env.is_dumb() && !env.is_ci() => {
                ProgressChoice::Live
            }
            // Live lines are cursor movements, which are useless in a file.
            ProgressChoice::Live if env.stderr_is_terminal => ProgressChoice::Live,
            ProgressChoice::Auto | ProgressChoice::Live => ProgressChoice::Plain,
            chosen => chosen,
        };
        Self {
            stdout: stream(env.stdout_is_terminal),
            stderr: stream(env.stderr_is_terminal),
            is_interactive: env.stdin_is_terminal && env.stderr_is_terminal,
            width_override: env
                .columns
                .as_deref()
                .and_then(|columns| columns.trim().parse().ok())
                .filter(|columns| *columns > 0),
            unicode: env.supports_unicode(),
            progress,
            json: flags.json,
            quiet: flags.quiet,
            verbose: flags.verbose,
            github_annotations: env.github_actions.as_deref() == Some("true"),
        }
    }

    /// Returns the canvas of a stream. `size` has the rows and columns of its
    /// terminal, if it is one.
    #[must_use]
    pub(crate) fn canvas(&self, stream: StreamCapabilities, size: Option<(u16, u16)>) -> Canvas {
        let measured = size
            .map(|(_, columns)| usize::from(columns))
            .filter(|c| *c > 0);
        let width = self.width_override.or(measured).unwrap_or(DEFAULT_WIDTH);
        Canvas {
            style: Style {
                colour: stream.has_colour,
                unicode: self.unicode,
            },
            width: width.max(MIN_WIDTH),
            is_bounded: stream.is_terminal || self.width_override.is_some(),
        }
    }

    /// Returns the rows of a terminal of the given size (rows, columns), or the default.
    #[must_use]
    pub(crate) fn rows_or_default(size: Option<(u16, u16)>) -> usize {
        size.map(|(rows, _)| usize::from(rows))
            .filter(|rows| *rows > 0)
            .unwrap_or(DEFAULT_HEIGHT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal() -> TerminalEnv {
        TerminalEnv {
            stdin_is_terminal: true,
            stdout_is_terminal: true,
            stderr_is_terminal: true,
            term: Some("xterm-256color".into()),
            locale: Some("en_US.UTF-8".into()),
            ..TerminalEnv::default()
        }
    }

    fn resolve(flags: &OutputFlags, env: &TerminalEnv) -> OutputSettings {
        OutputSettings::resolve(flags, env)
    }

    #[test]
    fn terminal_has_live_progress_colour_and_unicode() {
        let settings = resolve(&OutputFlags::default(), &terminal());
        assert!(settings.stdout.has_colour && settings.stderr.has_colour && settings.unicode);
        assert!(settings.is_interactive);
        assert_eq!(settings.progress, ProgressChoice::Live);
    }

    #[test]
    fn stdout_and_stderr_are_resolved_separately() {
        let env = TerminalEnv {
            stdout_is_terminal: false,
            ..terminal()
        };
        let settings = resolve(&OutputFlags::default(), &env);
        assert!(!settings.stdout.has_colour && settings.stderr.has_colour);
        assert!(!settings.canvas(settings.stdout, None).is_bounded);
        assert!(settings.canvas(settings.stderr, None).is_bounded);
    }

    #[test]
    fn colour_is_resolved_by_flag_then_no_color_then_force_then_terminal() {
        let colour = |flag, no_color: Option<&str>, force: Option<&str>, terminal, term: &str| {
            let env = TerminalEnv {
                stderr_is_terminal: terminal,
                no_color: no_color.map(Into::into),
                clicolor_force: force.map(Into::into),
                term: Some(term.into()),
                ..TerminalEnv::default()
            };
            let flags = OutputFlags {
                color: flag,
                ..OutputFlags::default()
            };
            resolve(&flags, &env).stderr.has_colour
        };
        use ColorChoice::{Always, Auto, Never};
        assert!(colour(Always, Some("1"), None, false, "dumb"));
        assert!(!colour(Never, None, Some("1"), true, "xterm"));
        assert!(!colour(Auto, Some("1"), Some("1"), true, "xterm"));
        assert!(colour(Auto, None, Some("1"), false, "dumb"));
        assert!(!colour(Auto, None, Some("0"), false, "xterm"));
        assert!(!colour(Auto, None, None, true, "dumb"));
        assert!(colour(Auto, None, None, true, "xterm"));
    }

    #[test]
    fn live_progress_requires_a_capable_terminal() {
        let progress = |choice, env: &TerminalEnv| {
            let flags = OutputFlags {
                progress: choice,
                ..OutputFlags::default()
            };
            resolve(&flags, env).progress
        };
        assert_eq!(
            progress(ProgressChoice::Live, &TerminalEnv::default()),
            ProgressChoice::Plain
        );
        assert_eq!(
            progress(ProgressChoice::Auto, &TerminalEnv::default()),
            ProgressChoice::Plain
        );
        let ci = TerminalEnv {
            ci: Some("true".into()),
            ..terminal()
        };
        assert_eq!(progress(ProgressChoice::Auto, &ci), ProgressChoice::Plain);
        let dumb = TerminalEnv {
            term: Some("dumb".into()),
            ..terminal()
        };
        assert_eq!(progress(ProgressChoice::Auto, &dumb), ProgressChoice::Plain);
        let quiet = OutputFlags {
            quiet: true,
            ..OutputFlags::default()
        };
        assert_eq!(resolve(&quiet, &terminal()).progress, ProgressChoice::None);
    }

    #[test]
    fn columns_variable_overrides_the_width_if_valid() {
        let width = |columns: &str, size| {
            let env = TerminalEnv {
                columns: Some(columns.into()),
                ..terminal()
            };
            let settings = resolve(&OutputFlags::default(), &env);
            settings.canvas(settings.stdout, size).width
        };
        assert_eq!(width("120", Some((24, 90))), 120);
        assert_eq!(width("0", Some((24, 90))), 90);
        assert_eq!(width("wide", None), 80);
        assert_eq!(width("3", None), MIN_WIDTH);
        assert_eq!(width("", Some((0, 0))), 80);
    }

    #[test]
    fn flags_for_json_are_found_in_an_invalid_command_line() {
        let find = |line: &str| {
            let words = line.split(' ').map(OsString::from);
            let flags = OutputFlags::from_invalid_command_line(words);
            (flags.json, flags.progress == ProgressChoice::Json)
        };
        assert_eq!(find("dm up --wrong --json"), (true, false));
        assert_eq!(find("dm --json stauts --progress json"), (true, true));
        assert_eq!(find("dm up --progress=json --wrong"), (false, true));
        assert_eq!(find("dm up json --progress plain"), (false, false));
        assert_eq!(find("dm psql --wrong -- --json"), (false, false));
    }

    #[test]
    fn unicode_depends_on_the_locale() {
        let unicode = |locale: Option<&str>, term: &str| {
            let env = TerminalEnv {
                locale: locale.map(Into::into),
                term: Some(term.into()),
                ..TerminalEnv::default()
            };
            resolve(&OutputFlags::default(), &env).unicode
        };
        assert!(unicode(Some("C.UTF-8"), "xterm"));
        assert!(unicode(Some("de_DE.utf8"), "xterm"));
        assert!(!unicode(Some("C"), "xterm"));
        assert!(!unicode(None, "xterm"));
        assert!(!unicode(Some("C.UTF-8"), "linux"));
    }
}
