//! The keys of `dm.toml` to which hints and reports refer.

/// The components that are not services. Each has its own top-level table.
const INFRASTRUCTURE_COMPONENTS: [&str; 4] = ["postgres", "rabbitmq", "openldap", "keycloak"];

/// Returns the key that sets the port `name`: `<component>` for a component's main port,
/// `<component>-<suffix>` for a further one, e.g. `rabbitmq-management`.
#[must_use]
pub fn port_key(name: &str) -> String {
    match name.split_once('-') {
        Some((component, suffix)) => format!("{component}.{}_port", suffix.replace('-', "_")),
        None => component_key(name, "port"),
    }
}

/// Returns the key of a component's setting, e.g. `keycloak.memory`, `services.order.memory`.
#[must_use]
pub fn component_key(component: &str, setting: &str) -> String {
    if INFRASTRUCTURE_COMPONENTS.contains(&component) {
        format!("{component}.{setting}")
    } else {
        format!("services.{component}.{setting}")
    }
}
