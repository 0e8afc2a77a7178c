//! Compares the document of the gateway with those of the services behind it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::document::{Document, Operation};

/// Headers that the gateway adds to the requests of its users.
const GATEWAY_HEADERS: [&str; 2] = ["x-user-id", "x-user-display-name"];

/// Returns the differences between the operations of the gateway and those of the services that it
/// forwards to, one line each.
pub(super) fn differences(gateway: &Document, services: &[Document]) -> Vec<String> {
    let operations = || services.iter().flat_map(Document::operations);
    let mut differences = Vec::new();
    let mut compared = 0;
    for outer in gateway.operations() {
        let Some(path) = service_path(outer.path_template()) else {
            continue;
        };
        let mut candidates = operations();
        let inner = candidates.find(|inner| {
            inner.method() == outer.method() && shape(inner.path_template()) == shape(&path)
        });
        let Some(inner) = inner else {
            differences.push(format!("{outer}: no service has {path}"));
            continue;
        };
        compared += 1;
        let (of_gateway, of_service) = (Interface::of(&outer), Interface::of(&inner));
        let parts = of_gateway.parts().into_iter().zip(of_service.parts());
        for ((part, outer_value), (_, inner_value)) in parts {
            if outer_value != inner_value {
                differences.push(format!(
                    "{outer}: {part} is {outer_value} at the gateway and {inner_value} at the service"
                ));
            }
        }
        for status in inner.statuses() {
            if !outer.statuses().any(|other| other == status) {
                differences.push(format!("{outer}: the status {status} is missing"));
            }
        }
    }
    if compared == 0 {
        differences.push("the gateway describes no operation of a service".to_owned());
    }
    differences
}

/// Returns the path at a service of a path that the gateway forwards, or `None` if the gateway itself
/// responds.
fn service_path(path: &str) -> Option<String> {
    let is_own = path.starts_with("/api/v1/auth/") || path.ends_with("/stream");
    let rest = path
        .strip_prefix("/api/v1/warehouse/")
        .or_else(|| path.strip_prefix("/api/v1/"))?;
    (!is_own).then(|| format!("/internal/{rest}"))
}

/// Returns a path without the names of its parameters.
fn shape(path: &str) -> String {
    let segments = path.split('/').map(|segment| {
        if segment.starts_with('{') {
            "{}"
        } else {
            segment
        }
    });
    segments.collect::<Vec<_>>().join("/")
}

/// The parts of an operation that are the same at the gateway and at the service.
struct Interface {
    parameters: Value,
    request: Value,
    response: Value,
}

impl Interface {
    fn of(operation: &Operation<'_>) -> Self {
        let document = operation.document();
        let mut parameters = BTreeMap::new();
        for (at, parameter) in operation.parameters("path").enumerate() {
            // The names of parameters in paths differ.
            let schema = resolved(document, &parameter["schema"]);
            parameters.insert(format!("path {at}"), json!([true, schema]));
        }
        for place in ["query", "header"] {
            for parameter in operation.parameters(place) {
                let name = parameter["name"].as_str().unwrap_or_default();
                if GATEWAY_HEADERS.contains(&name) {
                    continue;
                }
                let schema = resolved(document, &parameter["schema"]);
                let excluded = &parameter["x-not-with"];
                let rules = json!([parameter["required"], schema, excluded]);
                parameters.insert(format!("{place} {name}"), rules);
            }
        }
        let spec = operation.spec();
        let responses = spec["responses"].as_object().into_iter().flatten();
        let successes: BTreeMap<&String, Value> = responses
            .filter(|(status, _)| status.starts_with(['2', '3']))
            .map(|(status, response)| (status, resolved(document, &response["content"])))
            .collect();
        Self {
            parameters: json!(parameters),
            request: json!([
                spec["requestBody"]["required"],
                resolved(document, &spec["requestBody"]["content"]),
            ]),
            response: json!(successes),
        }
    }

    fn parts(&self) -> [(&'static str, &Value); 3] {
        [
            ("parameters", &self.parameters),
            ("request body", &self.request),
            ("response", &self.response),
        ]
    }
}

/// Returns a schema with the targets of its references, and without descriptions.
fn resolved(document: &Document, schema: &Value) -> Value {
    match document.resolve(schema) {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, value)| *name != "description" || !value.is_string())
            .map(|(name, value)| (name.clone(), resolved(document, value)))
            .collect(),
        Value::Array(items) => items.iter().map(|item| resolved(document, item)).collect(),
        other => other.clone(),
    }
}
