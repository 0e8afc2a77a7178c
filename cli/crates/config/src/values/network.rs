//! Ports, and addresses of engines and mirrors.

use std::borrow::Cow;
use std::num::NonZeroU16;

use dm_core::mask;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Refusal, text_value};

/// A TCP port, 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64")]
pub struct Port(NonZeroU16);

impl Port {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl TryFrom<i64> for Port {
    type Error = Refusal;

    fn try_from(number: i64) -> Result<Self, Refusal> {
        u16::try_from(number)
            .ok()
            .and_then(NonZeroU16::new)
            .map(Self)
            .ok_or_else(|| {
                Refusal::new(format!("{number} is not a port"))
                    .help("write a number from 1 to 65535")
            })
    }
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for Port {
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

/// The address of a container engine's API, as `DOCKER_HOST` has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct EngineAddress(String);

text_value!(EngineAddress, engine_address, title: "Engine address",
    pattern: "^(unix|npipe|tcp|http|https)://.+$");

impl std::fmt::Display for EngineAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn engine_address(text: &str) -> Result<(), Refusal> {
    let example = "for example `unix:///var/run/docker.sock` or `tcp://127.0.0.1:2375`";
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(Refusal::new("an engine address begins with a scheme").help(
            if text.starts_with('/') {
                format!("write `unix://{text}`")
            } else {
                example.to_owned()
            },
        ));
    };
    match scheme {
        _ if rest.is_empty() => {
            Err(Refusal::new("nothing follows the scheme of the address").help(example))
        }
        "unix" | "npipe" | "tcp" | "http" | "https" => Ok(()),
        "ssh" => Err(
            Refusal::new("an engine cannot be reached by SSH directly").help(
                "forward its socket: ssh -NL /tmp/engine.sock:/var/run/docker.sock HOST, \
                   then write `unix:///tmp/engine.sock`",
            ),
        ),
        _ => Err(
            Refusal::new(format!("`{scheme}` is not a scheme of an engine address")).help(example),
        ),
    }
}

/// The URL of a mirror of packages. It may hold a user name and a password,
/// which are left out wherever it is displayed.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct MirrorUrl(String);

text_value!(MirrorUrl, mirror_url, title: "URL", pattern: "^https?://.+$");

impl std::fmt::Display for MirrorUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&mask::urls(&self.0))
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

fn mirror_url(text: &str) -> Result<(), Refusal> {
    let url = url::Url::parse(text).map_err(|error| {
        Refusal::new(format!("not a URL: {error}"))
            .help("for example `https://mirror.example/debian`")
    })?;
    match url.scheme() {
        "http" | "https" => Ok(()),
        scheme => Err(Refusal::new(format!(
            "a mirror is reached by http or https, not `{scheme}`"
        ))
        .help("for example `https://mirror.example/debian`")),
    }
}
