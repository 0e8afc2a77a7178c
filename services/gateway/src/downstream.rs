//! Client of the services behind the gateway.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use dm_contracts::headers;
use dm_kit::Trace;
use dm_kit::http::{GATEWAY_SECRET, GatewaySecret};
use dm_kit::trace::{REQUEST_ID, TRACE_ID, TRACEPARENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use thiserror::Error;
use url::Url;

pub(crate) use crate::services::DownstreamService;
use crate::settings::BaseUrl;
use crate::user::User;

/// Timeout for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for which an idle connection stays open for the next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Timeout of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// The name of the calling user.
const USER_ID: HeaderName = HeaderName::from_static(headers::USER_ID);
/// The display name of the user, for the profile.
const DISPLAY_NAME: HeaderName = HeaderName::from_static(headers::USER_DISPLAY_NAME);
/// The key that identifies repetitions of one request.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static(headers::IDEMPOTENCY_KEY);

/// Builds the client for all servers behind the gateway: plain HTTP, no proxy, redirects
/// are not followed.
///
/// # Errors
/// Returns [`reqwest::Error`] if the client cannot be initialised.
pub(crate) fn build_client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .tls_certs_only([])
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        // A service ends a connection that has been idle for 20 s.
        .pool_idle_timeout(IDLE_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .build()
}

/// A request to a service.
#[derive(Debug)]
pub(crate) struct ServiceRequest {
    /// The HTTP method.
    pub method: Method,
    /// The URL.
    pub url: Url,
    /// All headers.
    pub headers: HeaderMap,
    /// The body, unchanged from the client.
    pub body: Bytes,
}

/// A response with its complete body.
#[derive(Debug)]
pub(crate) struct ServiceResponse {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
}

/// A service that cannot be reached.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct UnreachableError(String);

/// Sends a request to a service and returns the response before its body is read.
///
/// # Errors
/// Returns [`UnreachableError`] if the service does not respond before the timeout.
pub(crate) async fn send_streaming(
    client: &reqwest::Client,
    request: ServiceRequest,
) -> Result<reqwest::Response, UnreachableError> {
    client
        .request(request.method, request.url)
        .headers(request.headers)
        .body(request.body)
        .send()
        .await
        .map_err(unreachable_error)
}

/// Sends a request to a service and reads the complete response.
///
/// # Errors
/// Returns [`UnreachableError`] if the service does not respond before the timeout.
pub(crate) async fn send(
    client: &reqwest::Client,
    request: ServiceRequest,
) -> Result<ServiceResponse, UnreachableError> {
    let response = send_streaming(client, request).await?;
    let status = response.status();
    let body = response.bytes().await.map_err(unreachable_error)?;
    Ok(ServiceResponse { status, body })
}

fn unreachable_error(error: reqwest::Error) -> UnreachableError {
    UnreachableError(error_chain(&error))
}

/// Returns the message of an error followed by those of its sources.
pub(crate) fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(source) = inner {
        text = format!("{text}: {source}");
        inner = source.source();
    }
    text
}

/// Returns the headers of a request for `user`, or `None` if a name is not a valid header value.
#[must_use]
pub(crate) fn service_headers(
    secret: &GatewaySecret,
    service: DownstreamService,
    user: &User,
    trace: &Trace,
) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(8);
    let mut secret = HeaderValue::from_str(secret.expose()).ok()?;
    secret.set_sensitive(true);
    headers.insert(GATEWAY_SECRET, secret);
    headers.insert(USER_ID, HeaderValue::from_bytes(user.id.as_bytes()).ok()?);
    if service == DownstreamService::Profile {
        let name = HeaderValue::from_bytes(user.display_name.as_bytes()).ok()?;
        headers.insert(DISPLAY_NAME, name);
    }
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    trace.write_headers(&mut headers);
    debug_assert!(
        [TRACE_ID, REQUEST_ID, TRACEPARENT]
            .iter()
            .all(|name| headers.contains_key(name))
    );
    Some(headers)
}

/// Returns the URL of the service for an API path, with the encoding of the segments
/// unchanged, or `None` if the path is not an API path or has a dot segment.
#[must_use]
pub(crate) fn service_url(base: &BaseUrl, path: &str, query: Option<&str>) -> Option<Url> {
    let rest = path
        .strip_prefix("/api/v1/warehouse/")
        .or_else(|| path.strip_prefix("/api/v1/"))?;
    if rest.split('/').any(is_dot_segment) {
        return None;
    }
    // A URL parser takes a backslash for a slash.
    let rest = rest.replace('\\', "%5C");
    let mut text = format!("{}/internal/{rest}", base.as_str());
    if let Some(query) = query {
        text.push('?');
        text.push_str(query);
    }
    Url::parse(&text).ok()
}

/// Returns whether a URL parser takes a segment for `.` or `..`.
fn is_dot_segment(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".."
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret() -> GatewaySecret {
        "0123456789abcdef".into()
    }

    fn url_of(path: &str, query: Option<&str>) -> Option<String> {
        let base = "http://order:8093".parse().unwrap();
        service_url(&base, path, query).map(|url| url.to_string())
    }

    #[test]
    fn api_path_maps_to_the_internal_path_of_the_service() {
        for (path, query, url) in [
            (
                "/api/v1/orders",
                Some("clientId=client%201&x=+"),
                "http://order:8093/internal/orders?clientId=client%201&x=+",
            ),
            (
                "/api/v1/orders/ord_1/timeline",
                None,
                "http://order:8093/internal/orders/ord_1/timeline",
            ),
            (
                "/api/v1/warehouse/shipments/ship_1/scan",
                None,
                "http://order:8093/internal/shipments/ship_1/scan",
            ),
        ] {
            assert_eq!(url_of(path, query).as_deref(), Some(url));
        }
    }

    #[test]
    fn encoded_id_is_unchanged_and_dot_segment_is_rejected() {
        for id in [
            "a%2Fb",
            "%2e%2e%2fprofile",
            "a%20b",
            "%00",
            "...",
            "a%3Fb%23c",
        ] {
            assert_eq!(
                url_of(&format!("/api/v1/orders/{id}"), None),
                Some(format!("http://order:8093/internal/orders/{id}"))
            );
        }
        assert_eq!(
            url_of("/api/v1/orders/..\\..\\x", None).as_deref(),
            Some("http://order:8093/internal/orders/..%5C..%5Cx")
        );
        for id in ["..", ".", "%2e%2E", ".%2e", "%2E"] {
            assert_eq!(url_of(&format!("/api/v1/orders/{id}/timeline"), None), None);
        }
    }

    #[test]
    fn service_headers_are_exactly_those_of_the_contract() {
        let user = User {
            id: "jhalpert".into(),
            display_name: "Jim Hälpert".into(),
            roles: vec!["manager".into()],
            groups: vec!["/sales".into()],
        };
        let trace = Trace::new_root();
        let names = |service| {
            let headers = service_headers(&secret(), service, &user, &trace).unwrap();
            let mut names: Vec<_> = headers.keys().map(ToString::to_string).collect();
            names.sort();
            names
        };
        let always = ["content-type", "traceparent", "x-request-id", "x-trace-id"];
        assert_eq!(
            names(DownstreamService::Order),
            [
                &always[..2],
                &[
                    "x-gateway-secret",
                    "x-request-id",
                    "x-trace-id",
                    "x-user-id"
                ]
            ]
            .concat()
        );
        assert_eq!(
            names(DownstreamService::Profile),
            [
                &always[..2],
                &[
                    "x-gateway-secret",
                    "x-request-id",
                    "x-trace-id",
                    "x-user-display-name",
                    "x-user-id"
                ]
            ]
            .concat()
        );
    }

    #[test]
    fn user_id_with_a_line_break_gives_no_headers() {
        let user = User {
            id: "jim\r\nx-user-id: mscott".into(),
            display_name: String::new(),
            roles: Vec::new(),
            groups: Vec::new(),
        };
        assert!(
            service_headers(
                &secret(),
                DownstreamService::Order,
                &user,
                &Trace::new_root()
            )
            .is_none()
        );
    }

    proptest! {
        #[test]
        fn id_always_stays_one_path_segment(id in "[!$-.0->@-~]{1,20}") {
            if let Some(url) = url_of(&format!("/api/v1/orders/{id}/timeline"), None) {
                let url = Url::parse(&url).unwrap();
                let segments: Vec<_> = url.path_segments().unwrap().collect();
                prop_assert_eq!(segments.len(), 4);
                prop_assert_eq!(segments[1], "orders");
                prop_assert_eq!(segments[3], "timeline");
            }
        }
    }
}
