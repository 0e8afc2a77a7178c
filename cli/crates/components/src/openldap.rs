//! OpenLDAP: the users and groups of Dunder Mifflin.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dm_config::Config;
use dm_engine::spec::{ContainerFile, ContainerSpec, VolumeMount};
use dm_host::line_endings::to_unix_line_endings;
use ldap3::{LdapConnAsync, LdapConnSettings, LdapError, Scope, SearchEntry};

use super::client_location::ClientLocation;
use super::{
    Component, ComponentError, GoldenData, HostPorts, InstanceLayout, Misconfiguration, PortSpec,
    ProbeError, ProbeFuture, base_container_spec,
};

/// The component's name.
pub const NAME: &str = "openldap";

/// The port in its container.
const PORT: u16 = 389;

const DATA_DIR: &str = "/var/lib/ldap";

/// The user whose entry proves that the tree is loaded: the contract's probe.
const PROBE_USER: &str = "jhalpert";

/// LDAP's result code for a wrong password.
const INVALID_CREDENTIALS: u32 = 49;

/// OpenLDAP.
#[derive(Debug, Clone)]
pub struct OpenLdap {
    config: dm_config::OpenLdapConfig,
}

impl OpenLdap {
    /// Creates the component from the configuration.
    #[must_use]
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            config: config.openldap.clone(),
        }
    }
}

/// Returns the distinguished name of a domain: `dundermifflin.com` → `dc=dundermifflin,dc=com`.
#[must_use]
pub fn base_dn(domain: &str) -> String {
    domain
        .split('.')
        .map(|label| format!("dc={label}"))
        .collect::<Vec<_>>()
        .join(",")
}

/// Returns the URL of the directory.
#[must_use]
pub fn ldap_url(location: ClientLocation<'_>) -> String {
    format!(
        "ldap://{}",
        location.server_address(NAME, "127.0.0.1", NAME, PORT)
    )
}

/// Returns the distinguished name of the administrator.
#[must_use]
pub fn admin_dn(domain: &str) -> String {
    format!("cn=admin,{}", base_dn(domain))
}

impl Component for OpenLdap {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ports(&self) -> Vec<PortSpec> {
        vec![PortSpec {
            name: NAME,
            container_port: PORT,
            host_port: self.config.port.get(),
        }]
    }

    fn container_spec(&self, layout: &InstanceLayout<'_>) -> Result<ContainerSpec, ComponentError> {
        let mut spec = base_container_spec(self, layout);
        spec.env.extend([
            (
                "LDAP_ORGANISATION".into(),
                self.config.organisation.to_string(),
            ),
            ("LDAP_DOMAIN".into(), self.config.domain.to_string()),
        ]);
        spec.files = ldif_files(layout, self.config.ldif.as_path())?;
        // The entrypoint reads them as root.
        for (name, secret) in [
            ("LDAP_ADMIN_PASSWORD", &self.config.admin_password),
            ("LDAP_CONFIG_PASSWORD", &self.config.config_password),
        ] {
            spec.add_secret_file(name, 0, secret.reveal());
        }
        spec.mounts.push(VolumeMount {
            volume: layout.instance.volume_name(NAME),
            path: DATA_DIR.into(),
        });
        spec.memory = self.config.memory.map(|size| size.bytes());
        Ok(spec)
    }

    fn probe(&self, ports: &HostPorts) -> ProbeFuture {
        let url = ldap_url(ClientLocation::Host(ports));
        let (base, admin) = (
            base_dn(self.config.domain.as_str()),
            admin_dn(self.config.domain.as_str()),
        );
        let password = self.config.admin_password.reveal().to_owned();
        Box::pin(async move {
            let count = async {
                let settings = LdapConnSettings::new().set_conn_timeout(Duration::from_secs(2));
                let (connection, mut ldap) = LdapConnAsync::with_settings(settings, &url).await?;
                ldap3::drive!(connection);
                ldap.simple_bind(&admin, &password).await?.success()?;
                let filter = format!("(uid={PROBE_USER})");
                let (entries, _) = ldap
                    .search(&base, Scope::Subtree, &filter, vec!["uid"])
                    .await?
                    .success()?;
                ldap.unbind().await?;
                Ok::<_, LdapError>(entries.into_iter().map(SearchEntry::construct).count())
            };
            match count.await {
                Ok(0) => Err(format!("the directory has no user {PROBE_USER} yet").into()),
                Ok(_) => Ok(()),
                Err(LdapError::LdapResult { result }) if result.rc == INVALID_CREDENTIALS => {
                    Err(ProbeError::Misconfigured(bind_misconfiguration(&admin)))
                }
                Err(error) => Err(error.to_string().into()),
            }
        })
    }

    fn addresses(&self, ports: &HostPorts) -> Vec<String> {
        vec![ldap_url(ClientLocation::Host(ports))]
    }

    fn golden_data(&self) -> Option<GoldenData> {
        Some(GoldenData::InPlace(DATA_DIR))
    }

    fn wait_timeout(&self) -> Option<Duration> {
        self.config
            .wait_timeout
            .map(|timeout| timeout.as_duration())
    }
}

/// Returns the misconfiguration of a directory that rejects its administrator's password.
fn bind_misconfiguration(admin: &str) -> Misconfiguration {
    Misconfiguration {
        problem: format!("OpenLDAP rejects the password of {admin} (openldap.admin_password)"),
        suggestions: vec!["set the password of dm.toml again: dm restart openldap".into()],
    }
}

/// Reads the `.ldif` files of a directory, sorted by name, for the paths of the image.
fn ldif_files(
    layout: &InstanceLayout<'_>,
    directory: &Path,
) -> Result<Vec<ContainerFile>, ComponentError> {
    let key = "openldap.ldif";
    let directory = layout.root.join(directory);
    let unreadable = |path: &Path, error| ComponentError::UnreadableFile {
        path: path.to_owned(),
        key,
        source: Arc::new(error),
    };
    let failed = |error| unreadable(&directory, error);
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(&directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "ldif")
        {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(ComponentError::InvalidFile {
            path: directory,
            reason: "the directory has no .ldif file".into(),
        });
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let contents = std::fs::read(&path).map_err(|error| unreadable(&path, error))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let path = format!("/container/ldif/{name}");
            Ok(ContainerFile::world_readable(
                path,
                to_unix_line_endings(&contents),
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use dm_core::instance::Instance;

    use super::*;

    #[test]
    fn ldif_files_of_a_checkout_with_crlf_have_lf() {
        let root = tempfile::tempdir().unwrap();
        let text = "dn: uid=jhalpert\r\n\r\ndn: uid=pbeesly\r\n";
        std::fs::write(root.path().join("10-users.ldif"), text).unwrap();
        std::fs::write(root.path().join("README.md"), "# Users\r\n").unwrap();
        let instance = Instance::new("p", "default", root.path()).unwrap();
        let ports = HostPorts::new();
        let layout = InstanceLayout {
            instance: &instance,
            ports: &ports,
            root: root.path(),
            state_dir: root.path(),
        };
        let files = ldif_files(&layout, Path::new(".")).unwrap();
        let users = ContainerFile::world_readable(
            "/container/ldif/10-users.ldif",
            "dn: uid=jhalpert\n\ndn: uid=pbeesly\n",
        );
        assert_eq!(files, [users]);
    }

    #[test]
    fn base_dn_has_a_component_per_label() {
        assert_eq!(base_dn("dundermifflin.com"), "dc=dundermifflin,dc=com");
        assert_eq!(
            admin_dn("dundermifflin.com"),
            "cn=admin,dc=dundermifflin,dc=com"
        );
    }
}
