//! The gateway: the only entry point for browsers and phones.
//!
//! ```text
//! routes      pages, login, current user, routes of the services, streams
//! access      roles that each area requires
//! sessions    sessions of signed-in users, in memory
//! oidc        Keycloak: the code flow, keys, tokens
//! downstream  client of the services behind the gateway
//! cors        origins whose scripts may call the API
//! ```

pub(crate) mod access;
pub(crate) mod cookies;
pub(crate) mod cors;
pub(crate) mod downstream;
pub(crate) mod html;
pub(crate) mod oidc;
pub(crate) mod origin;
pub(crate) mod random;
pub(crate) mod return_to;
pub(crate) mod routes;
pub(crate) mod services;
pub(crate) mod sessions;
pub(crate) mod settings;

use std::sync::Arc;
use std::time::Duration;

use dm_kit::http::{DetailsStyle, GatewaySecret};
use dm_kit::{Environment, ServiceInfo, StartError, StatelessServiceParts};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

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
    pub provider: OidcProvider,
    /// Sessions of signed-in users.
    pub sessions: SessionStore,
    /// Prefix of the names of the login cookies.
    pub login_cookie_prefix: String,
    /// Permits for streams.
    pub streams: Arc<Semaphore>,
    /// HTTP client for calls to the services.
    pub client: reqwest::Client,
    /// Secret that authenticates the gateway to the services.
    pub secret: GatewaySecret,
    /// Base URLs of the services.
    pub services: ServiceUrls,
    /// Base URLs of the web apps.
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
    let gateway = Arc::new(Gateway {
        provider: OidcProvider::new(settings.oidc, client.clone(), settings.login_lifetime)
            .map_err(|error| StartError::Service(error.to_string()))?,
        sessions: SessionStore::new(
            settings.session_lifetime,
            format!("{}{}", sessions::SESSION_COOKIE, settings.cookie_suffix),
        ),
        login_cookie_prefix: format!("dmf_login{}_", settings.cookie_suffix),
        streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        client,
        secret,
        services: settings.services,
        apps: settings.apps,
        stream_poll_interval: settings.stream_poll_interval,
        stop: stop.clone(),
    });
    let origins = settings.allowed_origins;
    let parts = StatelessServiceParts {
        routes: routes::router(Arc::clone(&gateway)),
        middleware: Box::new(|router| cors::wrap_router(router, origins)),
    };
    Ok((gateway, parts))
}
