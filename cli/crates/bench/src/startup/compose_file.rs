//! The compose file that somebody would write for the same stack.
//!
//! Same images, environment, files, volumes, ports and dependencies as `dm`
//! gives to the containers, read from the same specifications; health checks
//! as the images' own documentation proposes them. Where custom leaves a
//! choice, the one that is quicker for compose is taken.

use std::path::{Path, PathBuf};

use dm_components::{keycloak, openldap, postgres, rabbitmq};
use dm_config::Config;
use dm_engine::spec::ContainerSpec;
use serde_json::{Map, Value, json};

use super::HealthChecks;
use crate::error::BenchError;

/// Seconds until a service that doesn't answer counts as unhealthy: the customary
/// thirty retries of ten seconds, and the same time where checks come faster.
const UNHEALTHY_AFTER_SECONDS: u32 = 300;

/// One service of the file.
#[derive(Debug)]
pub(super) struct ComposeService {
    /// What its container is under `dm`; its image is set.
    pub(super) spec: ContainerSpec,
    /// The services that must be healthy before it starts.
    pub(super) depends_on: Vec<String>,
    /// Files that exist under compose alone.
    pub(super) extra_files: Vec<(String, String)>,
}

/// A file to be mounted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HostFile {
    /// Where it lies on the host.
    pub(super) path: PathBuf,
    /// What is in it.
    pub(super) contents: Vec<u8>,
}

/// The file, which is JSON and so YAML, and the files that it mounts.
pub(super) fn render(
    services: &[ComposeService],
    config: &Config,
    checks: HealthChecks,
    folder: &Path,
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
        let inside = spec
            .files
            .iter()
            .map(|file| (file.path.clone(), file.contents.clone()))
            .chain(
                service
                    .extra_files
                    .iter()
                    .map(|(path, text)| (path.clone(), text.clone().into_bytes())),
            );
        for (path, contents) in inside {
            let host = folder.join(name).join(path.trim_start_matches('/'));
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
                .map(|word| escape_dollars(word))
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
                .map(|before| (before.clone(), json!({"condition": "service_healthy"})))
                .collect::<Map<_, _>>()
                .into();
        }
        rendered.insert(name.clone(), body);
    }
    let document = json!({"services": rendered, "volumes": volumes});
    let text = serde_json::to_string_pretty(&document).map_err(|error| BenchError::WriteFile {
        path: folder.to_owned(),
        source: error.into(),
    })?;
    Ok((text, files))
}

/// Compose replaces variables; what is meant as it stands has its dollars doubled.
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

/// The health check of a component, as a shell command in its container.
fn health_check(component: &str, config: &Config) -> String {
    match component {
        // By TCP: while the first start initialises, a server answers on the
        // socket, and Keycloak would be started against it too early.
        postgres::NAME => {
            "pg_isready -q -h 127.0.0.1 -U \"$POSTGRES_USER\" -d \"$POSTGRES_DB\"".into()
        }
        rabbitmq::NAME => "rabbitmq-diagnostics -q ping".into(),
        openldap::NAME => {
            let domain = config.openldap.domain.as_str();
            format!(
                "ldapsearch -x -LLL -H ldap://127.0.0.1 -D \"{}\" -w \"$LDAP_ADMIN_PASSWORD\" \
                 -b \"{}\" -s base dn",
                openldap::admin_dn(domain),
                openldap::base_dn(domain)
            )
        }
        // The image has no curl: what Keycloak's own documentation does.
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

    fn service(component: &str, after: &[&str]) -> ComposeService {
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
            depends_on: after.iter().map(|&name| name.to_owned()).collect(),
            extra_files: Vec::new(),
        }
    }

    /// The project's own configuration.
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
    fn a_service_is_what_its_container_is() {
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
        // What is mounted is not for compose to replace variables in.
        assert_eq!(
            files,
            [HostFile {
                path: "/bench/keycloak/etc/it.conf".into(),
                contents: b"price = $1".to_vec(),
            }]
        );
    }

    #[test]
    fn the_tuned_file_differs_in_the_checks_alone_and_is_as_patient() {
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
    fn every_component_of_the_stack_has_a_check_of_its_own() {
        let config = config();
        for component in dm_components::infrastructure_components(&config, Path::new("/")) {
            assert_ne!(health_check(component.name(), &config), "true");
        }
    }
}
