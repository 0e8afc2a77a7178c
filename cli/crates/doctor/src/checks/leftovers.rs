//! What instances left whose project is no longer there.

use std::collections::BTreeMap;
use std::path::Path;

use dm_core::error::Error;
use dm_core::labels::PROJECT;
use dm_engine::Engine;
use dm_engine::labelled_objects::{EngineObjectKind, LabelledObject};

use super::NO_ENGINE;
use crate::DoctorFinding;

/// Objects that no `dm down` finds any more, for want of a project to run it in.
pub(crate) async fn check_leftovers(engine: Option<&Engine>) -> Vec<DoctorFinding> {
    let name = "leftovers";
    let Some(engine) = engine else {
        return vec![DoctorFinding::skipped(name, NO_ENGINE)];
    };
    if !engine.is_local() {
        return vec![DoctorFinding::skipped(
            name,
            "the engine may run stacks of other machines",
        )];
    }
    match engine.list_labelled_objects().await {
        Ok(owned) => leftover_findings(&owned, |root| Path::new(root).exists()),
        Err(error) => {
            let error = Error::from(error);
            vec![DoctorFinding::warning(
                name,
                error.error_chain().join(": "),
                ["dm engine status"],
            )]
        }
    }
}

fn leftover_findings(
    owned: &[LabelledObject],
    exists: impl Fn(&str) -> bool,
) -> Vec<DoctorFinding> {
    let mut gone: BTreeMap<(&str, &str), Vec<EngineObjectKind>> = BTreeMap::new();
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
        return vec![DoctorFinding::ok("leftovers", "none")];
    }
    gone.into_iter()
        .map(|((project, root), kinds)| {
            let count = |kind| kinds.iter().filter(|one| **one == kind).count();
            let filter = format!("--filter label={PROJECT}={project}");
            let mut detail = Vec::new();
            let mut next = Vec::new();
            for (kind, noun, command) in [
                (
                    EngineObjectKind::Container,
                    "container",
                    format!("docker ps -aq {filter} | xargs docker rm -f"),
                ),
                (
                    EngineObjectKind::Network,
                    "network",
                    format!("docker network ls -q {filter} | xargs docker network rm"),
                ),
                (
                    EngineObjectKind::Volume,
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
            DoctorFinding::warning(
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

    fn object(kind: EngineObjectKind, project: &str, root: Option<&str>) -> LabelledObject {
        LabelledObject {
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
            object(EngineObjectKind::Container, "dm-1", Some("/gone")),
            object(EngineObjectKind::Volume, "dm-1", Some("/gone")),
            object(EngineObjectKind::Volume, "dm-1", Some("/gone")),
            object(EngineObjectKind::Container, "dm-2", Some("/here")),
            object(EngineObjectKind::Volume, "dm-3", None),
        ];
        let found = leftover_findings(&owned, |root| root == "/here");
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].detail,
            "1 container, 2 volumes of a stack in /gone, which no longer exists"
        );
        insta::assert_snapshot!(found[0].next.join("\n"), @r"
        docker ps -aq --filter label=com.dundermifflin.dm.project=dm-1 | xargs docker rm -f
        docker volume ls -q --filter label=com.dundermifflin.dm.project=dm-1 | xargs docker volume rm
        ");
        assert_eq!(
            leftover_findings(&owned[3..], |root| root == "/here")[0].detail,
            "none"
        );
    }
}
