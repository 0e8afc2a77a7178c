//! The gateway: the only entry point for browsers and phones.
//!
//! ```text
//! routes        pages, login, current user, routes of the services, streams
//! access        roles that each area requires
//! sessions      sessions of signed-in users, in memory
//! bearer        bearer tokens in use
//! oidc          Keycloak: the code flow, keys, tokens
//! revalidation  whether the realm still accepts a session or a token
//! downstream    client of the services behind the gateway
//! cors          origins whose scripts may call the API
//! ```

pub(crate) mod access;
pub(crate) mod bearer;
pub(crate) mod cookies;
pub(crate) mod cors;
pub(crate) mod downstream;
pub(crate) mod html;
pub(crate) mod oidc;
pub(crate) mod origin;
pub(crate) mod random;
pub(crate) mod return_to;
pub(crate) mod revalidation;
pub(crate) mod routes;
pub(crate) mod services;
pub(crate) mod session_layer;
pub(crate) mod sessions;
pub(crate) mod settings;
pub(crate) mod user;

use std::sync::Arc;
use std::time::Duration;

use dm_kit::http::{DetailsStyle, GatewaySecret};
use dm_kit::{Environment, ServiceInfo, StartError, StatelessServiceParts};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::bearer::BearerTokens;
use crate::cookies::CookieNames;
use crate::oidc::provider::OidcProvider;
use crate::sessions::SessionStore;
use crate::settings::{AppUrls, ServiceUrls, Settings};

/// The description of this service.
pub const SERVICE: ServiceInfo = ServiceInfo {
    name: "gateway",
    port: 8081,
    details_style: DetailsStyle::Absent,
};

/// The maximum number of concurrent streams: each occupies a connection.
const MAX_STREAMS: usize = 256;

/// The state that all routes share.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Keycloak.
    pub provider: Arc<OidcProvider>,
    /// Sessions of signed-in users.
    pub sessions: Arc<SessionStore>,
    /// Bearer tokens in use.
    pub bearers: BearerTokens,
    /// The names of the cookies.
    pub cookie_names: CookieNames,
    /// Permits for streams.
    pub streams: Arc<Semaphore>,
    /// HTTP client for calls to the services.
    pub client: reqwest::Client,
    /// Secret that authenticates the gateway to the services.
    pub secret: GatewaySecret,
    /// Base URLs of the services.
    pub services: ServiceUrls,
    /// Base URLs of the external front ends.
    pub apps: AppUrls,
    /// Interval at which a stream polls the timeline of its order.
    pub stream_poll_interval: Duration,
    /// Ends the streams when it is cancelled.
    pub stop: CancellationToken,
}

/// Builds the gateway from its settings.
///
/// # Errors
/// Returns [`StartError`] if a setting is invalid or the system has no random bytes.
pub async fn build(
    environment: &mut Environment,
    stop: &CancellationToken,
) -> Result<StatelessServiceParts, StartError> {
    let secret = GatewaySecret::from_env(environment);
    build_gateway(environment, secret, stop).map(|(_, parts)| parts)
}

fn build_gateway(
    environment: &mut Environment,
    secret: GatewaySecret,
    stop: &CancellationToken,
) -> Result<(Arc<Gateway>, StatelessServiceParts), StartError> {
    let settings = Settings::from_env(environment);
    environment.check()?;
    let client =
        downstream::build_client().map_err(|error| StartError::Service(error.to_string()))?;
    let provider = OidcProvider::new(settings.oidc, client.clone(), settings.login_lifetime)
        .map_err(|error| StartError::Service(error.to_string()))?;
    let cookie_names = CookieNames::new(settings.public_port);
    let gateway = Arc::new(Gateway {
        provider: Arc::new(provider),
        sessions: Arc::new(SessionStore::new(settings.sessions, cookie_names)),
        bearers: BearerTokens::new(settings.sessions.check_interval),
        cookie_names,
        streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        client,
        secret,
        services: settings.services,
        apps: settings.apps,
        stream_poll_interval: settings.stream_poll_interval,
        stop: stop.clone(),
    });
    let origins = settings.allowed_origins;
    let layer_gateway = Arc::clone(&gateway);
    let parts = StatelessServiceParts {
        routes: routes::router(Arc::clone(&gateway)),
        // CORS is outside: a request of a foreign page must not extend a session.
        middleware: Box::new(|router| {
            let router = session_layer::wrap_router(router, layer_gateway);
            cors::wrap_router(routes::loopback::wrap_router(router), origins)
        }),
    };
    Ok((gateway, parts))
}
