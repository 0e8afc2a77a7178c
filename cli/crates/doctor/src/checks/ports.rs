//! Check of the ports that the stack uses.

use std::collections::BTreeMap;

use dm_core::config_keys::port_key;
use dm_core::error::UserError;
use dm_core::instance::DEFAULT_INSTANCE;
use dm_engine::Engine;
use dm_engine::published_ports::PortPublisher;
use dm_host::ports::{self, PortError, PortOwner};

use crate::{DoctorFinding, DoctorInput};

/// The availability of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
enum PortAvailability {
    Free,
    OwnStack,
    Taken {
        owner: Option<PortOwner>,
        container: Option<String>,
    },
}

/// Checks for each port whether it is free, used by this stack, or taken by another owner.
pub(crate) async fn check_ports(
    engine: Option<&Engine>,
    input: &DoctorInput,
) -> Vec<DoctorFinding> {
    let remote = engine.is_some_and(|engine| !engine.discovery().address.starts_with("unix://"));
    if remote {
        return vec![DoctorFinding::skipped(
            "ports",
            "the engine is on another machine",
        )];
    }
    let published = match engine {
        Some(engine) => engine.list_published_ports().await.unwrap_or_default(),
        None => BTreeMap::new(),
    };
    let mut findings = Vec::new();
    for (component, port) in &input.ports {
        let port = *port;
        let publisher = published.get(&port).cloned();
        let availability = match publisher {
            Some(publisher) => classify_container(&publisher, input),
            // Finding the listener reads every process: a blocking task.
            None => tokio::task::spawn_blocking(move || classify_process(port))
                .await
                .unwrap_or(PortAvailability::Free),
        };
        findings.push(port_finding(component, port, availability, &input.instance));
    }
    findings
}

fn classify_container(publisher: &PortPublisher, input: &DoctorInput) -> PortAvailability {
    let is_own_stack = publisher.project.as_deref() == Some(&input.project)
        && publisher.instance.as_deref() == Some(&input.instance);
    if is_own_stack {
        PortAvailability::OwnStack
    } else {
        PortAvailability::Taken {
            owner: None,
            container: Some(publisher.container.clone()),
        }
    }
}

fn classify_process(port: u16) -> PortAvailability {
    if ports::is_free(port) {
        return PortAvailability::Free;
    }
    PortAvailability::Taken {
        owner: ports::find_port_owner(port),
        container: None,
    }
}

fn port_finding(
    component: &str,
    port: u16,
    availability: PortAvailability,
    instance: &str,
) -> DoctorFinding {
    let name = format!("port {port}");
    let key = port_key(component);
    match availability {
        PortAvailability::Free => DoctorFinding::ok(name, format!("free for {component} ({key})")),
        PortAvailability::OwnStack => {
            let detail = format!("in use by {component} of this stack ({key})");
            DoctorFinding::ok(name, detail)
        }
        PortAvailability::Taken { owner, container } => {
            let command = owner
                .as_ref()
                .filter(|_| container.is_none())
                .map(|owner| format!(": {}", shorten_command(&owner.command)))
                .unwrap_or_default();
            let taken = ports::describe_taken(owner.as_ref(), container.as_deref());
            let error = PortError::Taken {
                port,
                component: component.to_owned(),
                owner,
                container,
            };
            let suggestions = if instance == DEFAULT_INSTANCE {
                error.suggestions()
            } else {
                // A named instance has its own ports, which no key sets.
                vec![format!("choose another port: dm up --instance {instance}")]
            };
            // The name of the finding already contains the port.
            let detail = format!("required by {component}, {taken}{command}");
            DoctorFinding::error(name, detail, suggestions)
        }
    }
}

/// Masks and truncates a command line, which may be long and contain secrets.
fn shorten_command(command: &str) -> String {
    const MAX_LENGTH: usize = 80;
    let masked = dm_core::mask::Masker::default().mask_text(command);
    if masked.chars().count() <= MAX_LENGTH {
        return masked;
    }
    masked.chars().take(MAX_LENGTH).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_finding_suggests_an_action_per_owner() {
        let owner = PortOwner {
            pid: 4211,
            name: "postgres".into(),
            command: "/usr/lib/postgresql/17/bin/postgres -D /data --password=geheim".into(),
        };
        let taken = |owner, container: Option<&str>| PortAvailability::Taken {
            owner,
            container: container.map(str::to_owned),
        };
        let text: Vec<String> = [
            port_finding("postgres", 5432, PortAvailability::Free, DEFAULT_INSTANCE),
            port_finding(
                "postgres",
                5432,
                PortAvailability::OwnStack,
                DEFAULT_INSTANCE,
            ),
            port_finding("postgres", 5432, taken(Some(owner), None), DEFAULT_INSTANCE),
            port_finding(
                "postgres",
                5432,
                taken(None, Some("shop-db-1")),
                DEFAULT_INSTANCE,
            ),
            port_finding("postgres", 5432, taken(None, None), DEFAULT_INSTANCE),
            port_finding("order", 8093, taken(None, None), DEFAULT_INSTANCE),
            port_finding("order", 24093, taken(None, None), "review"),
        ]
        .into_iter()
        .map(|finding| format!("{}: {} {:?}", finding.name, finding.detail, finding.next))
        .collect();
        insta::assert_snapshot!(text.join("\n"), @r#"
        port 5432: free for postgres (postgres.port) []
        port 5432: in use by postgres of this stack (postgres.port) []
        port 5432: required by postgres, taken by postgres (pid 4211): /usr/lib/postgresql/17/bin/postgres -D /data --password=*** ["let dm choose free ports: dm up --ports auto", "or stop it: kill 4211", "or set another port in dm.toml: postgres.port"]
        port 5432: required by postgres, taken by container shop-db-1 ["let dm choose free ports: dm up --ports auto", "or stop it: docker stop shop-db-1", "or set another port in dm.toml: postgres.port"]
        port 5432: required by postgres, taken by an unknown process ["let dm choose free ports: dm up --ports auto", "or identify the process as root: sudo dm doctor", "or set another port in dm.toml: postgres.port"]
        port 8093: required by order, taken by an unknown process ["let dm choose free ports: dm up --ports auto", "or identify the process as root: sudo dm doctor", "or set another port in dm.toml: services.order.port"]
        port 24093: required by order, taken by an unknown process ["choose another port: dm up --instance review"]
        "#);
    }
}
