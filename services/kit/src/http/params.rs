//! Ids in paths, and query strings.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use super::error::ApiError;

/// What can't be in a text of the database becomes a sign that is in no id.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The one id in a path. Any text: one that is no id isn't found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| ApiError {
                cause: None,
                ..ApiError::invalid(format!("Path is not usable: {}", error.status()))
            })?;
        Ok(Self(storable(&text)))
    }
}

/// The parameters of a query string. Of a repeated one the first counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// The parameters of a query string.
    #[must_use]
    pub fn parse(query: &str) -> Self {
        Self(
            url::form_urlencoded::parse(query.as_bytes())
                .map(|(name, value)| (name.into_owned(), storable(&value)))
                .collect(),
        )
    }

    /// A parameter, trimmed; `None` where it is missing or blank.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }
}

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_is_missing_and_the_first_counts() {
        let params = Params::parse("status=%20&clientId=+client_1+&clientId=x&odd=%00");
        assert_eq!(params.get("status"), None);
        assert_eq!(params.get("clientId"), Some("client_1"));
        assert_eq!(params.get("odd"), Some("\u{fffd}"));
        assert_eq!(params.get("none"), None);
    }
}
