//! Names and texts as SQL has them.

/// Settings whose value is a list of names, quoted as it stands
/// (`GUC_LIST_QUOTE` in the server's source).
const LIST_SETTINGS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// A quoted identifier.
pub(super) fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A quoted text, whatever `standard_conforming_strings` is.
pub(super) fn quote_literal(text: &str) -> String {
    if text.contains('\\') {
        let text = text.replace('\\', "\\\\").replace('\'', "''");
        format!("E'{text}'")
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// The end of an `ALTER` that makes a setting of the catalogue's `name=value`.
pub(super) fn set_clause(pair: &str) -> Option<String> {
    let (name, value) = pair.split_once('=')?;
    let value = if LIST_SETTINGS.contains(&name) && !value.is_empty() {
        value.to_owned()
    } else {
        quote_literal(value)
    };
    Some(format!("SET {} TO {value}", quote_identifier(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_quotes() {
        assert_eq!(quote_identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(quote_literal("a'b"), "'a''b'");
        assert_eq!(quote_literal("a\\'b"), "E'a\\\\''b'");
    }

    #[test]
    fn a_setting_is_made_as_pg_dump_makes_it() {
        let made = |pair| set_clause(pair).unwrap();
        assert_eq!(made("work_mem=64MB"), "SET \"work_mem\" TO '64MB'");
        assert_eq!(made("my.key=a=b"), "SET \"my.key\" TO 'a=b'");
        assert_eq!(
            made("search_path=\"$user\", public"),
            "SET \"search_path\" TO \"$user\", public"
        );
        assert_eq!(made("search_path="), "SET \"search_path\" TO ''");
        assert_eq!(set_clause("nothing"), None);
    }
}
