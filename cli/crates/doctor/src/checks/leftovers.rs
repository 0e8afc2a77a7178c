//! What instances left whose project is no longer there.

use std::collections::BTreeMap;
use std::path::Path;

use dm_core::error::Error;
use dm_core::labels::PROJECT;
use dm_engine::Engine;
use dm_engine::inventory::{ObjectKind, Owned};

use super::NO_ENGINE;
use crate::Finding;

/// Objects that no `dm down` finds any more, for want of a project to run it in.
pub(crate) async fn leftovers(engine: Option<&Engine>) -> Vec<Finding> {
    let name = "leftovers";
    let Some(engine) = engine else {
        return vec![Finding::skipped(name, NO_ENGINE)];
    };
    if !engine.is_local() {
        return vec![Finding::skipped(
            name,
            "the engine may run stacks of other machines",
        )];
    }
    match engine.owned().await {
        Ok(owned) => tell(&owned, |root| Path::new(root).exists()),
        Err(error) => {
            let error = Error::from(error);
            vec![Finding::warning(
                name,
                error.chain().join(": "),
                ["dm engine status"],
            )]
        }
    }
}

fn tell(owned: &[Owned], exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut gone: BTreeMap<(&str, &str), Vec<ObjectKind>> = BTreeMap::new();
    for object in owned {
        if let Some(root) = &object.root
            && !exists(root)
        {
            gone.entry((&object.project, root))
                .or_default()
                .push(object.kind);
        }
    }
    if gone.is_empty() {
        return vec![Finding::ok("leftovers", "none")];
    }
    gone.into_iter()
        .map(|((project, root), kinds)| {
            let count = |kind| kinds.iter().filter(|one| **one == kind).count();
            let filter = format!("--filter label={PROJECT}={project}");
            let mut detail = Vec::new();
            let mut next = Vec::new();
            for (kind, noun, command) in [
                (
                    ObjectKind::Container,
                    "container",
                    format!("docker ps -aq {filter} | xargs docker rm -f"),
                ),
                (
                    ObjectKind::Network,
                    "network",
                    format!("docker network ls -q {filter} | xargs docker network rm"),
                ),
                (
                    ObjectKind::Volume,
                    "volume",
                    format!("docker volume ls -q {filter} | xargs docker volume rm"),
                ),
            ] {
                let count = count(kind);
                if count > 0 {
                    let plural = if count == 1 { "" } else { "s" };
                    detail.push(format!("{count} {noun}{plural}"));
                    next.push(command);
                }
            }
            Finding::warning(
                "leftovers",
                format!(
                    "{} of a stack in {root}, which no longer exists",
                    detail.join(", ")
                ),
                next,
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: ObjectKind, project: &str, root: Option<&str>) -> Owned {
        Owned {
            kind,
            name: "x".into(),
            project: project.into(),
            instance: "default".into(),
            root: root.map(str::to_owned),
        }
    }

    #[test]
    fn only_what_lost_its_project_is_left_over() {
        let owned = [
            object(ObjectKind::Container, "dm-1", Some("/gone")),
            object(ObjectKind::Volume, "dm-1", Some("/gone")),
            object(ObjectKind::Volume, "dm-1", Some("/gone")),
            object(ObjectKind::Container, "dm-2", Some("/here")),
            object(ObjectKind::Volume, "dm-3", None),
        ];
        let found = tell(&owned, |root| root == "/here");
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].detail,
            "1 container, 2 volumes of a stack in /gone, which no longer exists"
        );
        insta::assert_snapshot!(found[0].next.join("\n"), @r"
        docker ps -aq --filter label=com.dundermifflin.dm.project=dm-1 | xargs docker rm -f
        docker volume ls -q --filter label=com.dundermifflin.dm.project=dm-1 | xargs docker volume rm
        ");
        assert_eq!(tell(&owned[3..], |root| root == "/here")[0].detail, "none");
    }
}
