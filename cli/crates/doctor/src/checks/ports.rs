//! The ports that the stack wants.

use std::collections::BTreeMap;

use dm_core::error::Coded;
use dm_core::instance::DEFAULT;
use dm_core::keys::port_key;
use dm_engine::Engine;
use dm_engine::published::Publisher;
use dm_host::ports::{self, Owner, PortError};

use crate::{Finding, Subject};

/// What is known of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Use {
    Free,
    Ours,
    Taken {
        owner: Option<Owner>,
        container: Option<String>,
    },
}

/// Each port: free, ours, or whose.
pub(crate) async fn ports(engine: Option<&Engine>, subject: &Subject) -> Vec<Finding> {
    let remote = engine.is_some_and(|engine| !engine.found().address.starts_with("unix://"));
    if remote {
        return vec![Finding::skipped(
            "ports",
            "the engine is on another machine",
        )];
    }
    let published = match engine {
        Some(engine) => engine.published_ports().await.unwrap_or_default(),
        None => BTreeMap::new(),
    };
    let mut findings = Vec::new();
    for (component, port) in &subject.ports {
        let port = *port;
        let publisher = published.get(&port).cloned();
        let found = match publisher {
            Some(publisher) => by_container(&publisher, subject),
            // Reading who listens goes through every process: not on this
            // thread.
            None => tokio::task::spawn_blocking(move || by_process(port))
                .await
                .unwrap_or(Use::Free),
        };
        findings.push(tell(component, port, found, &subject.instance));
    }
    findings
}

fn by_container(publisher: &Publisher, subject: &Subject) -> Use {
    let is_ours = publisher.project.as_deref() == Some(&subject.project)
        && publisher.instance.as_deref() == Some(&subject.instance);
    if is_ours {
        Use::Ours
    } else {
        Use::Taken {
            owner: None,
            container: Some(publisher.container.clone()),
        }
    }
}

fn by_process(port: u16) -> Use {
    if ports::is_free(port) {
        return Use::Free;
    }
    Use::Taken {
        owner: ports::owner(port),
        container: None,
    }
}

fn tell(component: &str, port: u16, found: Use, instance: &str) -> Finding {
    let name = format!("port {port}");
    let key = port_key(component);
    match found {
        Use::Free => Finding::ok(name, format!("free for {component} ({key})")),
        Use::Ours => {
            let detail = format!("in use by {component} of this stack ({key})");
            Finding::ok(name, detail)
        }
        Use::Taken { owner, container } => {
            let command = owner
                .as_ref()
                .filter(|_| container.is_none())
                .map(|owner| format!(": {}", shorten(&owner.command)))
                .unwrap_or_default();
            let error = PortError::Taken {
                port,
                component: component.to_owned(),
                owner,
                container,
            };
            // The port stands in the finding's name already.
            let text = error.to_string();
            let detail = text
                .split_once(" of ")
                .map_or(text.as_str(), |(_, rest)| rest);
            let next = if instance == DEFAULT {
                error.next()
            } else {
                // It has ports of its own, which no key sets.
                vec![format!("choose another port: dm up --instance {instance}")]
            };
            Finding::error(
                name,
                format!(
                    "required by {}{command}",
                    detail.replacen(" is taken by", ", taken by", 1)
                ),
                next,
            )
        }
    }
}

/// A command line may be long, and hold anything.
fn shorten(command: &str) -> String {
    const ENOUGH: usize = 80;
    let masked = dm_core::mask::Masker::default().text(command);
    if masked.chars().count() <= ENOUGH {
        return masked;
    }
    masked.chars().take(ENOUGH).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_port_is_told_with_what_to_do() {
        let owner = Owner {
            pid: 4211,
            name: "postgres".into(),
            command: "/usr/lib/postgresql/17/bin/postgres -D /data --password=geheim".into(),
        };
        let taken = |owner, container: Option<&str>| Use::Taken {
            owner,
            container: container.map(str::to_owned),
        };
        let text: Vec<String> = [
            tell("postgres", 5432, Use::Free, DEFAULT),
            tell("postgres", 5432, Use::Ours, DEFAULT),
            tell("postgres", 5432, taken(Some(owner), None), DEFAULT),
            tell("postgres", 5432, taken(None, Some("shop-db-1")), DEFAULT),
            tell("postgres", 5432, taken(None, None), DEFAULT),
            tell("order", 8093, taken(None, None), DEFAULT),
            tell("order", 24093, taken(None, None), "review"),
        ]
        .into_iter()
        .map(|finding| format!("{}: {} {:?}", finding.name, finding.detail, finding.next))
        .collect();
        insta::assert_snapshot!(text.join("\n"), @r#"
        port 5432: free for postgres (postgres.port) []
        port 5432: in use by postgres of this stack (postgres.port) []
        port 5432: required by postgres, taken by postgres (pid 4211): /usr/lib/postgresql/17/bin/postgres -D /data --password=*** ["let dm choose free ports: dm up --ports auto", "or stop it: kill 4211", "or set another port in dm.toml: postgres.port"]
        port 5432: required by postgres, taken by container shop-db-1 ["let dm choose free ports: dm up --ports auto", "or stop it: docker stop shop-db-1", "or set another port in dm.toml: postgres.port"]
        port 5432: required by postgres, taken by a process of another user ["let dm choose free ports: dm up --ports auto", "or identify the process as root: sudo dm doctor", "or set another port in dm.toml: postgres.port"]
        port 8093: required by order, taken by a process of another user ["let dm choose free ports: dm up --ports auto", "or identify the process as root: sudo dm doctor", "or set another port in dm.toml: services.order.port"]
        port 24093: required by order, taken by a process of another user ["choose another port: dm up --instance review"]
        "#);
    }
}
