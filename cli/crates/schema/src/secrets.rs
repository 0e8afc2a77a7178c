//! Secrets that are masked in snapshots: passwords of foreign servers and subscriptions.

use std::sync::LazyLock;

use dm_core::mask::{MASK, is_secret_name};
use regex::Regex;

use super::sql::{self, TokenKind};

/// Matches a password in a connection string of either form.
static CONNECTION_PASSWORD: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)((?:ssl)?passw(?:or)?d\s*=\s*)(?:'(?:[^'\\]|\\.)*'|[^\s&]+)|(://[^:/?#@\s]*:)[^@\s]+@").ok()
});

/// Returns whether statements of this kind may contain secrets.
pub(super) fn may_contain_secrets(kind: &str) -> bool {
    matches!(
        kind,
        "USER MAPPING"
            | "SERVER"
            | "FOREIGN DATA WRAPPER"
            | "FOREIGN TABLE"
            | "SUBSCRIPTION"
            | "DATABASE PROPERTIES"
    )
}

/// Masks the secrets of a statement with `***`. A changed password is therefore not a difference.
pub(super) fn mask_secrets(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    // The name before a value: `password 'x'`, `SET "app.token" TO 'x'`.
    let mut name = String::new();
    for token in sql::tokenize(text) {
        if token.kind != TokenKind::StringLiteral {
            masked.push_str(token.text);
            let is_between =
                token.is_blank() || token.is_keyword("TO") || token.is_punctuation('=');
            if !is_between {
                name = token.identifier();
            }
            continue;
        }
        // Options of foreign servers may name any secret a key.
        if is_secret_name(&name) || name.to_ascii_lowercase().contains("key") {
            masked.push_str(&format!("'{MASK}'"));
        } else if name.eq_ignore_ascii_case("CONNECTION") {
            masked.push_str(&mask_connection_string(token.text));
        } else {
            masked.push_str(token.text);
        }
        name.clear();
    }
    masked
}

/// Masks the password of a connection string in an SQL literal.
fn mask_connection_string(literal: &str) -> String {
    let inner = literal.trim_start_matches(['e', 'E']).trim_matches('\'');
    let unescaped = inner.replace("''", "'");
    let masked = CONNECTION_PASSWORD.as_ref().map_or_else(
        || MASK.into(),
        |pattern| {
            pattern.replace_all(&unescaped, |captures: &regex::Captures<'_>| {
                match (captures.get(1), captures.get(2)) {
                    (Some(name), _) => format!("{}{MASK}", name.as_str()),
                    (_, Some(user)) => format!("{}{MASK}@", user.as_str()),
                    _ => MASK.to_owned(),
                }
            })
        },
    );
    format!("'{}'", masked.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mask_secrets_masks_passwords_and_keeps_other_text() {
        for (text, expected) in [
            (
                "CREATE USER MAPPING FOR a SERVER s OPTIONS (\n    password 'it''s;secret',\n    \"user\" 'u'\n);",
                "CREATE USER MAPPING FOR a SERVER s OPTIONS (\n    password '***',\n    \"user\" 'u'\n);",
            ),
            (
                "CREATE SUBSCRIPTION s CONNECTION 'host=h password=geheim dbname=d' PUBLICATION p WITH (slot_name = 's');",
                "CREATE SUBSCRIPTION s CONNECTION 'host=h password=*** dbname=d' PUBLICATION p WITH (slot_name = 's');",
            ),
            (
                "CREATE SUBSCRIPTION s CONNECTION 'host=h password=''ge heim'' dbname=d' PUBLICATION p;",
                "CREATE SUBSCRIPTION s CONNECTION 'host=h password=*** dbname=d' PUBLICATION p;",
            ),
            (
                "CREATE SUBSCRIPTION s CONNECTION 'postgresql://u:geheim@h/d' PUBLICATION p;",
                "CREATE SUBSCRIPTION s CONNECTION 'postgresql://u:***@h/d' PUBLICATION p;",
            ),
            (
                "ALTER DATABASE d SET \"app.jwt_secret\" TO 'geheim';\nALTER DATABASE d SET \"TimeZone\" TO 'UTC';",
                "ALTER DATABASE d SET \"app.jwt_secret\" TO '***';\nALTER DATABASE d SET \"TimeZone\" TO 'UTC';",
            ),
        ] {
            assert_eq!(mask_secrets(text), expected);
        }
    }
}
