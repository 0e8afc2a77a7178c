//! Requests to the realm on behalf of a user.

use std::fmt;
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use serde_json::Value;
use url::Url;

use crate::downstream::error_chain;

/// Timeout of a request. Requests to the gateway may wait for it.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Sends a request to the realm under the host name of the issuer: Keycloak refuses tokens that it
/// has issued under another one. Returns the status and the body.
pub(super) async fn send(
    request: reqwest::RequestBuilder,
    issuer: &str,
) -> Result<(StatusCode, Vec<u8>), String> {
    let request = match host_of(issuer) {
        Some(host) => request.header(header::HOST, host),
        None => request,
    };
    let unreachable = |error: reqwest::Error| error_chain(&error);
    let response = request.timeout(TIMEOUT).send().await.map_err(unreachable)?;
    let status = response.status();
    let body = response.bytes().await.map_err(unreachable)?;
    Ok((status, body.into()))
}

/// Returns the host name and port of an issuer, for the header `Host`.
fn host_of(issuer: &str) -> Option<HeaderValue> {
    let url = Url::parse(issuer).ok()?;
    let host = url.host_str()?;
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    HeaderValue::from_str(&authority).ok()
}

/// An OAuth error.
pub(super) struct EndpointError {
    /// The error code.
    pub(super) error: String,
    /// The description.
    pub(super) error_description: String,
}

impl EndpointError {
    /// Parses a body. Missing fields are empty.
    pub(super) fn parse(body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        Self {
            error: text("error"),
            error_description: text("error_description"),
        }
    }
}

impl fmt::Display for EndpointError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.error, self.error_description)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_that_of_the_issuer() {
        for (issuer, host) in [
            ("http://localhost:8080/realms/x", Some("localhost:8080")),
            ("https://sso.example/realms/x", Some("sso.example")),
            ("http://[::1]:8080/realms/x", Some("[::1]:8080")),
            ("nonsense", None),
        ] {
            let found = host_of(issuer);
            assert_eq!(found.as_ref().map(|host| host.to_str().unwrap()), host);
        }
    }
}
