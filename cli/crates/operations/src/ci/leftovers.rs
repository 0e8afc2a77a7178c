//! Instances of jobs that were killed: their own end could not remove them.

use std::collections::BTreeSet;

use dm_core::labels;
use dm_engine::{Engine, EngineError};

/// What the name of a job's instance begins with.
const PREFIX: &str = "ci-";
/// What it begins with where the instance is to stay.
const PREFIX_KEPT: &str = "kept-";

/// The digits of what sets it apart.
const ID: usize = 8;

/// A name that no other job's instance has.
#[must_use]
pub fn new_name(keep: bool) -> String {
    let mut id = uuid::Uuid::new_v4().simple().to_string();
    id.truncate(ID);
    format!("{}{id}", if keep { PREFIX_KEPT } else { PREFIX })
}

/// The names of the instances that jobs of this project have made, and that were not
/// to stay; some may be at work. A job that was killed while it tidied up may have
/// left a volume alone.
///
/// # Errors
/// A failing engine.
pub(crate) async fn find(engine: &Engine, project: &str) -> Result<BTreeSet<String>, EngineError> {
    let filter = [(labels::PROJECT, project)];
    let containers = engine.containers(&filter).await?;
    let mut names: BTreeSet<_> = containers
        .into_iter()
        .map(|container| container.instance)
        .filter(|name| is_of_a_job(name))
        .collect();
    let mut objects = engine.volumes(&filter).await?;
    objects.extend(engine.networks(&filter).await?);
    names.extend(
        objects
            .iter()
            .filter_map(|object| of_object(object, project).map(str::to_owned)),
    );
    Ok(names)
}

/// The instance of a job in the name of a volume or network.
fn of_object<'o>(object: &'o str, project: &str) -> Option<&'o str> {
    let rest = object.strip_prefix(project)?.strip_prefix('-')?;
    let name = rest.get(..PREFIX.len() + ID)?;
    is_of_a_job(name).then_some(name)
}

/// True for names that [`new_name`] gives.
fn is_of_a_job(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|id| id.len() == ID && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_to_stay_is_of_a_job() {
        assert!(is_of_a_job(&new_name(false)));
        assert!(!is_of_a_job(&new_name(true)));
        assert!(!is_of_a_job("ci-nightly"));
        assert!(!is_of_a_job("default"));
    }

    #[test]
    fn volumes_and_networks_name_their_instance() {
        let name = |object| of_object(object, "dunder-mifflin-f2af6c09");
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
