//! The gateway: the one door for browsers and phones.
//!
//! ```text
//! routes      pages, login, who am I, the services' routes, streams
//! access      which roles open what
//! sessions    who is signed in, in memory
//! oidc        Keycloak: the code flow, keys, tokens
//! downstream  how the services behind are called
//! cors        which scripts may call
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

/// What this service is.
pub const SERVICE: ServiceInfo = ServiceInfo {
    name: "gateway",
    port: 8081,
    details_style: DetailsStyle::Absent,
};

/// How many streams there can be at once: each keeps a connection.
const MAX_STREAMS: usize = 256;

/// What all routes share.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Keycloak.
    pub provider: OidcProvider,
    /// Who is signed in.
    pub sessions: SessionStore,
    /// What the names of the cookies of logins begin with.
    pub login_cookie_prefix: String,
    /// The streams that can still be opened.
    pub streams: Arc<Semaphore>,
    /// For calls to the services.
    pub client: reqwest::Client,
    /// What the services know the gateway by.
    pub secret: GatewaySecret,
    /// Where the services are.
    pub services: ServiceUrls,
    /// Where the web apps are.
    pub apps: AppUrls,
    /// How often a stream looks at its order.
    pub stream_poll_interval: Duration,
    /// When streams end.
    pub stop: CancellationToken,
}

/// Puts the gateway together.
///
/// # Errors
/// Where a setting can't be used.
pub async fn build(
    environment: &mut Environment,
    stop: &CancellationToken,
) -> Result<StatelessServiceParts, StartError> {
    let secret = GatewaySecret::from_env(environment);
    build_gateway(environment, secret, stop).map(|(_, front)| front)
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
    let front = StatelessServiceParts {
        routes: routes::router(Arc::clone(&gateway)),
        middleware: Box::new(|router| cors::wrap_router(router, origins)),
    };
    Ok((gateway, front))
}
