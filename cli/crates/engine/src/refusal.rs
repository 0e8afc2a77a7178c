//! Classifies the refusals of the engine, which consist of a status and a text.

use std::net::Ipv4Addr;

use bollard::errors::Error;

/// The reason why the engine refused a call, as far as callers distinguish it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineRefusal {
    /// A port of the host is taken. Contains the port if the engine names it.
    PortTaken(Option<u16>),
    /// Another container has the name.
    NameTaken,
    /// The image does not exist.
    ImageMissing,
    /// The object, or the file in it, does not exist.
    NotFound,
    /// The engine's disk is full.
    DiskFull,
    /// Another client removed an image while the builder searched its cache.
    CachedImageRemoved,
    /// Any other reason, which only the text contains.
    Other,
}

impl EngineRefusal {
    /// Returns the reason of an error, if it is an answer of the engine.
    pub(crate) fn from_error(error: &Error) -> Option<Self> {
        match error {
            Error::DockerResponseServerError {
                status_code,
                message,
            } => Some(Self::classify(Some(*status_code), message)),
            Error::DockerStreamError { error } => Some(Self::classify(None, error)),
            _ => None,
        }
    }

    /// Classifies a status and the texts of Docker and Podman.
    fn classify(status: Option<u16>, text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        let contains_any = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
        match status {
            Some(404) if contains_any(&["no such image", "image not known"]) => Self::ImageMissing,
            Some(404) => Self::NotFound,
            Some(409) if contains_any(&["already in use"]) => Self::NameTaken,
            _ if contains_any(&["port is already allocated", "address already in use"]) => {
                Self::PortTaken(parse_port(&text))
            }
            _ if contains_any(&["no space left on device"]) => Self::DiskFull,
            // A stream has no status: the classic builder reports a failed step.
            None if contains_any(&[
                "unable to find image \"sha256:",
                "no such image: sha256:",
                "unknown parent image id",
                "layer does not exist",
            ]) =>
            {
                Self::CachedImageRemoved
            }
            _ => Self::Other,
        }
    }
}

/// Returns the port of the first address in a text, e.g. of `listen tcp4 127.0.0.1:5432: bind: …`,
/// otherwise the number after the word `port`, as in `Failed to bind port 5432`.
fn parse_port(text: &str) -> Option<u16> {
    let address = text.split_whitespace().find_map(|word| {
        let parts: Vec<&str> = word.split(':').collect();
        parts.windows(2).find_map(|pair| {
            let [address, port] = pair else {
                return None;
            };
            address.parse::<Ipv4Addr>().ok()?;
            // The protocol may follow: `5432/tcp`.
            port.split('/').next()?.parse().ok()
        })
    });
    let after_keyword = || {
        let mut words = text.split_whitespace();
        words.find(|word| *word == "port")?;
        words.next()?.parse().ok()
    };
    address.or_else(after_keyword)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classify_extracts_the_taken_port() {
        for text in [
            "driver failed programming external connectivity on endpoint dm-x-postgres (0af3): \
             Bind for 127.0.0.1:5432 failed: port is already allocated",
            "failed to set up container networking: driver failed programming external \
             connectivity on endpoint dm-x-postgres (0af3): failed to bind host port for \
             127.0.0.1:5432:172.18.0.2:5432/tcp: address already in use",
            "failed to bind host port 127.0.0.1:5432/tcp: address already in use",
            "Error starting userland proxy: listen tcp4 127.0.0.1:5432: bind: address already in \
             use",
            "rootlessport listen tcp 127.0.0.1:5432: bind: address already in use",
            "pasta failed with exit code 1: Failed to bind port 5432 (Address already in use) \
             for option '-t 127.0.0.1/5432-5432:5432-5432'",
        ] {
            let refusal = EngineRefusal::classify(Some(500), text);
            assert_eq!(refusal, EngineRefusal::PortTaken(Some(5432)), "{text}");
        }
        assert_eq!(
            EngineRefusal::classify(Some(500), "bind: address already in use"),
            EngineRefusal::PortTaken(None)
        );
    }

    #[test]
    fn classify_combines_status_and_text() {
        let cases = [
            (
                404,
                "No such image: dm/postgres:1",
                EngineRefusal::ImageMissing,
            ),
            (
                404,
                "dm/postgres:1: image not known",
                EngineRefusal::ImageMissing,
            ),
            (404, "No such container: x", EngineRefusal::NotFound),
            (
                409,
                "Conflict. The container name \"/x\" is already in use by container \"0af3\"",
                EngineRefusal::NameTaken,
            ),
            (
                409,
                "removal of container x is already in progress",
                EngineRefusal::Other,
            ),
            (
                500,
                "write /x: no space left on device",
                EngineRefusal::DiskFull,
            ),
            (500, "something else", EngineRefusal::Other),
        ];
        for (status, text, refusal) in cases {
            assert_eq!(
                EngineRefusal::classify(Some(status), text),
                refusal,
                "{text}"
            );
        }
    }

    #[test]
    fn connection_error_is_not_a_refusal() {
        assert_eq!(EngineRefusal::from_error(&Error::RequestTimeoutError), None);
        let stream_error = Error::DockerStreamError {
            error: "no space left on device".into(),
        };
        assert_eq!(
            EngineRefusal::from_error(&stream_error),
            Some(EngineRefusal::DiskFull)
        );
    }

    #[test]
    fn classify_recognises_an_image_that_was_removed_during_a_build() {
        for (status, text, expected) in [
            (
                None,
                "unable to find image \"sha256:9e1cd83501c84ede\"",
                EngineRefusal::CachedImageRemoved,
            ),
            (
                None,
                "The command '/bin/sh -c make' returned a non-zero code: 2",
                EngineRefusal::Other,
            ),
            (
                Some(404),
                "No such image: sha256:9e1cd83501c84ede",
                EngineRefusal::ImageMissing,
            ),
        ] {
            assert_eq!(EngineRefusal::classify(status, text), expected, "{text}");
        }
    }
}
