//! Check for resources of projects that no longer exist.

use std::collections::BTreeMap;
use std::path::Path;

use dm_core::error::Error;
use dm_core::labels::PROJECT;
use dm_core::units::pluralize;
use dm_engine::Engine;
use dm_engine::labelled_objects::{EngineObjectKind, LabelledObject};

use super::NO_ENGINE;
use crate::DoctorFinding;

/// The name of the check.
pub(crate) const NAME: &str = "leftover resources";

/// Finds objects that `dm down` can no longer remove, because their project is missing.
pub(crate) async fn check_leftovers(engine: Option<&Engine>) -> Vec<DoctorFinding> {
    let Some(engine) = engine else {
        return vec![DoctorFinding::skipped(NAME, NO_ENGINE)];
    };
    if !engine.is_local() {
        return vec![DoctorFinding::skipped(
            NAME,
            "the engine may run stacks of other machines",
        )];
    }
    match engine.list_labelled_objects().await {
        Ok(objects) => leftover_findings(&objects, |root| Path::new(root).exists()),
        Err(error) => {
            let error = Error::from(error);
            vec![DoctorFinding::warning(
                NAME,
                error.error_chain().join(": "),
                ["dm engine status"],
            )]
        }
    }
}

fn leftover_findings(
    objects: &[LabelledObject],
    exists: impl Fn(&str) -> bool,
) -> Vec<DoctorFinding> {
    let mut leftovers: BTreeMap<(&str, &str), Vec<EngineObjectKind>> = BTreeMap::new();
    for object in objects {
        if let Some(root) = &object.root
            && !exists(root)
        {
            leftovers
                .entry((&object.project, root))
                .or_default()
                .push(object.kind);
        }
    }
    if leftovers.is_empty() {
        return vec![DoctorFinding::ok(NAME, "none")];
    }
    leftovers
        .into_iter()
        .map(|((project, root), kinds)| {
            let count = |kind| kinds.iter().filter(|other| **other == kind).count();
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
                    detail.push(pluralize(count, noun));
                    next.push(command);
                }
            }
            DoctorFinding::warning(
                NAME,
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
    fn leftover_findings_contain_only_objects_of_missing_projects() {
        let objects = [
            object(EngineObjectKind::Container, "dm-1", Some("/gone")),
            object(EngineObjectKind::Volume, "dm-1", Some("/gone")),
            object(EngineObjectKind::Volume, "dm-1", Some("/gone")),
            object(EngineObjectKind::Container, "dm-2", Some("/here")),
            object(EngineObjectKind::Volume, "dm-3", None),
        ];
        let findings = leftover_findings(&objects, |root| root == "/here");
        assert_eq!(findings.len(), 1);
        assert_eq!(
            findings[0].detail,
            "1 container, 2 volumes of a stack in /gone, which no longer exists"
        );
        insta::assert_snapshot!(findings[0].next.join("\n"), @r"
        docker ps -aq --filter label=com.dundermifflin.dm.project=dm-1 | xargs docker rm -f
        docker volume ls -q --filter label=com.dundermifflin.dm.project=dm-1 | xargs docker volume rm
        ");
        assert_eq!(
            leftover_findings(&objects[3..], |root| root == "/here")[0].detail,
            "none"
        );
    }
}
