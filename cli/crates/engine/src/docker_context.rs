//! Docker contexts: the endpoints that `docker context use` chooses among.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// The certificates of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsCertificates {
    /// The directory that holds `ca.pem`, `cert.pem` and `key.pem`.
    pub directory: PathBuf,
}

/// Where a context leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// The address, as in `DOCKER_HOST`.
    pub address: String,
    /// The certificates, where it is reached by TLS.
    pub tls: Option<TlsCertificates>,
}

/// Docker's configuration directory: `$DOCKER_CONFIG` or `~/.docker`.
pub(super) fn docker_config_dir() -> Option<PathBuf> {
    std::env::var_os("DOCKER_CONFIG")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".docker")))
}

/// The context that is current in the configuration `directory`, unless it is
/// the built-in default one.
pub(super) fn current_context(directory: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(rename = "currentContext")]
        current: Option<String>,
    }
    // A damaged file keeps `docker` itself from working; here the default
    // socket may still answer.
    let text = std::fs::read(directory.join("config.json")).ok()?;
    let config: Config = serde_json::from_slice(&text).ok()?;
    config.current.filter(|name| is_custom_context(name))
}

/// Whether `name` is a context of its own, not the built-in one.
pub(super) fn is_custom_context(name: &str) -> bool {
    !name.is_empty() && name != "default"
}

/// Reads where the context `name` leads.
///
/// # Errors
/// One sentence on why that isn't known.
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

    /// What `docker context create` makes.
    fn context(directory: &Path, name: &str, meta: &str) -> String {
        let id = HEXLOWER.encode(&Sha256::digest(name));
        let at = directory.join("contexts/meta").join(&id);
        std::fs::create_dir_all(&at).unwrap();
        std::fs::write(at.join("meta.json"), meta).unwrap();
        id
    }

    #[test]
    fn a_context_leads_where_its_meta_file_says() {
        let dir = tempfile::tempdir().unwrap();
        let meta = r#"{"Name":"lab","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://192.0.2.5:2376","SkipTLSVerify":false}}}"#;
        let id = context(dir.path(), "lab", meta);
        let found = read_endpoint(dir.path(), "lab").unwrap();
        assert_eq!(found.address, "tcp://192.0.2.5:2376");
        assert_eq!(found.tls, None);
        let tls = dir.path().join("contexts/tls").join(id).join("docker");
        std::fs::create_dir_all(&tls).unwrap();
        std::fs::write(tls.join("ca.pem"), "").unwrap();
        let found = read_endpoint(dir.path(), "lab").unwrap();
        assert_eq!(found.tls.unwrap().directory, tls);
    }

    #[test]
    fn what_is_wrong_with_a_context_is_told() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            read_endpoint(dir.path(), "x").unwrap_err(),
            "no such context"
        );
        context(dir.path(), "x", r#"{"Endpoints":{}}"#);
        assert_eq!(
            read_endpoint(dir.path(), "x").unwrap_err(),
            "the context has no Docker endpoint"
        );
        context(dir.path(), "x", "{");
        assert!(
            read_endpoint(dir.path(), "x")
                .unwrap_err()
                .contains("meta.json: ")
        );
    }

    #[test]
    fn the_current_context_is_read_from_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(current_context(dir.path()), None);
        let write = |text| std::fs::write(dir.path().join("config.json"), text).unwrap();
        write(r#"{"auths":{},"currentContext":"rootless"}"#);
        assert_eq!(current_context(dir.path()).as_deref(), Some("rootless"));
        write(r#"{"currentContext":"default"}"#);
        assert_eq!(current_context(dir.path()), None);
    }
}
