//! The files with Keycloak's secrets: the engine shows environment variables to all its users.
//! Each file has its own escaping of a secret.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::ComponentError;

/// Returns a `keycloak.conf` with these options.
///
/// It is a file of Java properties, and Keycloak replaces expressions in its values: `$$` is
/// a dollar sign, and so is a backslash before one. A backslash is therefore
/// written as the default of a property that does not exist.
pub(super) fn keycloak_conf(options: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in options {
        text.push_str(name);
        text.push('=');
        for c in value.chars() {
            match c {
                '$' => text.push_str(r"\u0024\u0024"),
                '\\' => text.push_str("${dm.none:\\\\}"),
                c if c.is_ascii_alphanumeric() => text.push(c),
                c => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        // Writing to a string cannot fail.
                        let _ = write!(text, "\\u{unit:04x}");
                    }
                }
            }
        }
        text.push('\n');
    }
    text
}

/// Returns a password file for PostgreSQL's clients, with the password of one role.
pub(super) fn pgpass(role: &str, password: &str) -> String {
    let escape = |text: &str| text.replace('\\', r"\\").replace(':', r"\:");
    format!("*:*:*:{}:{}\n", escape(role), escape(password))
}

/// Returns a realm's file with values in place of its placeholders, `${NAME}` or
/// `${NAME:default}`. Other placeholders stay for Keycloak.
///
/// Keycloak would replace them by its variables, and would not escape quotes and backslashes
/// of a value.
///
/// # Errors
/// Returns [`ComponentError::InvalidFile`] if the file is not JSON.
pub(super) fn realm_json(
    file: &[u8],
    values: &[(&str, &str)],
    path: &Path,
) -> Result<String, ComponentError> {
    static PLACEHOLDER: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r#"\$\{([A-Za-z0-9_.]+)(?::[^}"]*)?\}"#).ok());
    let invalid = |reason: String| ComponentError::InvalidFile {
        path: path.to_owned(),
        reason,
    };
    let text = std::str::from_utf8(file).map_err(|error| invalid(error.to_string()))?;
    serde_json::from_str::<serde::de::IgnoredAny>(text)
        .map_err(|error| invalid(error.to_string()))?;
    let Some(placeholder) = PLACEHOLDER.as_ref() else {
        return Ok(text.to_owned());
    };
    let filled = placeholder.replace_all(text, |captures: &Captures<'_>| {
        let value = values.iter().find(|(name, _)| *name == &captures[1]);
        value.map_or_else(
            || captures[0].to_owned(),
            |(_, value)| {
                let json = serde_json::Value::from(*value).to_string();
                // Without its quotes, and with an escaped dollar sign, which Keycloak ignores.
                json[1..json.len() - 1].replace('$', r"\u0024")
            },
        )
    });
    Ok(filled.into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// Decodes a line of properties as Java does.
    fn property(line: &str) -> String {
        let mut units = Vec::new();
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            let c = match (c, c == '\\') {
                (_, true) => match chars.next().unwrap() {
                    'u' => {
                        let digits: String = chars.by_ref().take(4).collect();
                        units.push(u16::from_str_radix(&digits, 16).unwrap());
                        continue;
                    }
                    other => other,
                },
                (c, false) => c,
            };
            units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
        }
        String::from_utf16(&units).unwrap()
    }

    /// Expands a value as Keycloak's configuration does: expressions have their defaults here.
    fn expanded(value: &str) -> String {
        let value = value.replace(r"\$", "$$");
        let mut text = String::new();
        let mut rest = value.as_str();
        while let Some(c) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("$$") {
                text.push('$');
                rest = after;
            } else if let Some(after) = rest.strip_prefix("${") {
                let (expression, after) = after.split_once('}').unwrap();
                text.push_str(expression.split_once(':').unwrap().1);
                rest = after;
            } else {
                text.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
        text
    }

    #[test]
    fn keycloak_conf_escapes_properties_and_expressions() {
        assert_eq!(
            keycloak_conf(&[("user", "admin"), ("password", r#" a$b\$c"#)]),
            "user=admin\n\
             password=\\u0020a\\u0024\\u0024b${dm.none:\\\\}\\u0024\\u0024c\n"
        );
        assert_eq!(pgpass("keycloak", r"a:b\"), "*:*:*:keycloak:a\\:b\\\\\n");
    }

    #[test]
    fn realm_json_keeps_other_placeholders() {
        let file = br#"{"a": "${DM_A:x}", "b": "${DM_B:ldap://x:389}", "c": "${DM_A}"}"#;
        let filled = realm_json(file, &[("DM_A", "1")], Path::new("r.json")).unwrap();
        assert_eq!(
            filled,
            r#"{"a": "1", "b": "${DM_B:ldap://x:389}", "c": "1"}"#
        );
        let error = realm_json(b"{\"a\": 1,}", &[], Path::new("r.json")).unwrap_err();
        assert!(
            error.to_string().starts_with("could not use r.json: "),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn any_value_round_trips_through_keycloak_conf(value in r#"[ -~$\\{}:ä€漢🔑]{1,40}"#) {
            let text = keycloak_conf(&[("password", &value)]);
            let (_, line) = text.trim_end_matches('\n').split_once('=').unwrap();
            prop_assert!(!line.contains([' ', '\n', '#']), "{}", line);
            prop_assert_eq!(expanded(&property(line)), value);
        }

        #[test]
        fn any_value_round_trips_through_realm_json(value in r#"[ -~$\\{}"ä€漢🔑]{1,40}"#) {
            let file = br#"{"secret": "${DM_SECRET:default}"}"#;
            let filled = realm_json(file, &[("DM_SECRET", &value)], Path::new("r.json")).unwrap();
            prop_assert!(!filled.contains('$'), "{}", filled);
            let read: Value = serde_json::from_str(&filled).unwrap();
            prop_assert_eq!(read["secret"].as_str(), Some(value.as_str()));
        }
    }
}
