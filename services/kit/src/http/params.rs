//! Extractors of ids in paths and of query strings.

use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use super::error::ApiError;

/// A character that no id contains.
const REPLACEMENT: &str = "\u{fffd}";

/// Replaces U+0000, which a text in PostgreSQL cannot contain, with a character that no id
/// contains.
fn replace_nul(text: &str) -> String {
    text.replace('\0', REPLACEMENT)
}

/// The only id in a path. Any text is accepted: a resource with an invalid id is not found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathId(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(text)) => Ok(Self(replace_nul(&text))),
            Err(PathRejection::FailedToDeserializePathParams(error))
                if matches!(error.kind(), ErrorKind::InvalidUtf8InPathParam { .. }) =>
            {
                Ok(Self(REPLACEMENT.to_owned()))
            }
            Err(error) => Err(ApiError::internal(error)),
        }
    }
}

/// The parameters of a query string. If a parameter is repeated, the first one counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryParams(Vec<(String, String)>);

impl QueryParams {
    /// Parses a query string.
    #[must_use]
    pub fn parse(query: &str) -> Self {
        Self(
            url::form_urlencoded::parse(query.as_bytes())
                .map(|(name, value)| (name.into_owned(), replace_nul(&value)))
                .collect(),
        )
    }

    /// Returns a parameter, trimmed, or `None` if it is missing or blank.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_exact(name)
            .map(str::trim)
            .filter(|value| !value.is_empty())
    }

    /// Returns a parameter as it was sent, or `None` if it is missing.
    #[must_use]
    pub fn get_exact(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Parses a number that is written as in JSON: without a sign, leading zeros and white space.
pub(super) fn parse_number(text: &str) -> Option<u32> {
    let is_written_as_json =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_written_as_json)
}

impl<S: Sync> FromRequestParts<S> for QueryParams {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn any_path_segment_is_accepted_as_an_id() {
        use axum::body::Body;
        use axum::routing::get;
        use http::Request;
        use tower::ServiceExt as _;

        let app = axum::Router::new().route("/{id}", get(|PathId(id): PathId| async move { id }));
        for (path, id) in [
            ("/ord_9001", "ord_9001"),
            ("/a%2Fb", "a/b"),
            ("/x'%20OR%20'1", "x' OR '1"),
            ("/a%00b", "a\u{fffd}b"),
            ("/%ff", "\u{fffd}"),
        ] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            let bytes = axum::body::to_bytes(response.into_body(), 1000)
                .await
                .unwrap();
            assert_eq!(String::from_utf8(bytes.into()).unwrap(), id, "{path}");
        }
    }

    #[test]
    fn blank_parameter_is_missing_and_first_of_repeated_ones_counts() {
        let params = QueryParams::parse("status=%20&clientId=+client_1+&clientId=x&odd=%00");
        assert_eq!(params.get("status"), None);
        assert_eq!(params.get("clientId"), Some("client_1"));
        assert_eq!(params.get("odd"), Some("\u{fffd}"));
        assert_eq!(params.get("none"), None);
        assert_eq!(params.get_exact("status"), Some(" "));
        assert_eq!(params.get_exact("clientId"), Some(" client_1 "));
        assert_eq!(params.get_exact("none"), None);
    }

    #[test]
    fn number_is_written_as_in_json() {
        for (text, number) in [("0", 0), ("7", 7), ("4294967295", u32::MAX)] {
            assert_eq!(parse_number(text), Some(number), "{text}");
        }
        for text in [
            "",
            " ",
            "+7",
            "-7",
            "07",
            "00",
            " 7",
            "7 ",
            "7.0",
            "٧",
            "4294967296",
        ] {
            assert_eq!(parse_number(text), None, "{text}");
        }
    }
}
