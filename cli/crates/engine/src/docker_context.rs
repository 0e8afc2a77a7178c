//! Docker contexts: the endpoints that `docker context use` selects.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// The TLS certificates of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsCertificates {
    /// The directory that contains `ca.pem`, `cert.pem` and `key.pem`.
    pub directory: PathBuf,
}

/// The endpoint of a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// The address, as in `DOCKER_HOST`.
    pub address: String,
    /// The certificates, if the connection uses TLS.
    pub tls: Option<TlsCertificates>,
}

/// Returns Docker's configuration directory: `$DOCKER_CONFIG` or `~/.docker`.
pub(super) fn docker_config_dir() -> Option<PathBuf> {
    std::env::var_os("DOCKER_CONFIG")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".docker")))
}

/// Returns the current context of the configuration `directory`, unless it is the built-in
/// default one.
pub(super) fn current_context(directory: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(rename = "currentContext")]
        current: Option<String>,
    }
    // A damaged file prevents `docker` itself from working; the default socket may still
    // answer.
    let text = std::fs::read(directory.join("config.json")).ok()?;
    let config: Config = serde_json::from_slice(&text).ok()?;
    config.current.filter(|name| is_custom_context(name))
}

/// Returns whether `name` is a user-defined context, not the built-in one.
pub(super) fn is_custom_context(name: &str) -> bool {
    !name.is_empty() && name != "default"
}

/// Reads the endpoint of the context `name`.
///
/// # Errors
/// Returns the reason in one sentence if the context is missing or invalid.
pub(super) fn read_endpoint(directory: &Path, name: &str) -> Result<Endpoint, String> {
    #[derive(Deserialize)]
    struct Meta {
        #[serde(rename = "Endpoints")]
        endpoints: Endpoints,
    }
    #[derive(Deserialize)]
    struct Endpoints {
        docker: Option<Docker>,
    }
    #[derive(Deserialize)]
    struct Docker {
        #[serde(rename = "Host")]
        host: Option<String>,
    }
    let id = HEXLOWER.encode(&Sha256::digest(name));
    let contexts = directory.join("contexts");
    let path = contexts.join("meta").join(&id).join("meta.json");
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err("no such context".into());
        }
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let meta: Meta = serde_json::from_slice(&text)
        .map_err(|error| format!("could not parse {}: {error}", path.display()))?;
    let address = meta
        .endpoints
        .docker
        .and_then(|docker| docker.host)
        .filter(|host| !host.is_empty())
        .ok_or("the context has no Docker endpoint")?;
    let tls = contexts.join("tls").join(&id).join("docker");
    Ok(Endpoint {
        address,
        tls: tls
            .join("ca.pem")
            .exists()
            .then_some(TlsCertificates { directory: tls }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a context as `docker context create` does. Returns its id.
    fn create_context(directory: &Path, name: &str, meta: &str) -> String {
        let id = HEXLOWER.encode(&Sha256::digest(name));
        let meta_dir = directory.join("contexts/meta").join(&id);
        std::fs::create_dir_all(&meta_dir).unwrap();
        std::fs::write(meta_dir.join("meta.json"), meta).unwrap();
        id
    }

    #[test]
    fn read_endpoint_returns_address_and_tls_of_the_context() {
        let dir = tempfile::tempdir().unwrap();
        let meta = r#"{"Name":"lab","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://192.0.2.5:2376","SkipTLSVerify":false}}}"#;
        let id = create_context(dir.path(), "lab", meta);
        let endpoint = read_endpoint(dir.path(), "lab").unwrap();
        assert_eq!(endpoint.address, "tcp://192.0.2.5:2376");
        assert_eq!(endpoint.tls, None);
        let tls = dir.path().join("contexts/tls").join(id).join("docker");
        std::fs::create_dir_all(&tls).unwrap();
        std::fs::write(tls.join("ca.pem"), "").unwrap();
        let endpoint = read_endpoint(dir.path(), "lab").unwrap();
        assert_eq!(endpoint.tls.unwrap().directory, tls);
    }

    #[test]
    fn read_endpoint_reports_missing_and_invalid_contexts() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            read_endpoint(dir.path(), "x").unwrap_err(),
            "no such context"
        );
        create_context(dir.path(), "x", r#"{"Endpoints":{}}"#);
        assert_eq!(
            read_endpoint(dir.path(), "x").unwrap_err(),
            "the context has no Docker endpoint"
        );
        create_context(dir.path(), "x", "{");
        assert!(
            read_endpoint(dir.path(), "x")
                .unwrap_err()
                .contains("meta.json: ")
        );
    }

    #[test]
    fn current_context_is_read_from_the_configuration_file() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(current_context(dir.path()), None);
        let write = |text| std::fs::write(dir.path().join("config.json"), text).unwrap();
        write(r#"{"auths":{},"currentContext":"rootless"}"#);
        assert_eq!(current_context(dir.path()).as_deref(), Some("rootless"));
        write(r#"{"currentContext":"default"}"#);
        assert_eq!(current_context(dir.path()), None);
    }
}
