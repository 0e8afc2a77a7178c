//! Quoting of SQL identifiers and literals.

/// Settings whose value is a list of names that are already quoted (`GUC_LIST_QUOTE` in the source
/// of PostgreSQL).
const LIST_SETTINGS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// Returns a quoted identifier.
pub(super) fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns a quoted literal that is correct for any value of `standard_conforming_strings`.
pub(super) fn quote_literal(text: &str) -> String {
    if text.contains('\\') {
        let text = text.replace('\\', "\\\\").replace('\'', "''");
        format!("E'{text}'")
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// Returns the `SET` clause of an `ALTER` for a setting `name=value` of the catalogue.
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
    fn quotes_and_backslashes_are_escaped() {
        assert_eq!(quote_identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(quote_literal("a'b"), "'a''b'");
        assert_eq!(quote_literal("a\\'b"), "E'a\\\\''b'");
    }

    #[test]
    fn set_clause_equals_the_output_of_pg_dump() {
        let clause = |pair| set_clause(pair).unwrap();
        assert_eq!(clause("work_mem=64MB"), "SET \"work_mem\" TO '64MB'");
        assert_eq!(clause("my.key=a=b"), "SET \"my.key\" TO 'a=b'");
        assert_eq!(
            clause("search_path=\"$user\", public"),
            "SET \"search_path\" TO \"$user\", public"
        );
        assert_eq!(clause("search_path="), "SET \"search_path\" TO ''");
        assert_eq!(set_clause("nothing"), None);
    }
}
