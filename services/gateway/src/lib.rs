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
use dm_kit::{Description, Environment, Front, StartError};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::oidc::provider::Provider;
use crate::sessions::Sessions;
use crate::settings::{AppSettings, ServiceSettings, Settings};

/// What this service is.
pub const SERVICE: Description = Description {
    name: "gateway",
    port: 8081,
    details: DetailsStyle::Absent,
};

/// How many streams there can be at once: each keeps a connection.
const STREAMS: usize = 256;

/// What all routes share.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Keycloak.
    pub provider: Provider,
    /// Who is signed in.
    pub sessions: Sessions,
    /// What the names of the cookies of logins begin with.
    pub login_cookie: String,
    /// The streams that can still be opened.
    pub streams: Arc<Semaphore>,
    /// For calls to the services.
    pub client: reqwest::Client,
    /// What the services know the gateway by.
    pub secret: GatewaySecret,
    /// Where the services are.
    pub services: ServiceSettings,
    /// Where the web apps are.
    pub apps: AppSettings,
    /// How often a stream looks at its order.
    pub stream_pace: Duration,
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
) -> Result<Front, StartError> {
    let secret = GatewaySecret::of(environment);
    assemble(environment, secret, stop).map(|(_, front)| front)
}

fn assemble(
    environment: &mut Environment,
    secret: GatewaySecret,
    stop: &CancellationToken,
) -> Result<(Arc<Gateway>, Front), StartError> {
    let settings = Settings::read(environment);
    environment.check()?;
    let client = downstream::client().map_err(|error| StartError::Service(error.to_string()))?;
    let gateway = Arc::new(Gateway {
        provider: Provider::new(settings.oidc, client.clone(), settings.login_life)
            .map_err(|error| StartError::Service(error.to_string()))?,
        sessions: Sessions::new(
            settings.session_life,
            format!("{}{}", sessions::COOKIE, settings.cookie_suffix),
        ),
        login_cookie: format!("dmf_login{}_", settings.cookie_suffix),
        streams: Arc::new(Semaphore::new(STREAMS)),
        client,
        secret,
        services: settings.services,
        apps: settings.apps,
        stream_pace: settings.stream_pace,
        stop: stop.clone(),
    });
    let origins = settings.origins;
    let front = Front {
        routes: routes::all(Arc::clone(&gateway)),
        around: Box::new(|router| cors::around(router, origins)),
    };
    Ok((gateway, front))
}
