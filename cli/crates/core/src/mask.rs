//! Masking of secrets in texts that are shown, stored or sent: one mask, one pattern of secret
//! names, and the [`Masker`]. If a pattern cannot be compiled, everything is masked.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::Value;

/// The replacement for a secret of any length.
pub const MASK: &str = "***";

/// A shorter known secret is masked only as a whole word: the password `dm` must not mask
/// parts of other words.
const MIN_DISTINCTIVE_LENGTH: usize = 8;

/// Matches names whose values are secrets.
const SECRET_NAME_PATTERN: &str = r"pass(?:word|wd|phrase)?|pwd|secret|token|credentials?|api[_-]?key|private[_-]?key|client[_-]?key";

/// Patterns of secrets with their replacements. `None` if one of them cannot be compiled.
static SECRET_PATTERNS: LazyLock<Option<Vec<(Regex, &'static str)>>> = LazyLock::new(|| {
    [
        (
            r"(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END [A-Z ]*PRIVATE KEY-----|\z)".to_owned(),
            "$1***$2",
        ),
        (
            r#"(?i)((?:proxy-)?authorization["']?\s*[:=]\s*["']?)[^"'\r\n]+"#.to_owned(),
            "$1***",
        ),
        (
            r#"(?i)((?:set-)?cookie["']?\s*[:=]\s*["']?)[^"'\r\n]+"#.to_owned(),
            "$1***",
        ),
        (
            r"(?i)\b(bearer|basic)(\s+)[a-z0-9._~+/=-]{8,}".to_owned(),
            "$1$2***",
        ),
        (
            r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)*".to_owned(),
            "***",
        ),
        (
            format!(
                r#"(?i)([\w.-]*(?:{SECRET_NAME_PATTERN})[\w.-]*["']?\s*[=:]\s*)("(?:[^"\\]|\\.)*"|'[^']*'|[^\s"',;&]+)"#
            ),
            "$1***",
        ),
        (
            format!(r"(?i)(--?[\w-]*(?:{SECRET_NAME_PATTERN})[\w-]*\s+)[^\s-]\S*"),
            "$1***",
        ),
    ]
    .into_iter()
    .map(|(pattern, replacement)| Some((Regex::new(&pattern).ok()?, replacement)))
    .collect()
});

static SECRET_NAME_REGEX: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(&format!("(?i)(?:{SECRET_NAME_PATTERN})")).ok());

/// Replaces known secrets, and texts that look like secrets.
#[derive(Debug, Clone, Default)]
pub struct Masker {
    known_secrets: KnownSecrets,
    variables: BTreeSet<String>,
}

/// The known secrets.
#[derive(Debug, Clone, Default)]
enum KnownSecrets {
    /// No secrets are known.
    #[default]
    Empty,
    /// Each match is a secret.
    Pattern(Regex),
    /// The pattern of the secrets cannot be compiled, so that any text may be one.
    Uncompilable,
}

impl Masker {
    /// Creates a masker that also knows these secrets. Each is recognised in its JSON and URL
    /// encodings, too.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut forms: Vec<String> = secrets
            .into_iter()
            .filter(|secret| !secret.is_empty())
            .flat_map(|secret| {
                let json = Value::from(secret).to_string();
                let url: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
                [
                    secret.to_owned(),
                    json[1..json.len() - 1].to_owned(),
                    url.replace('+', "%20"),
                    url,
                ]
            })
            .collect();
        // A secret that begins with another one must be tried first.
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        let alternatives: Vec<String> = forms.iter().map(|form| secret_pattern(form)).collect();
        let known_secrets = if alternatives.is_empty() {
            KnownSecrets::Empty
        } else {
            Regex::new(&alternatives.join("|"))
                .map_or(KnownSecrets::Uncompilable, KnownSecrets::Pattern)
        };
        Self {
            known_secrets,
            variables: BTreeSet::new(),
        }
    }

    /// Also masks the values of these variables in texts of the form `NAME=value`.
    #[must_use]
    pub fn with_variables<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.variables.extend(names.into_iter().map(str::to_owned));
        self
    }

    /// Returns the text with its secrets masked.
    #[must_use]
    pub fn mask_text(&self, text: &str) -> String {
        let Some(patterns) = SECRET_PATTERNS.as_ref() else {
            return MASK.to_owned();
        };
        let masked = match &self.known_secrets {
            KnownSecrets::Empty => text.to_owned(),
            KnownSecrets::Pattern(known) => known.replace_all(text, MASK).into_owned(),
            KnownSecrets::Uncompilable => return MASK.to_owned(),
        };
        let mut masked = mask_url_passwords(&masked);
        for (pattern, template) in patterns {
            masked = pattern
                .replace_all(&masked, |captures: &Captures<'_>| {
                    let mut replacement = String::new();
                    captures.expand(template, &mut replacement);
                    replacement
                })
                .into_owned();
        }
        masked
    }

    /// Masks like [`Masker::mask_text`]. If the text is a variable with a secret name, its
    /// complete value is masked.
    fn mask_assignment(&self, text: &str) -> String {
        match text.split_once('=') {
            Some((name, _)) if self.variables.contains(name) => format!("{name}={MASK}"),
            Some((name, _)) if is_secret_name(name) && !name.contains(char::is_whitespace) => {
                format!("{}={MASK}", self.mask_text(name))
            }
            _ => self.mask_text(text),
        }
    }

    /// Masks every string in `value`, and completely if its name is secret.
    pub fn mask_json(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.mask_assignment(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask_json(item)),
            Value::Object(fields) => {
                for (name, field) in fields {
                    match field {
                        Value::String(text) if is_secret_name(name) && !text.is_empty() => {
                            *text = MASK.into();
                        }
                        other => self.mask_json(other),
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Returns whether the value of a variable may be a secret, to be masked wherever it occurs:
/// not a number and not a word that is common in logs.
#[must_use]
pub fn may_be_secret_value(value: &str) -> bool {
    const COMMON_WORDS: [&str; 9] = [
        "true", "false", "none", "trace", "debug", "info", "warn", "warning", "error",
    ];
    let word = value.trim().to_lowercase();
    word.chars().count() > 3
        && !COMMON_WORDS.contains(&word.as_str())
        && word.parse::<f64>().is_err()
}

/// Returns whether the value of a key or variable with this name is likely a secret.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    // Without the pattern, every name is secret.
    SECRET_NAME_REGEX
        .as_ref()
        .is_none_or(|pattern| pattern.is_match(name))
}

/// Returns the text with the password of every URL masked.
#[must_use]
pub fn mask_url_passwords(text: &str) -> String {
    let mut masked = text.to_owned();
    for span in find_url_passwords(text).into_iter().rev() {
        masked.replace_range(span, MASK);
    }
    masked
}

/// Returns the byte ranges of the passwords in the URLs of a text, in their order. A password
/// that is not URL-encoded may contain any character except whitespace and a slash.
#[must_use]
pub fn find_url_passwords(text: &str) -> Vec<Range<usize>> {
    let spans = text.match_indices("://").filter_map(|(start, separator)| {
        let begin = start + separator.len();
        let is_end = |c: char| c.is_whitespace() || c == '/';
        let authority = text[begin..].split(is_end).next()?;
        let (user_info, _) = authority.rsplit_once('@')?;
        let (user, _) = user_info.split_once(':')?;
        Some(begin + user.len() + 1..begin + user_info.len())
    });
    spans.collect()
}

fn secret_pattern(secret: &str) -> String {
    let exact = regex::escape(secret);
    if secret.chars().count() >= MIN_DISTINCTIVE_LENGTH {
        return exact;
    }
    // A word boundary exists only next to a word character.
    let is_word_character = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let begin = if is_word_character(secret.chars().next()) {
        r"\b"
    } else {
        ""
    };
    let end = if is_word_character(secret.chars().last()) {
        r"\b"
    } else {
        ""
    };
    format!("{begin}{exact}{end}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mask_text_masks_only_texts_that_look_like_secrets() {
        let masker = Masker::default();
        let lines = [
            "POSTGRES_PASSWORD=geheim POSTGRES_USER=dm",
            r#""Env": ["KC_DB_PASSWORD=a b", "X=1"]"#,
            r#"{"client_secret": "top \" secret", "realm": "dm"}"#,
            "Authorization: Bearer abc.def",
            r#"curl -H 'authorization: Basic dXNlcjpwYXNz' http://localhost"#,
            "got eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl for jhalpert",
            "connecting to amqp://order:geheim@rabbitmq:5672/%2f",
            "pg_restore --password geheim --jobs 2",
            "Set-Cookie: session=1234; Path=/",
            "access_token=abc&state=1",
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
            "LOG: database system is ready to accept connections",
        ];
        insta::assert_snapshot!(masker.mask_text(&lines.join("\n")), @r#"
        POSTGRES_PASSWORD=*** POSTGRES_USER=dm
        "Env": ["KC_DB_PASSWORD=*** b", "X=1"]
        {"client_secret": ***, "realm": "dm"}
        Authorization: ***
        curl -H 'authorization: ***' http://localhost
        got *** for jhalpert
        connecting to amqp://order:***@rabbitmq:5672/%2f
        pg_restore --password *** --jobs 2
        Set-Cookie: ***
        access_token=***&state=1
        -----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----
        LOG: database system is ready to accept connections
        "#);
    }

    #[test]
    fn all_secret_patterns_compile() {
        assert_eq!(SECRET_PATTERNS.as_ref().map(Vec::len), Some(7));
        assert!(SECRET_NAME_REGEX.is_some());
    }

    #[test]
    fn mask_text_masks_everything_if_the_known_secrets_do_not_compile() {
        let masker = Masker::new(["x".repeat(4 << 20).as_str()]);
        assert!(matches!(masker.known_secrets, KnownSecrets::Uncompilable));
        assert_eq!(masker.mask_text("a harmless line"), MASK);
    }

    #[test]
    fn find_url_passwords_finds_unencoded_passwords() {
        let text = "a = \"http://jim:s3@cret@mirror.example/x\" # https://plain.example y://u@h";
        let passwords: Vec<_> = find_url_passwords(text)
            .into_iter()
            .map(|span| &text[span])
            .collect();
        assert_eq!(passwords, ["s3@cret"]);
        assert_eq!(
            mask_url_passwords("amqp://a:b?c@h, amqp://d:e@h/v"),
            "amqp://a:***@h, amqp://d:***@h/v"
        );
    }

    #[test]
    fn short_secret_is_masked_only_as_a_whole_word() {
        let masker = Masker::new(["dm"]);
        assert_eq!(
            masker.mask_text("login dm:dm as admin"),
            "login ***:*** as admin"
        );
    }

    #[test]
    fn mask_json_masks_by_name_and_by_content() {
        let masker = Masker::new(["spaghetti-western"]);
        let mut value = serde_json::json!({
            "Env": ["KC_DB_PASSWORD=a b", "OTHER=spaghetti-western"],
            "Labels": {"admin-password": "x y", "n": 1},
        });
        masker.mask_json(&mut value);
        assert_eq!(value["Env"][1], "OTHER=***");
        assert_eq!(value["Labels"]["admin-password"], "***");
        assert_eq!(value["Labels"]["n"], 1);
    }

    #[test]
    fn mask_json_masks_registered_variables_of_any_name() {
        let masker = Masker::new(["hunter2"]).with_variables(["LICENSE_KEY"]);
        let mut value = serde_json::json!(["LICENSE_KEY=a b", "X=LICENSE_KEY=1", "Y=is hunter2"]);
        masker.mask_json(&mut value);
        assert_eq!(
            value,
            serde_json::json!(["LICENSE_KEY=***", "X=LICENSE_KEY=1", "Y=is ***"])
        );
        let values = ["hunter2", "0", "60000", "debug", "INFO", "https://x"];
        assert_eq!(
            values.map(may_be_secret_value),
            [true, false, false, false, false, true]
        );
    }

    #[test]
    fn mask_json_masks_the_complete_value_of_an_assignment() {
        let mut value = serde_json::json!(["KC_DB_PASSWORD=a b"]);
        Masker::default().mask_json(&mut value);
        assert_eq!(value[0], "KC_DB_PASSWORD=***");
    }

    proptest! {
        /// A known secret is masked in any context and in any encoding.
        #[test]
        fn mask_text_always_masks_known_secrets(
            secret in "[!-~]{8,24}",
            before in "[ -~]{0,20}",
            after in "[ -~]{0,20}",
        ) {
            let masker = Masker::new([secret.as_str()]);
            let plain = masker.mask_text(&format!("{before}{secret}{after}"));
            prop_assert!(!plain.contains(&secret), "{plain}");
            let json = Value::from(format!("{before}{secret}{after}")).to_string();
            let escaped = Value::from(secret.as_str()).to_string();
            let masked = masker.mask_text(&json);
            prop_assert!(!masked.contains(&escaped[1..escaped.len() - 1]), "{masked}");
        }
    }
}
