//! Access control for every request, whatever its route.
//!
//! A service trusts the user id in a header of the gateway, so only the gateway may call
//! it. The gateway presents a secret that it shares with the services of its instance.
//! A request must also name a host of this service: in a DNS-rebinding attack, a page's
//! request names the host of that page.

use std::fmt;
use std::str::FromStr as _;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use dm_contracts::headers;
use http::uri::Authority;
use http::{HeaderName, StatusCode, header};
use subtle::ConstantTimeEq as _;

use super::error::ApiError;
use crate::environment::Environment;

/// The header with the secret of the gateway.
pub const GATEWAY_SECRET: HeaderName = HeaderName::from_static(headers::GATEWAY_SECRET);

/// Host names of this machine, which every service accepts.
const LOCAL_HOSTS: [&str; 4] = ["localhost", "127.0.0.1", "[::1]", "host.docker.internal"];

/// Paths without data of users: health, metrics, API description.
const PUBLIC_PATHS: [&str; 9] = [
    "/health/live",
    "/health/ready",
    "/actuator/health",
    "/actuator/health/liveness",
    "/actuator/health/readiness",
    "/metrics",
    "/actuator/prometheus",
    "/v3/api-docs",
    "/swagger-ui.html",
];

/// Minimum length of a secret, in bytes.
const MIN_SECRET_LENGTH: usize = 16;

/// The secret that the gateway and the services of an instance share.
#[derive(Clone)]
pub struct GatewaySecret(Arc<str>);

impl fmt::Debug for GatewaySecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("GatewaySecret(…)")
    }
}

impl From<&str> for GatewaySecret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl GatewaySecret {
    /// Reads `GATEWAY_SECRET`, or the file that `GATEWAY_SECRET_FILE` names. Errors are reported
    /// by [`Environment::check`].
    pub fn from_env(environment: &mut Environment) -> Self {
        let secret = environment.secret("GATEWAY_SECRET");
        let text = secret.trim();
        let is_header_value = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !text.is_empty() && (text.len() < MIN_SECRET_LENGTH || !is_header_value) {
            environment.add_error(format!(
                "GATEWAY_SECRET needs at least {MIN_SECRET_LENGTH} visible ASCII characters"
            ));
        }
        Self(text.into())
    }

    /// Returns the secret as text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns whether a request presents the secret. The comparison takes constant time.
    fn is_presented_by(&self, request: &Request) -> bool {
        let presented = request.headers().get(GATEWAY_SECRET);
        // An empty secret, of a file that could not be read, grants no access.
        !self.0.is_empty()
            && presented
                .is_some_and(|presented| presented.as_bytes().ct_eq(self.0.as_bytes()).into())
    }
}

/// The allowed hosts and the secret of a service.
#[derive(Debug, Clone)]
pub struct AccessGuard {
    hosts: Arc<[String]>,
    secret: Option<GatewaySecret>,
}

impl AccessGuard {
    /// Returns the guard of a service, e.g. of `order-service`, whose host in a stack is `order`.
    /// `ALLOWED_HOSTS` adds host names.
    pub fn from_env(
        environment: &mut Environment,
        service: &str,
        secret: Option<GatewaySecret>,
    ) -> Self {
        let host = service.strip_suffix("-service").unwrap_or(service);
        let hosts = LOCAL_HOSTS
            .into_iter()
            .chain([host])
            .map(str::to_owned)
            .chain(environment.list("ALLOWED_HOSTS", &[]))
            .map(|host| host.to_ascii_lowercase())
            .collect();
        Self { hosts, secret }
    }

    /// Returns whether requests need the secret of the gateway.
    pub(crate) const fn requires_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// Returns whether all host names of a request are allowed.
    fn is_host_allowed(&self, request: &Request) -> bool {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return false;
        };
        let is_allowed = host.to_str().is_ok_and(|host| self.allows_host(host));
        let absolute = request.uri().authority();
        is_allowed && absolute.is_none_or(|authority| self.allows_host(authority.as_str()))
    }

    fn allows_host(&self, authority: &str) -> bool {
        Authority::from_str(authority).is_ok_and(|authority| {
            let host = authority.host().to_ascii_lowercase();
            !authority.as_str().contains('@') && self.hosts.contains(&host)
        })
    }
}

/// Rejects requests for other hosts, and requests without the secret to paths that need it.
pub(super) async fn check_access(
    State(guard): State<AccessGuard>,
    request: Request,
    next: Next,
) -> Response {
    if !guard.is_host_allowed(&request) {
        return ApiError::new(
            StatusCode::MISDIRECTED_REQUEST,
            "HOST_NOT_ALLOWED",
            "This service does not answer to that host name",
        )
        .into_response();
    }
    let is_public = PUBLIC_PATHS.contains(&request.uri().path());
    match &guard.secret {
        Some(secret) if !is_public && !secret.is_presented_by(&request) => {
            ApiError::unauthenticated("Only the gateway may call this service").into_response()
        }
        _ => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use proptest::prelude::*;
    use tower::ServiceExt as _;

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn guard() -> AccessGuard {
        let mut environment: Environment =
            [("ALLOWED_HOSTS".to_owned(), "Stack.example, ci".to_owned())]
                .into_iter()
                .collect();
        let secret = Some(GatewaySecret(SECRET.into()));
        AccessGuard::from_env(&mut environment, "order-service", secret)
    }

    async fn status(path: &str, headers: &[(&str, &str)]) -> u16 {
        let app = Router::new()
            .route("/internal/orders", get(|| async { "orders" }))
            .route("/health/ready", get(|| async { "UP" }))
            .layer(from_fn_with_state(guard(), check_access));
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        app.oneshot(request).await.unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn request_without_the_secret_is_unauthenticated() {
        let host = ("host", "127.0.0.1:8093");
        let orders = "/internal/orders";
        assert_eq!(status(orders, &[host]).await, 401);
        for wrong in ["", "x", &SECRET[1..], &format!("{SECRET}0")] {
            assert_eq!(
                status(orders, &[host, ("x-gateway-secret", wrong)]).await,
                401
            );
        }
        assert_eq!(
            status(orders, &[host, ("x-gateway-secret", SECRET)]).await,
            200
        );
        // Public paths need no secret; unknown paths do.
        assert_eq!(status("/health/ready", &[host]).await, 200);
        for path in ["/health/ready/", "/health/../internal/orders", "/nothing"] {
            assert_eq!(status(path, &[host]).await, 401, "{path}");
        }
    }

    #[tokio::test]
    async fn request_for_another_host_is_misdirected() {
        let secret = ("x-gateway-secret", SECRET);
        for host in [
            "localhost",
            "LocalHost:1",
            "127.0.0.1:8093",
            "[::1]:8093",
            "order:8093",
            "host.docker.internal:8093",
            "stack.example",
            "CI:80",
        ] {
            let allowed = status("/internal/orders", &[("host", host), secret]).await;
            assert_eq!(allowed, 200, "{host}");
        }
        for host in [
            "evil.example:8093",
            "localhost.evil.example",
            "evil@localhost",
            "sales:8092",
            "127.0.0.2",
            "0.0.0.0",
            "localhost.",
            "",
        ] {
            for path in ["/internal/orders", "/health/ready"] {
                assert_eq!(status(path, &[("host", host), secret]).await, 421, "{host}");
            }
        }
        let twice = [("host", "localhost"), ("host", "evil.example"), secret];
        assert_eq!(status("/internal/orders", &twice).await, 421);
        assert_eq!(status("/internal/orders", &[secret]).await, 421);
        let absolute = "http://evil.example/internal/orders";
        assert_eq!(
            status(absolute, &[("host", "localhost"), secret]).await,
            421
        );
    }

    #[test]
    fn secret_is_read_from_a_file_and_never_printed() {
        let read = |contents: Option<&str>| {
            let path = std::env::temp_dir().join(format!("dm-{}", uuid::Uuid::new_v4()));
            if let Some(contents) = contents {
                std::fs::write(&path, contents).unwrap();
            }
            let name = path.display().to_string();
            let mut environment: Environment = [("GATEWAY_SECRET_FILE".to_owned(), name)]
                .into_iter()
                .collect();
            let secret = GatewaySecret::from_env(&mut environment);
            let _ = std::fs::remove_file(&path);
            environment.check().map(|()| secret)
        };
        let secret = read(Some(&format!("{SECRET}\n"))).unwrap();
        assert_eq!(secret.expose(), SECRET);
        assert!(!format!("{secret:?}").contains(SECRET));
        for contents in [None, Some("short"), Some("a secret with spaces in it")] {
            let error = read(contents).unwrap_err().to_string();
            assert!(error.contains("GATEWAY_SECRET"), "{error}");
            assert!(!error.contains("short"), "{error}");
        }
        let mut none = Environment::default();
        GatewaySecret::from_env(&mut none);
        assert!(none.check().is_err());
    }

    proptest! {
        #[test]
        fn any_other_host_is_rejected(host in "\\PC{0,40}") {
            let is_allowed = guard().allows_host(&host);
            let is_known = guard().hosts.iter().any(|own| host.to_lowercase().starts_with(own));
            prop_assert!(!is_allowed || is_known);
        }
    }
}
