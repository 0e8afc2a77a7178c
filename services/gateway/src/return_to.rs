//! The target after a login: always a path of this gateway, whatever the request names.

use std::fmt::Write as _;

/// The target if the request has none, or an invalid one.
const DEFAULT_PATH: &str = "/infinity";

/// The maximum length: paths of the gateway are shorter, and the path is part of the cookie.
const MAX_LENGTH: usize = 1024;

/// A path and query on this gateway, encoded for a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReturnTo(String);

impl ReturnTo {
    /// Uses the requested path, or the default if it is not a path of this gateway. Browsers
    /// take `//host` and `/\host` for other hosts, and skip control characters.
    #[must_use]
    pub(crate) fn new(requested: Option<&str>) -> Self {
        let path = requested
            .filter(|path| is_local_path(path))
            .unwrap_or(DEFAULT_PATH);
        Self(percent_encode_header(path))
    }

    /// Returns the path and query.
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

/// Percent-encodes the bytes that a `Location` header cannot contain.
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

    fn resolve(requested: &str) -> String {
        ReturnTo::new(Some(requested)).0
    }

    #[test]
    fn local_path_is_kept_with_its_query() {
        for path in [
            "/",
            "/portal",
            "/infinity?orderId=ord_9001",
            "/accounting?next=//evil.example",
            "/a//b",
        ] {
            assert_eq!(resolve(path), path);
        }
        assert_eq!(resolve("/portal?name=Zoë x"), "/portal?name=Zo%C3%AB%20x");
    }

    #[test]
    fn target_that_is_not_a_local_path_becomes_the_default() {
        assert_eq!(ReturnTo::new(None).as_str(), "/infinity");
        for requested in [
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
            assert_eq!(resolve(requested), "/infinity", "{requested:?}");
        }
        assert_eq!(resolve(&format!("/{}", "a".repeat(1024))), "/infinity");
    }

    proptest! {
        #[test]
        fn target_never_leaves_the_origin(
            requested in prop_oneof![any::<String>(), "[/\\\\\t\n.:@a ]{1,12}", "/[ -~]{0,40}"]
        ) {
            let path = resolve(&requested);
            prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic()));
            let login = Url::parse("http://localhost:8081/login").unwrap();
            let target = login.join(&path).unwrap();
            prop_assert_eq!(target.origin(), login.origin());
        }
    }
}
