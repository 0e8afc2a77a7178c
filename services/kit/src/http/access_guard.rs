//! Who may call at all, whatever the request is about.
//!
//! A service believes who its caller is: the gateway says it in a header. So only the
//! gateway may call. It shows a secret that it shares with the services of its instance.
//! And a request must name a host that is this service's: a page whose name was made to
//! lead here (DNS rebinding) names its own.

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

/// The header in which the gateway shows the secret.
pub const GATEWAY_SECRET: HeaderName = HeaderName::from_static(headers::GATEWAY_SECRET);

/// The names of this machine, which every service has.
const LOCAL_HOSTS: [&str; 4] = ["localhost", "127.0.0.1", "[::1]", "host.docker.internal"];

/// What is said of the service and not of users: health, numbers, description.
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

/// The least that a secret may have, in bytes.
const MIN_SECRET_LENGTH: usize = 16;

/// What the gateway and the services of an instance share.
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
    /// `GATEWAY_SECRET`, or what is in the file that `GATEWAY_SECRET_FILE` names. What is
    /// wrong with it is told by [`Environment::check`].
    pub fn from_env(environment: &mut Environment) -> Self {
        let secret = environment.secret("GATEWAY_SECRET");
        let text = secret.trim();
        let sendable = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !text.is_empty() && (text.len() < MIN_SECRET_LENGTH || !sendable) {
            environment.add_error(format!(
                "GATEWAY_SECRET needs at least {MIN_SECRET_LENGTH} visible ASCII characters"
            ));
        }
        Self(text.into())
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether a request shows it. The time taken says nothing of where a wrong one differs.
    fn is_presented_by(&self, request: &Request) -> bool {
        let shown = request.headers().get(GATEWAY_SECRET);
        // An empty one, of a file that couldn't be read, opens nothing.
        !self.0.is_empty()
            && shown.is_some_and(|shown| shown.as_bytes().ct_eq(self.0.as_bytes()).into())
    }
}

/// What a request must show.
#[derive(Debug, Clone)]
pub struct AccessGuard {
    hosts: Arc<[String]>,
    secret: Option<GatewaySecret>,
}

impl AccessGuard {
    /// The door of a service of that name, e.g. `order-service`, whose host in a stack is
    /// `order`. `ALLOWED_HOSTS` adds names.
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

    /// Whether a request is for this service, by every name that it gives.
    fn is_host_allowed(&self, request: &Request) -> bool {
        let mut named = request.headers().get_all(header::HOST).iter();
        let (Some(host), None) = (named.next(), named.next()) else {
            return false;
        };
        let named = host.to_str().is_ok_and(|host| self.allows_host(host));
        let absolute = request.uri().authority();
        named && absolute.is_none_or(|authority| self.allows_host(authority.as_str()))
    }

    fn allows_host(&self, authority: &str) -> bool {
        Authority::from_str(authority).is_ok_and(|authority| {
            let host = authority.host().to_ascii_lowercase();
            !authority.as_str().contains('@') && self.hosts.contains(&host)
        })
    }
}

/// Lets in what may come in.
pub(super) async fn check_access(
    State(door): State<AccessGuard>,
    request: Request,
    next: Next,
) -> Response {
    if !door.is_host_allowed(&request) {
        return ApiError::new(
            StatusCode::MISDIRECTED_REQUEST,
            "HOST_NOT_ALLOWED",
            "This service does not answer to that host name",
        )
        .into_response();
    }
    let open = PUBLIC_PATHS.contains(&request.uri().path());
    match &door.secret {
        Some(secret) if !open && !secret.is_presented_by(&request) => {
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

    fn door() -> AccessGuard {
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
            .layer(from_fn_with_state(door(), check_access));
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        app.oneshot(request).await.unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn only_the_gateway_comes_in() {
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
        // What is said of the service is for everybody; what isn't there is for nobody.
        assert_eq!(status("/health/ready", &[host]).await, 200);
        for path in ["/health/ready/", "/health/../internal/orders", "/nothing"] {
            assert_eq!(status(path, &[host]).await, 401, "{path}");
        }
    }

    #[tokio::test]
    async fn another_name_does_not_lead_here() {
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
            let answer = status("/internal/orders", &[("host", host), secret]).await;
            assert_eq!(answer, 200, "{host}");
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
    fn a_secret_is_read_from_a_file_and_never_shown() {
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
            let told = read(contents).unwrap_err().to_string();
            assert!(told.contains("GATEWAY_SECRET"), "{told}");
            assert!(!told.contains("short"), "{told}");
        }
        let mut none = Environment::default();
        GatewaySecret::from_env(&mut none);
        assert!(none.check().is_err());
    }

    proptest! {
        #[test]
        fn no_host_makes_it_fail(host in "\\PC{0,40}") {
            let allowed = door().allows_host(&host);
            let known = door().hosts.iter().any(|own| host.to_lowercase().starts_with(own));
            prop_assert!(!allowed || known);
        }
    }
}
