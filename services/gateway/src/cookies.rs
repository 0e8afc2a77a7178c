//! Names of the gateway's cookies, and reading and writing of cookies.

use std::borrow::Cow;
use std::time::Duration;

use cookie::{Cookie, SameSite};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::origin::RequestOrigin;
use crate::settings::DEFAULT_PORT;

/// The name of the session cookie of a gateway on the default port.
pub(crate) const SESSION_COOKIE: &str = "dmf_session";

/// The names of the cookies of this gateway.
///
/// Browsers share cookies between all ports of a host. Two gateways that one browser reaches under
/// one host name have different ports there, so the name contains the port of the request. This is
/// not always the port at which the gateway is published: it may be forwarded from another machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CookieNames {
    /// The port at which the gateway is published.
    public_port: u16,
}

impl CookieNames {
    /// Creates the names of a gateway that is published at this port.
    #[must_use]
    pub(crate) const fn new(public_port: u16) -> Self {
        Self { public_port }
    }

    /// Returns the name of the session cookie that a response to this request sets.
    #[must_use]
    pub(crate) fn session(self, headers: &HeaderMap) -> Cow<'static, str> {
        session_name(self.port(headers))
    }

    /// Returns the names of the session cookies that a request may carry: that of its own port, and
    /// that of the published port, at which a browser signs in if a server of web pages forwards
    /// only its API calls.
    pub(crate) fn accepted_sessions(
        self,
        headers: &HeaderMap,
    ) -> impl Iterator<Item = Cow<'static, str>> {
        let port = self.port(headers);
        let published = (self.public_port != port).then_some(self.public_port);
        [Some(port), published]
            .into_iter()
            .flatten()
            .map(session_name)
    }

    /// Returns the prefix of the names of the login cookies of a request. A separator follows the
    /// port: the prefix for port 80 must not match the cookies for port 8081.
    #[must_use]
    pub(crate) fn login_prefix(self, headers: &HeaderMap) -> String {
        format!("dmf_login_{}_", self.port(headers))
    }

    /// Returns the port of a request. A proxy on the default port of its scheme sends none.
    fn port(self, headers: &HeaderMap) -> u16 {
        RequestOrigin::from_headers(headers)
            .and_then(|origin| origin.port())
            .unwrap_or(self.public_port)
    }
}

fn session_name(port: u16) -> Cow<'static, str> {
    match port {
        DEFAULT_PORT => SESSION_COOKIE.into(),
        port => format!("{SESSION_COOKIE}_{port}").into(),
    }
}

/// Returns the values of a cookie in the order of the request. A browser may send one
/// name more than once, which a cookie jar would not keep.
pub(crate) fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    parse_all(headers)
        .filter(move |cookie| cookie.name() == name)
        .filter_map(|cookie| cookie.value_raw())
}

/// Returns the names of the cookies with this prefix in the order of the request: browsers
/// send older cookies first.
pub(crate) fn names<'a>(headers: &'a HeaderMap, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    parse_all(headers)
        .filter_map(|cookie| cookie.name_raw())
        .filter(move |name| name.starts_with(prefix))
}

/// Parses all cookies of a request. The cookie of another app may be invalid, even binary:
/// it must not hide the cookies of the gateway.
fn parse_all(headers: &HeaderMap) -> impl Iterator<Item = Cookie<'_>> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|header| header.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| Cookie::parse(str::from_utf8(pair).ok()?).ok())
}

/// Returns the `Set-Cookie` header of a cookie for the whole host that is hidden from
/// scripts. `value` is base64url; a lifetime of zero deletes the cookie.
#[must_use]
pub(crate) fn set_cookie_header(
    name: &str,
    value: &str,
    lifetime: Duration,
) -> Option<HeaderValue> {
    let seconds = i64::try_from(lifetime.as_millis().div_ceil(1000)).unwrap_or(i64::MAX);
    let cookie = Cookie::build((name, value))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .max_age(cookie::time::Duration::seconds(seconds));
    HeaderValue::from_str(&cookie.to_string()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines
            .iter()
            .map(|line| (COOKIE, HeaderValue::from_str(line).unwrap()))
            .collect()
    }

    fn request_to(host: &str) -> HeaderMap {
        let host = HeaderValue::from_str(host).unwrap();
        HeaderMap::from_iter([(http::header::HOST, host)])
    }

    #[test]
    fn cookie_names_differ_between_the_ports_of_a_host() {
        let names = CookieNames::new(DEFAULT_PORT);
        let of = |host| {
            let headers = request_to(host);
            (
                names.session(&headers).into_owned(),
                names.login_prefix(&headers),
            )
        };
        let pair = |session: &str, login: &str| (session.to_owned(), login.to_owned());
        assert_eq!(of("localhost:8081"), pair("dmf_session", "dmf_login_8081_"));
        // The same gateway, forwarded to another port of this machine.
        assert_eq!(
            of("localhost:24277"),
            pair("dmf_session_24277", "dmf_login_24277_")
        );
        // Behind a proxy on port 80.
        assert_eq!(of("scranton.example"), of("localhost:8081"));
    }

    #[test]
    fn no_login_prefix_is_a_prefix_of_another_one() {
        let names = CookieNames::new(DEFAULT_PORT);
        let ports = [80, 808, 8081, 24277];
        let prefixes = ports.map(|port| names.login_prefix(&request_to(&format!("h:{port}"))));
        for (index, prefix) in prefixes.iter().enumerate() {
            for (other, longer) in prefixes.iter().enumerate() {
                assert!(index == other || !longer.starts_with(prefix.as_str()));
            }
        }
    }

    #[test]
    fn session_of_the_published_port_is_accepted_at_every_port() {
        let accepted = |port, host| -> Vec<String> {
            CookieNames::new(port)
                .accepted_sessions(&request_to(host))
                .map(Cow::into_owned)
                .collect()
        };
        assert_eq!(accepted(8081, "localhost:8081"), ["dmf_session"]);
        assert_eq!(
            accepted(8081, "localhost:5173"),
            ["dmf_session_5173", "dmf_session"]
        );
        assert_eq!(
            accepted(24277, "localhost:24377"),
            ["dmf_session_24377", "dmf_session_24277"]
        );
    }

    #[test]
    fn values_returns_only_cookies_with_exactly_this_name() {
        let headers = headers(&[
            "theme=dark; dmf_session=abc; xdmf_session=no",
            "dmf_session = def ;dmf_session_old=no; dmf_session",
        ]);
        let values: Vec<_> = values(&headers, "dmf_session").collect();
        assert_eq!(values, ["abc", "def"]);
    }

    #[test]
    fn binary_cookie_does_not_hide_other_cookies() {
        let line = HeaderValue::from_bytes(b"theme=\xff\xfe; dmf_session=abc").unwrap();
        let headers = HeaderMap::from_iter([(COOKIE, line)]);
        assert_eq!(values(&headers, "dmf_session").collect::<Vec<_>>(), ["abc"]);
    }

    #[test]
    fn set_cookie_header_has_the_attributes_of_the_contract() {
        assert_eq!(
            set_cookie_header("dmf_session", "abc", Duration::from_millis(1_799_001)).unwrap(),
            "dmf_session=abc; HttpOnly; SameSite=Lax; Path=/; Max-Age=1800"
        );
        assert_eq!(
            set_cookie_header("dmf_session", "", Duration::ZERO).unwrap(),
            "dmf_session=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0"
        );
    }

    proptest! {
        #[test]
        fn cookie_that_was_set_is_read_back(value in "[A-Za-z0-9_-]{1,40}", other in "[a-z]{1,8}=[!-:<-~]{0,20}") {
            let cookie = set_cookie_header("dmf_login", &value, Duration::from_secs(300)).unwrap();
            let pair = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
            let headers = headers(&[&format!("{other}; {pair}")]);
            prop_assert_eq!(values(&headers, "dmf_login").collect::<Vec<_>>(), [value]);
        }
    }
}
