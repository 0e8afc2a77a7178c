//! Settings from the environment.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use dm_contracts::App;
use dm_kit::Environment;
use http::HeaderValue;
use url::Url;

use crate::services::DownstreamService;

/// The origins of the web apps of the demo.
const DEFAULT_ORIGINS: &str = "http://localhost:3000,http://localhost:3001,http://localhost:3002,\
    http://localhost:3004,http://host.docker.internal:3000,http://host.docker.internal:3001,\
    http://host.docker.internal:3002,http://host.docker.internal:3004";

/// The default of the port under which browsers reach the gateway.
pub(crate) const DEFAULT_PORT: u16 = 8081;

/// The name of this machine in origins.
const LOCALHOST: &str = "://localhost";

/// The loopback addresses in origins: pages at these addresses are redirected to `localhost`.
const LOOPBACK_ADDRESSES: [&str; 2] = ["://127.0.0.1", "://[::1]"];

/// All settings of the gateway.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The realm and the client of this gateway in it.
    pub oidc: OidcSettings,
    /// The lifetimes of a session.
    pub sessions: SessionLifetimes,
    /// The time in which a login must be completed.
    pub login_lifetime: Duration,
    /// The interval at which a stream polls the timeline of its order.
    pub stream_poll_interval: Duration,
    /// The base URLs of the external front ends.
    pub apps: AppUrls,
    /// The base URLs of the services.
    pub services: ServiceUrls,
    /// The origins whose scripts may call the API.
    pub allowed_origins: AllowedOrigins,
    /// The port at which the gateway is published. The names of its cookies depend on it.
    pub public_port: u16,
}

/// The lifetimes of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionLifetimes {
    /// The time after which a session without activity ends.
    pub idle: Duration,
    /// The time after which a session ends, from the login, however active it is. At least `idle`.
    pub maximum: Duration,
    /// The age of the realm's last confirmation at which the realm is asked again whether the user
    /// may stay signed in.
    pub check_interval: Duration,
}

/// The realm and the client of this gateway in it.
#[derive(Debug)]
pub(crate) struct OidcSettings {
    /// The name of the realm.
    pub realm: RealmName,
    /// The base URL under which this process reaches Keycloak.
    pub internal_url: BaseUrl,
    /// The port under which browsers reach Keycloak, on the host name of their request.
    pub public_port: u16,
    /// The client id.
    pub client_id: String,
    /// The client secret.
    pub client_secret: ClientSecret,
    /// The clients whose access tokens are accepted as bearer tokens.
    pub bearer_clients: Vec<String>,
}

/// The base URLs of the external front ends. An app without one is built in.
#[derive(Debug)]
pub(crate) struct AppUrls {
    portal: Option<BaseUrl>,
    infinity: Option<BaseUrl>,
    accounting: Option<BaseUrl>,
}

impl AppUrls {
    fn from_env(environment: &mut Environment) -> Self {
        Self {
            portal: read_front_end(environment, "PORTAL_WEB_BASE_URL"),
            infinity: read_front_end(environment, "INFINITY_WEB_BASE_URL"),
            accounting: read_front_end(environment, "ACCOUNTING_WEB_BASE_URL"),
        }
    }

    /// Returns the base URL of the external front end of an app, or `None` if the app is built in.
    /// The warehouse app always is: external ones call the API with a bearer token.
    #[must_use]
    pub(crate) fn external(&self, app: App) -> Option<&BaseUrl> {
        match app {
            App::Portal => self.portal.as_ref(),
            App::Infinity => self.infinity.as_ref(),
            App::Accounting => self.accounting.as_ref(),
            App::WarehouseMobile => None,
        }
    }
}

/// The base URLs of the services, indexed by [`DownstreamService`].
#[derive(Debug)]
pub(crate) struct ServiceUrls([BaseUrl; DownstreamService::ALL.len()]);

impl ServiceUrls {
    /// Returns the base URL of a service.
    #[must_use]
    pub(crate) fn base_url(&self, service: DownstreamService) -> &BaseUrl {
        &self.0[service as usize]
    }
}

impl Settings {
    /// Reads all settings. [`Environment::check`] reports the invalid ones.
    pub(crate) fn from_env(environment: &mut Environment) -> Self {
        let client = environment.text_or("OIDC_CLIENT_ID", "dunder-mifflin-gateway");
        let oidc = OidcSettings {
            realm: environment.get("KEYCLOAK_REALM", RealmName("scranton-branch".into())),
            internal_url: read_base_url(environment, "KEYCLOAK_INTERNAL_BASE_URL", "keycloak:8080"),
            public_port: environment.get("KEYCLOAK_PUBLIC_PORT", 8080),
            client_secret: ClientSecret(
                environment.secret_or("OIDC_CLIENT_SECRET", "gateway-secret-change-me"),
            ),
            bearer_clients: environment.list("BEARER_CLIENT_IDS", &["warehouse-mobile", &client]),
            client_id: client,
        };
        Self {
            oidc,
            sessions: read_session_lifetimes(environment),
            login_lifetime: read_duration(environment, "OIDC_STATE_MAX_AGE_MS", 300_000),
            stream_poll_interval: read_duration(environment, "TIMELINE_STREAM_POLL_MS", 2_000),
            apps: AppUrls::from_env(environment),
            services: ServiceUrls(DownstreamService::ALL.map(|service| {
                let name = service.name();
                let variable = format!("{}_SERVICE_BASE_URL", name.to_uppercase());
                read_base_url(
                    environment,
                    &variable,
                    &format!("{name}:{}", service.port()),
                )
            })),
            allowed_origins: environment.get("MOBILE_WEB_ORIGINS", AllowedOrigins::default()),
            public_port: environment.get("PUBLIC_PORT", DEFAULT_PORT),
        }
    }
}

fn read_base_url(environment: &mut Environment, name: &str, default: &str) -> BaseUrl {
    environment.get(name, BaseUrl(format!("http://{default}")))
}

fn read_front_end(environment: &mut Environment, name: &str) -> Option<BaseUrl> {
    let FrontEnd(url) = environment.get(name, FrontEnd(None));
    url
}

/// The base URL of an external front end, if there is one.
struct FrontEnd(Option<BaseUrl>);

impl FromStr for FrontEnd {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(|url| Self(Some(url)))
    }
}

fn read_session_lifetimes(environment: &mut Environment) -> SessionLifetimes {
    let idle = read_duration(environment, "SESSION_MAX_AGE_MS", 1_800_000);
    let maximum = read_duration(environment, "SESSION_LIMIT_MS", 28_800_000);
    SessionLifetimes {
        idle,
        maximum: maximum.max(idle),
        check_interval: read_duration(environment, "SESSION_CHECK_MS", 45_000),
    }
}

fn read_duration(environment: &mut Environment, name: &str, default: u64) -> Duration {
    let Milliseconds(time) = environment.get(name, Milliseconds(Duration::from_millis(default)));
    time
}

/// A duration in milliseconds, from one millisecond to one year.
struct Milliseconds(Duration);

impl FromStr for Milliseconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let year = 365 * 24 * 3600 * 1000;
        match text.parse() {
            Ok(number) if (1..=year).contains(&number) => Ok(Self(Duration::from_millis(number))),
            _ => Err(format!("expected whole milliseconds from 1 to {year}")),
        }
    }
}

/// An HTTP URL to which paths are appended: no trailing slash, no query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BaseUrl(String);

impl BaseUrl {
    /// Returns the URL.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if plain {
            Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
        } else {
            Err("expected an address such as `http://host:port`".to_owned())
        }
    }
}

/// The name of a realm. It is part of URL paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RealmName(String);

impl RealmName {
    /// Returns the name.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RealmName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if text.bytes().all(plain) && !text.trim_matches('.').is_empty() {
            Ok(Self(text.to_owned()))
        } else {
            Err("a realm name consists of letters, digits, `-`, `_` and `.`".to_owned())
        }
    }
}

/// The client secret, hidden in debug output.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ClientSecret(String);

impl ClientSecret {
    /// Returns the secret.
    #[must_use]
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// The origins whose scripts may call the API. Parsed from a comma-separated list. Each origin on
/// `localhost` stands for the same port of the loopback addresses, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AllowedOrigins(Vec<HeaderValue>);

impl AllowedOrigins {
    /// Returns whether the origin is allowed.
    #[must_use]
    pub(crate) fn contains(&self, origin: &HeaderValue) -> bool {
        self.0.contains(origin)
    }

    /// Returns all allowed origins.
    #[must_use]
    pub(crate) fn all(&self) -> &[HeaderValue] {
        &self.0
    }
}

impl Default for AllowedOrigins {
    fn default() -> Self {
        DEFAULT_ORIGINS.parse().unwrap_or(Self(Vec::new()))
    }
}

impl FromStr for AllowedOrigins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let listed = text
            .split(',')
            .map(str::trim)
            .filter(|origin| !origin.is_empty());
        listed
            .flat_map(with_loopback_addresses)
            .map(|origin| {
                let serialized = Url::parse(&origin)
                    .map(|url| url.origin().ascii_serialization())
                    .unwrap_or_default();
                if serialized == origin {
                    HeaderValue::from_str(&origin).map_err(|error| error.to_string())
                } else {
                    Err(format!(
                        "`{origin}` is not an origin such as `http://host:port`"
                    ))
                }
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Returns an origin, followed by its other names on the same machine.
fn with_loopback_addresses(origin: &str) -> Vec<String> {
    let mut names = vec![origin.to_owned()];
    if let Some((scheme, port)) = origin.split_once(LOCALHOST)
        && (port.is_empty() || port.starts_with(':'))
    {
        names.extend(LOOPBACK_ADDRESSES.map(|address| format!("{scheme}{address}{port}")));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let mut environment = environment(&[]);
        let settings = Settings::from_env(&mut environment);
        assert_eq!(environment.check(), Ok(()));
        assert_eq!(settings.oidc.internal_url.as_str(), "http://keycloak:8080");
        assert_eq!(settings.oidc.realm.as_str(), "scranton-branch");
        assert_eq!(settings.sessions.idle, Duration::from_millis(1_800_000));
        assert_eq!(settings.sessions.maximum, Duration::from_secs(8 * 3600));
        assert_eq!(settings.sessions.check_interval, Duration::from_secs(45));
        assert_eq!(settings.login_lifetime, Duration::from_millis(300_000));
        // Eight of the contract, and two other names for each of the four on `localhost`.
        assert_eq!(settings.allowed_origins.all().len(), 16);
        assert_eq!(settings.public_port, DEFAULT_PORT);
        let services: Vec<_> = DownstreamService::ALL
            .into_iter()
            .map(|service| settings.services.base_url(service).as_str().to_owned())
            .collect();
        assert_eq!(
            services,
            [
                "http://profile:8091",
                "http://sales:8092",
                "http://order:8093",
                "http://inventory:8094",
                "http://finance:8095",
                "http://wuphf:8096",
            ]
        );
    }

    #[test]
    fn origin_on_localhost_is_also_allowed_on_the_loopback_addresses() {
        let allowed: AllowedOrigins = "http://localhost:3000, http://scranton.example:3000"
            .parse()
            .unwrap();
        assert_eq!(
            allowed.all(),
            [
                "http://localhost:3000",
                "http://127.0.0.1:3000",
                "http://[::1]:3000",
                "http://scranton.example:3000",
            ]
        );
        let allowed: AllowedOrigins = "https://localhost,http://localhost.example:3000"
            .parse()
            .unwrap();
        assert_eq!(
            allowed.all(),
            [
                "https://localhost",
                "https://127.0.0.1",
                "https://[::1]",
                "http://localhost.example:3000",
            ]
        );
    }

    #[test]
    fn session_limit_is_at_least_the_lifetime_without_activity() {
        let mut environment = environment(&[("SESSION_MAX_AGE_MS", "86400000")]);
        let settings = Settings::from_env(&mut environment);
        assert_eq!(environment.check(), Ok(()));
        assert_eq!(settings.sessions.maximum, settings.sessions.idle);
    }

    #[test]
    fn invalid_settings_are_reported_together() {
        let mut environment = environment(&[
            ("KEYCLOAK_INTERNAL_BASE_URL", "keycloak"),
            ("KEYCLOAK_REALM", "../master"),
            ("KEYCLOAK_PUBLIC_PORT", "70000"),
            ("ORDER_SERVICE_BASE_URL", "ftp://order"),
            ("MOBILE_WEB_ORIGINS", "http://localhost:3000/,*"),
            ("SESSION_MAX_AGE_MS", "30m"),
        ]);
        Settings::from_env(&mut environment);
        let report = environment.check().unwrap_err().to_string();
        for name in [
            "KEYCLOAK_INTERNAL_BASE_URL",
            "KEYCLOAK_REALM",
            "KEYCLOAK_PUBLIC_PORT",
            "ORDER_SERVICE_BASE_URL",
            "MOBILE_WEB_ORIGINS",
            "SESSION_MAX_AGE_MS",
        ] {
            assert!(report.contains(name), "{name} is not in {report}");
        }
    }

    #[test]
    fn app_is_built_in_unless_its_front_end_is_configured() {
        let mut environment = environment(&[
            ("INFINITY_WEB_BASE_URL", "http://localhost:3001/"),
            ("ACCOUNTING_WEB_BASE_URL", " "),
        ]);
        let apps = Settings::from_env(&mut environment).apps;
        assert_eq!(environment.check(), Ok(()));
        let external = App::ALL.map(|app| apps.external(app).map(BaseUrl::as_str));
        assert_eq!(external, [None, Some("http://localhost:3001"), None, None]);
    }

    #[test]
    fn base_url_has_no_trailing_slash() {
        let url: BaseUrl = "http://localhost:3001/".parse().unwrap();
        assert_eq!(url.as_str(), "http://localhost:3001");
    }

    #[test]
    fn client_secret_is_not_in_debug_output() {
        let settings = Settings::from_env(&mut environment(&[("OIDC_CLIENT_SECRET", "s3cret")]));
        assert_eq!(settings.oidc.client_secret.expose(), "s3cret");
        assert!(!format!("{settings:?}").contains("s3cret"));
    }
}
