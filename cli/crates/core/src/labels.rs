//! The labels by which `dm` identifies its own containers, images, networks and volumes.

use std::collections::HashMap;

/// The project, with a digest of its directory, so that two clones share nothing.
pub const PROJECT: &str = "com.dundermifflin.dm.project";
/// The instance of the project's stack.
pub const INSTANCE: &str = "com.dundermifflin.dm.instance";
/// The component to which the object belongs.
pub const COMPONENT: &str = "com.dundermifflin.dm.component";
/// The digest of the container's definition. If it differs, the container is recreated.
pub const CONFIG_DIGEST: &str = "com.dundermifflin.dm.config-digest";
/// The project's directory, to distinguish leftovers from existing projects.
pub const ROOT: &str = "com.dundermifflin.dm.root";
/// The published ports, as `name=host` pairs separated by commas.
pub const PORTS: &str = "com.dundermifflin.dm.ports";
/// Marks an image that contains the state after a first start.
pub const GOLDEN: &str = "com.dundermifflin.dm.golden";
/// Marks a container that ends with the process that started it: a server of tests.
pub const THROWAWAY: &str = "com.dundermifflin.dm.throwaway";

/// Returns the value of `label` in a label map of the engine.
pub fn value<'a>(labels: Option<&'a HashMap<String, String>>, label: &str) -> Option<&'a str> {
    labels
        .and_then(|labels| labels.get(label))
        .map(String::as_str)
}
