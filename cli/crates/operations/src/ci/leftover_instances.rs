//! Instances of killed jobs, which could not remove them.

use std::collections::BTreeSet;

use dm_engine::labelled_objects::LabelledObject;
use dm_engine::{Engine, EngineError};

/// The prefix of the name of a job's instance.
const CI_PREFIX: &str = "ci-";
/// The prefix if the instance is kept after the job.
const KEPT_PREFIX: &str = "kept-";
/// The number of digits of the unique part.
const ID_LENGTH: usize = 8;

/// Returns a unique instance name for a job.
#[must_use]
pub fn new_instance_name(keep: bool) -> String {
    let mut id = uuid::Uuid::new_v4().simple().to_string();
    id.truncate(ID_LENGTH);
    format!("{}{id}", if keep { KEPT_PREFIX } else { CI_PREFIX })
}

/// Returns the names of the instances that jobs of this project have created and that are not
/// kept. Some may be in use. Volumes and networks are searched, too: a job that is killed
/// while it removes its instance may leave only a volume.
///
/// # Errors
/// Returns [`EngineError`] if the engine fails.
pub(crate) async fn find_leftovers(
    engine: &Engine,
    project: &str,
) -> Result<BTreeSet<String>, EngineError> {
    let objects = engine.list_labelled_objects().await?;
    Ok(ci_instances_of(project, objects))
}

/// Returns the instances of jobs to which these objects of a project belong.
fn ci_instances_of(project: &str, objects: Vec<LabelledObject>) -> BTreeSet<String> {
    objects
        .into_iter()
        .filter(|object| object.project == project && is_ci_instance(&object.instance))
        .map(|object| object.instance)
        .collect()
}

/// Returns whether this is the name of a job's instance that is not kept.
fn is_ci_instance(name: &str) -> bool {
    name.strip_prefix(CI_PREFIX)
        .is_some_and(|id| id.len() == ID_LENGTH && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use dm_engine::labelled_objects::EngineObjectKind;

    use super::*;

    #[test]
    fn is_ci_instance_excludes_kept_and_named_instances() {
        assert!(is_ci_instance(&new_instance_name(false)));
        assert!(!is_ci_instance(&new_instance_name(true)));
        assert!(!is_ci_instance("ci-nightly"));
        assert!(!is_ci_instance("default"));
    }

    #[test]
    fn ci_instances_are_read_from_labels_of_every_kind_of_the_project() {
        let object = |kind, project: &str, instance: &str| LabelledObject {
            kind,
            name: "dm-ci-0a1b2c3d".into(),
            project: project.into(),
            instance: instance.into(),
            root: None,
        };
        let objects = vec![
            object(EngineObjectKind::Container, "dm", "ci-0a1b2c3d"),
            object(EngineObjectKind::Network, "dm", "ci-1a1b2c3d"),
            object(EngineObjectKind::Volume, "dm", "ci-2a1b2c3d"),
            object(EngineObjectKind::Volume, "dm", "ci-2a1b2c3d"),
            object(EngineObjectKind::Volume, "dm", "ci-0a1b2c3d4"),
            object(EngineObjectKind::Volume, "dm", "default"),
            object(EngineObjectKind::Volume, "other", "ci-3a1b2c3d"),
        ];
        assert_eq!(
            ci_instances_of("dm", objects),
            BTreeSet::from(["ci-0a1b2c3d", "ci-1a1b2c3d", "ci-2a1b2c3d"].map(str::to_owned))
        );
    }
}
