//! Ports, engine addresses and mirror URLs.

use std::borrow::Cow;
use std::num::NonZeroU16;

use dm_core::mask;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{InvalidValue, string_newtype};

/// A TCP port, 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64")]
pub struct PortNumber(NonZeroU16);

impl PortNumber {
    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl TryFrom<i64> for PortNumber {
    type Error = InvalidValue;

    fn try_from(number: i64) -> Result<Self, InvalidValue> {
        u16::try_from(number)
            .ok()
            .and_then(NonZeroU16::new)
            .map(Self)
            .ok_or_else(|| {
                InvalidValue::new(format!("{number} is not a port"))
                    .with_help("write a number from 1 to 65535")
            })
    }
}

impl std::fmt::Display for PortNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for PortNumber {
    fn schema_name() -> Cow<'static, str> {
        "Port".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "Port", "type": "integer", "minimum": 1, "maximum": 65535 })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// The address of a container engine's API, in the format of `DOCKER_HOST`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct EngineAddress(String);

string_newtype!(EngineAddress, validate_engine_address, title: "Engine address",
    pattern: "^(unix|npipe|tcp|http|https)://.+$");

impl std::fmt::Display for EngineAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn validate_engine_address(text: &str) -> Result<(), InvalidValue> {
    let example = "for example `unix:///var/run/docker.sock` or `tcp://127.0.0.1:2375`";
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(
            InvalidValue::new("an engine address begins with a scheme").with_help(
                if text.starts_with('/') {
                    format!("write `unix://{text}`")
                } else {
                    example.to_owned()
                },
            ),
        );
    };
    match scheme {
        _ if rest.is_empty() => {
            Err(InvalidValue::new("nothing follows the scheme of the address").with_help(example))
        }
        "unix" | "npipe" | "tcp" | "http" | "https" => Ok(()),
        "ssh" => Err(
            InvalidValue::new("an engine cannot be reached by SSH directly").with_help(
                "forward its socket: ssh -NL /tmp/engine.sock:/var/run/docker.sock HOST, \
                   then write `unix:///tmp/engine.sock`",
            ),
        ),
        _ => Err(
            InvalidValue::new(format!("`{scheme}` is not a scheme of an engine address"))
                .with_help(example),
        ),
    }
}

/// The URL of a package mirror. It may contain a user name and a password. `Debug`, `Display` and
/// `Serialize` mask the password.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct MirrorUrl(String);

string_newtype!(MirrorUrl, validate_mirror_url, title: "URL", pattern: "^https?://.+$");

impl std::fmt::Display for MirrorUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&mask::mask_url_passwords(&self.0))
    }
}

impl std::fmt::Debug for MirrorUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MirrorUrl({self})")
    }
}

impl Serialize for MirrorUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn validate_mirror_url(text: &str) -> Result<(), InvalidValue> {
    let url = url::Url::parse(text).map_err(|error| {
        InvalidValue::new(format!("not a URL: {error}"))
            .with_help("for example `https://mirror.example/debian`")
    })?;
    match url.scheme() {
        "http" | "https" => Ok(()),
        scheme => Err(InvalidValue::new(format!(
            "the scheme of a mirror is http or https, not `{scheme}`"
        ))
        .with_help("for example `https://mirror.example/debian`")),
    }
}

/// Scheme and host of front ends: `http://localhost`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct FrontEndHost(String);

string_newtype!(FrontEndHost, validate_front_end_host, title: "URL without a port",
    pattern: "^https?://[^/?#@]+/?$");

impl FrontEndHost {
    /// Returns the base URL of the front end on a port.
    #[must_use]
    pub fn with_port(&self, port: u16) -> String {
        format!("{}:{port}", self.0.trim_end_matches('/'))
    }
}

impl std::fmt::Display for FrontEndHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn validate_front_end_host(text: &str) -> Result<(), InvalidValue> {
    let example = "for example `http://localhost`; the ports are 3000, 3001 and 3002";
    let url = url::Url::parse(text)
        .map_err(|error| InvalidValue::new(format!("not a URL: {error}")).with_help(example))?;
    if !matches!(url.scheme(), "http" | "https") {
        let reason = format!("the scheme is http or https, not `{}`", url.scheme());
        return Err(InvalidValue::new(reason).with_help(example));
    }
    let plain = url
        .host_str()
        .map(|host| format!("{}://{host}", url.scheme()));
    if plain.as_deref() == Some(text.trim_end_matches('/')) {
        Ok(())
    } else {
        Err(
            InvalidValue::new("the URL consists of a scheme and a host, without port and path")
                .with_help(example),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_end_host_is_a_scheme_and_a_host() {
        for (text, url) in [
            ("http://localhost", "http://localhost:3000"),
            (
                "http://host.docker.internal/",
                "http://host.docker.internal:3000",
            ),
            ("https://[::1]", "https://[::1]:3000"),
        ] {
            let host: FrontEndHost = text.parse().unwrap();
            assert_eq!(host.with_port(3000), url);
        }
        for text in [
            "",
            "localhost",
            "http://",
            "ftp://localhost",
            "http://localhost:3000",
            "http://localhost:80",
            "http://localhost/portal",
            "http://localhost?a",
            "http://jim@localhost",
            "HTTP://localhost",
        ] {
            assert!(text.parse::<FrontEndHost>().is_err(), "{text}");
        }
    }
}
