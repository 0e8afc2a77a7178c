//! The origin under which a browser reached the gateway: redirects stay on it.

use std::net::Ipv6Addr;

use http::{HeaderMap, HeaderName, header};

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The maximum length of a host name (DNS).
const MAX_HOST_LENGTH: usize = 253;

/// Scheme, host name and port of a request, each valid in a URL and in a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestOrigin {
    scheme: &'static str,
    host: String,
    port: Option<u16>,
}

impl RequestOrigin {
    /// Returns the origin of a request, or `None` if its `Host` header is missing, repeated
    /// or invalid.
    #[must_use]
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let authority = hosts.next()?.to_str().ok()?;
        if hosts.next().is_some() {
            return None;
        }
        let (host, port) = split_authority(authority)?;
        let forwarded = headers
            .get(FORWARDED_PROTO)
            .and_then(|value| value.to_str().ok())
            .and_then(|list| list.split(',').next())
            .map(str::trim);
        // The gateway itself serves plain HTTP only.
        let scheme = match forwarded {
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => "https",
            _ => "http",
        };
        Some(Self { scheme, host, port })
    }

    /// Returns the same origin with the host name `localhost`, to which cookies and the realm's
    /// redirect URIs belong, or `None` if the host is not a loopback address.
    #[must_use]
    pub(crate) fn canonical(&self) -> Option<Self> {
        let is_loopback = matches!(self.host.as_str(), "127.0.0.1" | "[::1]");
        is_loopback.then(|| Self {
            host: "localhost".to_owned(),
            ..self.clone()
        })
    }

    /// Returns the port, or `None` if the `Host` header has none.
    #[must_use]
    pub(crate) const fn port(&self) -> Option<u16> {
        self.port
    }

    /// Returns the same scheme and host name with another port.
    #[must_use]
    pub(crate) fn with_port(&self, port: u16) -> Self {
        Self {
            port: Some(port),
            ..self.clone()
        }
    }

    /// Returns the origin as a text, e.g. `http://localhost:8081`.
    #[must_use]
    pub(crate) fn to_text(&self) -> String {
        let Self { scheme, host, port } = self;
        match port {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }
    }
}

fn split_authority(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let address: Ipv6Addr = address.parse().ok()?;
            (format!("[{address}]"), port)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let (host, port) = authority.split_at(end);
            (host.to_ascii_lowercase(), port)
        }
    };
    let port = match port {
        "" => None,
        port => {
            let digits = port.strip_prefix(':')?;
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            Some(digits.parse().ok().filter(|port| plain && *port > 0)?)
        }
    };
    (host.starts_with('[') || is_host_name(&host)).then_some((host, port))
}

/// Returns whether the host is labels of letters, digits, `-` and `_`, separated by single dots.
fn is_host_name(host: &str) -> bool {
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty() && !label.starts_with('-') && label.bytes().all(plain)
    };
    host.len() <= MAX_HOST_LENGTH && host.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    fn origin(host: &str, proto: Option<&str>) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).ok()?);
        if let Some(proto) = proto {
            headers.insert(FORWARDED_PROTO, HeaderValue::from_str(proto).ok()?);
        }
        RequestOrigin::from_headers(&headers).map(|origin| origin.to_text())
    }

    #[test]
    fn origin_keeps_the_host_name_of_the_request() {
        for (host, text) in [
            ("localhost:8081", "http://localhost:8081"),
            (
                "host.docker.internal:8081",
                "http://host.docker.internal:8081",
            ),
            ("LocalHost", "http://localhost"),
            ("127.0.0.1:8081", "http://127.0.0.1:8081"),
            ("[::1]:8081", "http://[::1]:8081"),
            ("my_host-1", "http://my_host-1"),
        ] {
            assert_eq!(origin(host, None).as_deref(), Some(text));
        }
    }

    #[test]
    fn scheme_is_the_first_value_of_x_forwarded_proto() {
        for (proto, text) in [
            ("https", "https://localhost"),
            ("HTTPS , http", "https://localhost"),
            ("http,https", "http://localhost"),
            ("javascript", "http://localhost"),
            ("", "http://localhost"),
        ] {
            assert_eq!(origin("localhost", Some(proto)).as_deref(), Some(text));
        }
    }

    #[test]
    fn invalid_host_header_gives_no_origin() {
        for host in [
            "",
            ":8081",
            "localhost:",
            "localhost:0",
            "localhost:70000",
            "localhost:+80",
            "localhost:80:80",
            "localhost/evil",
            "evil.example@localhost",
            "localhost:8081@evil.example",
            "localhost?x",
            "localhost#x",
            "local host",
            "localhost\\evil",
            "localhost%2eevil",
            "a..b",
            ".a",
            "-a",
            "[::1",
            "[::1]x",
            "[nonsense]",
            "\"><script>",
        ] {
            assert_eq!(origin(host, None), None, "{host:?}");
        }
        assert_eq!(origin(&"a".repeat(254), None), None);
    }

    #[test]
    fn two_host_headers_give_no_origin() {
        let host = |text| (header::HOST, HeaderValue::from_static(text));
        let headers: HeaderMap = [host("localhost"), host("evil.example")]
            .into_iter()
            .collect();
        assert_eq!(RequestOrigin::from_headers(&headers), None);
    }

    #[test]
    fn with_port_replaces_the_port() {
        let headers = HeaderMap::from_iter([(
            header::HOST,
            HeaderValue::from_static("host.docker.internal:8081"),
        )]);
        let origin = RequestOrigin::from_headers(&headers).unwrap();
        assert_eq!(
            origin.with_port(8080).to_text(),
            "http://host.docker.internal:8080"
        );
    }

    proptest! {
        #[test]
        fn accepted_host_parses_as_an_origin_without_other_parts(host in "[ -~]{0,30}") {
            if let Some(text) = origin(&host, None) {
                let url = Url::parse(&text);
                // A numeric host may be too large for an IP address: browsers reject it.
                if let Ok(url) = url {
                    prop_assert!(url.username().is_empty() && url.password().is_none());
                    prop_assert_eq!(url.path(), "/");
                    prop_assert!(url.query().is_none() && url.fragment().is_none());
                }
            }
        }
    }
}
