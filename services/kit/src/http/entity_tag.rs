//! Entity tags in requests.

use http::{HeaderMap, header};

/// Returns whether `If-None-Match` of a request names an entity tag, given in quotes, or is `*`.
/// Weak tags match, as RFC 9110, section 13.1.2, requires. The tag must not contain a comma.
#[must_use]
pub fn has_entity_tag(request: &HeaderMap, tag: &str) -> bool {
    request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn entity_tag_is_known_if_a_header_lists_it() {
        for (values, expected) in [
            (&["\"a\""][..], true),
            (&["\"b\", \"a\""], true),
            (&["W/\"a\""], true),
            (&["\"b\"", "\"a\""], true),
            (&["*"], true),
            (&["\"b\""], false),
            (&["a"], false),
            (&[""], false),
            (&[], false),
        ] {
            let headers: HeaderMap = values
                .iter()
                .map(|value| (header::IF_NONE_MATCH, HeaderValue::from_static(value)))
                .collect();
            assert_eq!(has_entity_tag(&headers, "\"a\""), expected, "{values:?}");
        }
    }
}
