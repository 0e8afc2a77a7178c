//! Generates a typical compose file for the same stack.
//!
//! Images, environment, files, volumes, ports and dependencies are those of
//! the containers of `dm`, from the same specifications; health checks are
//! those of the documentation of the images. If several choices are usual,
//! the file uses the fastest for compose.

use std::path::{Path, PathBuf};

use dm_components::{keycloak, openldap, postgres, rabbitmq};
use dm_config::Config;
use dm_engine::spec::ContainerSpec;
use serde_json::{Map, Value, json};

use super::HealthChecks;
use crate::error::BenchError;

/// Seconds until a service without a successful check is unhealthy: the customary
/// 30 retries every 10 s, and the same time with more frequent checks.
const UNHEALTHY_AFTER_SECONDS: u32 = 300;

/// One service of the file.
#[derive(Debug)]
pub(super) struct ComposeService {
    /// The container specification of `dm`, with the image.
    pub(super) spec: ContainerSpec,
    /// The services that must be healthy before it starts.
    pub(super) depends_on: Vec<String>,
    /// Files that only compose needs.
    pub(super) extra_files: Vec<(String, String)>,
}

/// A file on the host that a container mounts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HostFile {
    /// The path on the host.
    pub(super) path: PathBuf,
    /// The content.
    pub(super) contents: Vec<u8>,
}

/// Renders the compose file, as JSON, which is valid YAML, and the files that it mounts.
pub(super) fn render(
    services: &[ComposeService],
    config: &Config,
    checks: HealthChecks,
    directory: &Path,
) -> Result<(String, Vec<HostFile>), BenchError> {
    let mut files = Vec::new();
    let mut rendered = Map::new();
    let mut volumes = Map::new();
    for service in services {
        let spec = &service.spec;
        let name = &spec.component;
        let mut mounts: Vec<String> = Vec::new();
        for mount in &spec.mounts {
            let volume = format!("{name}-data");
            mounts.push(format!("{volume}:{}", mount.path));
            volumes.insert(volume, json!({}));
        }
        let container_files = spec
            .files
            .iter()
            .map(|file| (file.path.clone(), file.contents.clone()))
            .chain(
                service
                    .extra_files
                    .iter()
                    .map(|(path, text)| (path.clone(), text.clone().into_bytes())),
            );
        for (path, contents) in container_files {
            let host = directory.join(name).join(path.trim_start_matches('/'));
            mounts.push(format!("{}:{path}:ro", host.display()));
            files.push(HostFile {
                path: host,
                contents,
            });
        }
        let ports: Vec<String> = spec
            .ports
            .iter()
            .map(|port| format!("127.0.0.1:{}:{}", port.host, port.container))
            .collect();
        let mut body = json!({
            "image": spec.image,
            "hostname": spec.hostname,
            "environment": escaped_environment(spec),
            "volumes": mounts,
            "ports": ports,
            "stop_grace_period": format!("{}s", spec.stop_timeout),
            "healthcheck": {
                "test": ["CMD-SHELL", escape_dollars(&health_check(name, config))],
                "interval": format!("{}s", checks.interval_seconds()),
                "timeout": "5s",
                "retries": UNHEALTHY_AFTER_SECONDS / checks.interval_seconds(),
            },
        });
        if !spec.command.is_empty() {
            body["command"] = spec
                .command
                .iter()
                .map(|argument| escape_dollars(argument))
                .collect();
        }
        if let Some(size) = spec.shm_size {
            body["shm_size"] = json!(size);
        }
        if let Some(size) = spec.memory {
            body["mem_limit"] = json!(size);
        }
        if !service.depends_on.is_empty() {
            body["depends_on"] = service
                .depends_on
                .iter()
                .map(|dependency| (dependency.clone(), json!({"condition": "service_healthy"})))
                .collect::<Map<_, _>>()
                .into();
        }
        rendered.insert(name.clone(), body);
    }
    let document = json!({"services": rendered, "volumes": volumes});
    let text = serde_json::to_string_pretty(&document).map_err(|error| BenchError::WriteFile {
        path: directory.to_owned(),
        source: error.into(),
    })?;
    Ok((text, files))
}

/// Doubles dollar signs, because compose replaces variables.
fn escape_dollars(text: &str) -> String {
    text.replace('$', "$$")
}

fn escaped_environment(spec: &ContainerSpec) -> Value {
    spec.env
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(escape_dollars(value))))
        .collect::<Map<_, _>>()
        .into()
}

/// Returns the health check of a component, a shell command in its container.
fn health_check(component: &str, config: &Config) -> String {
    match component {
        // Over TCP: during the initialisation of a first start, a server listens on
        // the socket, and Keycloak would be started too early.
        postgres::NAME => {
            "pg_isready -q -h 127.0.0.1 -U \"$POSTGRES_USER\" -d \"$POSTGRES_DB\"".into()
        }
        rabbitmq::NAME => "rabbitmq-diagnostics -q ping".into(),
        openldap::NAME => {
            let domain = config.openldap.domain.as_str();
            format!(
                "ldapsearch -x -LLL -H ldap://127.0.0.1 -D \"{}\" -y \"$LDAP_ADMIN_PASSWORD_FILE\" \
                 -b \"{}\" -s base dn",
                openldap::admin_dn(domain),
                openldap::base_dn(domain)
            )
        }
        // The image has no curl. From the documentation of Keycloak.
        keycloak::NAME => "bash -c 'exec 3<>/dev/tcp/127.0.0.1/9000 && \
             printf \"GET /health/ready HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n\" >&3 && \
             head -n 1 <&3 | grep -q \" 200 \"'"
            .into(),
        _ => "true".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use dm_config::LoadOptions;
    use dm_engine::spec::{ContainerFile, DigestKey, PublishedPort, VolumeMount};

    use super::*;

    fn service(component: &str, dependencies: &[&str]) -> ComposeService {
        ComposeService {
            spec: ContainerSpec {
                digest_key: DigestKey::default(),
                name: format!("dm-{component}"),
                component: component.into(),
                image: format!("dm/{component}:1"),
                recipe: String::new(),
                hostname: component.into(),
                env: BTreeMap::from([("PASSWORD".into(), "pa$word".into())]),
                command: vec!["serve".into(), "$HOME".into()],
                files: vec![ContainerFile::world_readable("/etc/it.conf", "price = $1")],
                mounts: vec![VolumeMount {
                    volume: "instance-data".into(),
                    path: "/data".into(),
                }],
                ports: vec![PublishedPort {
                    name: component.into(),
                    container: 80,
                    host: 4321,
                }],
                network: "dm".into(),
                memory: Some(1 << 30),
                shm_size: None,
                stop_timeout: 30,
                sysctls: BTreeMap::new(),
                host: None,
                labels: BTreeMap::new(),
            },
            depends_on: dependencies.iter().map(|&name| name.to_owned()).collect(),
            extra_files: Vec::new(),
        }
    }

    /// Returns the configuration of this repository.
    fn config() -> Config {
        let options = LoadOptions {
            project_dir: Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")),
            ..LoadOptions::default()
        };
        Config::load(&options, []).unwrap().config
    }

    fn rendered(services: &[ComposeService], checks: HealthChecks) -> (Value, Vec<HostFile>) {
        let config = config();
        let (text, files) = render(services, &config, checks, Path::new("/bench")).unwrap();
        (serde_json::from_str(&text).unwrap(), files)
    }

    #[test]
    fn render_converts_a_container_specification() {
        let services = [service("keycloak", &["postgres"])];
        let (document, files) = rendered(&services, HealthChecks::Customary);
        let mut keycloak = document["services"]["keycloak"].clone();
        keycloak["healthcheck"]["test"] = json!("…");
        assert_eq!(
            keycloak,
            json!({
                "image": "dm/keycloak:1",
                "hostname": "keycloak",
                "environment": {"PASSWORD": "pa$$word"},
                "command": ["serve", "$$HOME"],
                "volumes": [
                    "keycloak-data:/data",
                    "/bench/keycloak/etc/it.conf:/etc/it.conf:ro",
                ],
                "ports": ["127.0.0.1:4321:80"],
                "stop_grace_period": "30s",
                "mem_limit": 1 << 30,
                "depends_on": {"postgres": {"condition": "service_healthy"}},
                "healthcheck": {"test": "…", "interval": "10s", "timeout": "5s", "retries": 30},
            })
        );
        assert_eq!(document["volumes"], json!({"keycloak-data": {}}));
        // Compose does not replace variables in mounted files.
        assert_eq!(
            files,
            [HostFile {
                path: "/bench/keycloak/etc/it.conf".into(),
                contents: b"price = $1".to_vec(),
            }]
        );
    }

    #[test]
    fn tuned_file_differs_only_in_the_checks_and_has_the_same_timeout() {
        let services = [service("postgres", &[]), service("rabbitmq", &[])];
        let (mut customary, _) = rendered(&services, HealthChecks::Customary);
        let (tuned, _) = rendered(&services, HealthChecks::Tuned);
        for name in ["postgres", "rabbitmq"] {
            let check = &mut customary["services"][name]["healthcheck"];
            check["interval"] = json!("1s");
            check["retries"] = json!(300);
        }
        assert_eq!(customary, tuned);
    }

    #[test]
    fn health_check_exists_for_every_component() {
        let config = config();
        for component in dm_components::infrastructure_components(&config, Path::new("/")) {
            assert_ne!(health_check(component.name(), &config), "true");
        }
    }
}
