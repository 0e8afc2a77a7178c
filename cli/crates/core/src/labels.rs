//! The labels by which `dm` finds what is its own, and only that.

use std::collections::HashMap;

/// The project, with a digest of its folder: two clones don't share anything.
pub const PROJECT: &str = "com.dundermifflin.dm.project";
/// The instance of the project's stack.
pub const INSTANCE: &str = "com.dundermifflin.dm.instance";
/// The component that the object belongs to.
pub const COMPONENT: &str = "com.dundermifflin.dm.component";
/// The digest of the container's definition: when it differs, it is recreated.
pub const CONFIG_DIGEST: &str = "com.dundermifflin.dm.config-digest";
/// The project's folder, so that leftovers can be told from living projects.
pub const ROOT: &str = "com.dundermifflin.dm.root";
/// The published ports, as `name=host` pairs separated by commas.
pub const PORTS: &str = "com.dundermifflin.dm.ports";

/// The value of `label` in a bollard label map.
pub fn value<'a>(labels: Option<&'a HashMap<String, String>>, label: &str) -> Option<&'a str> {
    labels
        .and_then(|labels| labels.get(label))
        .map(String::as_str)
}
