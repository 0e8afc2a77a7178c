//! The keys of `dm.toml` that hints and reports name.

/// The components that are not services: theirs are tables of their own.
const INFRASTRUCTURE_COMPONENTS: [&str; 4] = ["postgres", "rabbitmq", "openldap", "keycloak"];

/// The key that sets a port. A component's own port goes by its name, a further one by
/// `<component>-<what>`, e.g. `rabbitmq-management`.
#[must_use]
pub fn port_key(name: &str) -> String {
    match name.split_once('-') {
        Some((component, what)) => format!("{component}.{}_port", what.replace('-', "_")),
        None => component_key(name, "port"),
    }
}

/// The key of a component's setting, e.g. `keycloak.memory`, `services.order.memory`.
#[must_use]
pub fn component_key(component: &str, setting: &str) -> String {
    if INFRASTRUCTURE_COMPONENTS.contains(&component) {
        format!("{component}.{setting}")
    } else {
        format!("services.{component}.{setting}")
    }
}
