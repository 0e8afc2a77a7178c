//! Where a visitor goes on after the login: a path of this gateway, whatever was
//! asked for.

use std::fmt::Write as _;

/// Where they go who didn't say, or said something else.
const DEFAULT_PATH: &str = "/infinity";

/// Longer ones are no paths of ours; and logins that were begun take up memory.
const MAX_LENGTH: usize = 1024;

/// A path and query on this gateway, fit for a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReturnTo(String);

impl ReturnTo {
    /// What was asked for, or the default where that isn't a path here. Browsers
    /// take `//host` and `/\host` for other hosts, and skip control characters.
    #[must_use]
    pub(crate) fn new(asked: Option<&str>) -> Self {
        let path = asked
            .filter(|path| is_local_path(path))
            .unwrap_or(DEFAULT_PATH);
        Self(percent_encode_header(path))
    }

    /// The path and query.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_local_path(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && !path.starts_with("/\\")
        && path.len() <= MAX_LENGTH
        && !path.chars().any(char::is_control)
}

/// What can't stand in a `Location` header, percent-encoded; the rest as it is.
#[must_use]
pub(crate) fn percent_encode_header(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() {
            safe.push(char::from(byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(safe, "%{byte:02X}");
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    fn goes_to(asked: &str) -> String {
        ReturnTo::new(Some(asked)).0
    }

    #[test]
    fn paths_here_are_kept_with_their_query() {
        for path in [
            "/",
            "/portal",
            "/infinity?orderId=ord_9001",
            "/accounting?next=//evil.example",
            "/a//b",
        ] {
            assert_eq!(goes_to(path), path);
        }
        assert_eq!(goes_to("/portal?name=Zoë x"), "/portal?name=Zo%C3%AB%20x");
    }

    #[test]
    fn all_else_is_the_default() {
        assert_eq!(ReturnTo::new(None).as_str(), "/infinity");
        for asked in [
            "",
            "portal",
            "http://evil.example/",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "/a\r\nSet-Cookie: x=y",
            "/\u{0}",
            "/\u{85}x",
            "javascript:alert(1)",
        ] {
            assert_eq!(goes_to(asked), "/infinity", "{asked:?}");
        }
        assert_eq!(goes_to(&format!("/{}", "a".repeat(1024))), "/infinity");
    }

    proptest! {
        #[test]
        fn whatever_is_asked_for_the_visitor_stays_here(
            asked in prop_oneof![any::<String>(), "[/\\\\\t\n.:@a ]{1,12}", "/[ -~]{0,40}"]
        ) {
            let path = goes_to(&asked);
            prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic()));
            let here = Url::parse("http://localhost:8081/login").unwrap();
            let there = here.join(&path).unwrap();
            prop_assert_eq!(there.origin(), here.origin());
        }
    }
}
