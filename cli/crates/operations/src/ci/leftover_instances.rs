//! Instances of jobs that were killed: their own end could not remove them.

use std::collections::BTreeSet;

use dm_core::labels;
use dm_engine::{Engine, EngineError};

/// What the name of a job's instance begins with.
const CI_PREFIX: &str = "ci-";
/// What it begins with where the instance is to stay.
const KEPT_PREFIX: &str = "kept-";

/// The digits of what sets it apart.
const ID_LENGTH: usize = 8;

/// A name that no other job's instance has.
#[must_use]
pub fn new_instance_name(keep: bool) -> String {
    let mut id = uuid::Uuid::new_v4().simple().to_string();
    id.truncate(ID_LENGTH);
    format!("{}{id}", if keep { KEPT_PREFIX } else { CI_PREFIX })
}

/// The names of the instances that jobs of this project have made, and that were not
/// to stay; some may be at work. A job that was killed while it tidied up may have
/// left a volume alone.
///
/// # Errors
/// A failing engine.
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

/// The instance of a job in the name of a volume or network.
fn instance_of_object<'o>(object: &'o str, project: &str) -> Option<&'o str> {
    let rest = object.strip_prefix(project)?.strip_prefix('-')?;
    let name = rest.get(..CI_PREFIX.len() + ID_LENGTH)?;
    is_ci_instance(name).then_some(name)
}

/// True for names that [`new_name`] gives.
fn is_ci_instance(name: &str) -> bool {
    name.strip_prefix(CI_PREFIX)
        .is_some_and(|id| id.len() == ID_LENGTH && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_to_stay_is_of_a_job() {
        assert!(is_ci_instance(&new_instance_name(false)));
        assert!(!is_ci_instance(&new_instance_name(true)));
        assert!(!is_ci_instance("ci-nightly"));
        assert!(!is_ci_instance("default"));
    }

    #[test]
    fn volumes_and_networks_name_their_instance() {
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
