//! Instances of killed jobs, which could not remove them.

use std::collections::BTreeSet;

use dm_core::labels;
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
    let filter = [(labels::PROJECT, project)];
    let containers = engine.list_containers(&filter).await?;
    let mut names: BTreeSet<_> = containers
        .into_iter()
        .map(|container| container.instance)
        .filter(|name| is_ci_instance(name))
        .collect();
    let mut objects = engine.list_volumes(&filter).await?;
    objects.extend(engine.list_networks(&filter).await?);
    names.extend(
        objects
            .iter()
            .filter_map(|object| instance_of_object(object, project).map(str::to_owned)),
    );
    Ok(names)
}

/// Returns the job's instance in the name of a volume or network.
fn instance_of_object<'o>(object: &'o str, project: &str) -> Option<&'o str> {
    let suffix = object.strip_prefix(project)?.strip_prefix('-')?;
    let name = suffix.get(..CI_PREFIX.len() + ID_LENGTH)?;
    is_ci_instance(name).then_some(name)
}

/// Whether [`new_instance_name`] returns names of this form for jobs that keep nothing.
fn is_ci_instance(name: &str) -> bool {
    name.strip_prefix(CI_PREFIX)
        .is_some_and(|id| id.len() == ID_LENGTH && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_ci_instance_excludes_kept_and_named_instances() {
        assert!(is_ci_instance(&new_instance_name(false)));
        assert!(!is_ci_instance(&new_instance_name(true)));
        assert!(!is_ci_instance("ci-nightly"));
        assert!(!is_ci_instance("default"));
    }

    #[test]
    fn instance_of_object_reads_volume_and_network_names() {
        let name = |object| instance_of_object(object, "dunder-mifflin-f2af6c09");
        assert_eq!(
            name("dunder-mifflin-f2af6c09-ci-0a1b2c3d-postgres-data"),
            Some("ci-0a1b2c3d")
        );
        assert_eq!(
            name("dunder-mifflin-f2af6c09-ci-0a1b2c3d"),
            Some("ci-0a1b2c3d")
        );
        assert_eq!(name("dunder-mifflin-f2af6c09-default-postgres-data"), None);
        assert_eq!(name("other-ci-0a1b2c3d"), None);
    }
}
