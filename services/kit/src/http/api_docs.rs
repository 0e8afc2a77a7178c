//! The API description of a service: the OpenAPI document, and the same as a page.

use std::fmt::Write as _;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use dm_contracts::api::error::ErrorBody;
use dm_contracts::headers;
use http::{StatusCode, header};
use serde_json::Value;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{PartialSchema as _, ToSchema as _};

/// The page has an inline style and no other resources.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/// Returns the routes of the document and of a page that lists its endpoints. The page has no
/// external resources: the stack also runs without a network.
pub(super) fn routes(api: &OpenApi) -> Router {
    let text = api.to_json().unwrap_or_default();
    let page = render_page(&serde_json::from_str(&text).unwrap_or_default());
    Router::new()
        .route(
            "/v3/api-docs",
            get(move || {
                let text = text.clone();
                async move { ([(header::CONTENT_TYPE, "application/json")], text) }
            }),
        )
        .route(
            "/swagger-ui.html",
            get(move || {
                let page = page.clone();
                async move {
                    (
                        [(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY)],
                        Html(page),
                    )
                }
            }),
        )
}

fn render_page(api: &Value) -> String {
    let escape = |value: &Value| {
        value
            .as_str()
            .unwrap_or_default()
            .replace('&', "&amp;")
            .replace('<', "&lt;")
    };
    let title = escape(&api["info"]["title"]);
    let mut rows = String::new();
    for (path, verbs) in api["paths"].as_object().into_iter().flatten() {
        for (verb, operation) in verbs.as_object().into_iter().flatten() {
            let statuses: Vec<_> = operation["responses"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(status, _)| status.as_str())
                .collect();
            // Writing to a string can't fail.
            let _ = write!(
                rows,
                "<tr><td>{}</td><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
                verb.to_uppercase(),
                escape(&Value::from(path.as_str())),
                escape(&operation["summary"]),
                statuses.join(" ")
            );
        }
    }
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <style>body{{font:16px sans-serif;margin:2rem}}td{{padding:.3rem 1rem .3rem 0}}</style>\
         <h1>{title}</h1><p>The OpenAPI document: <a href=\"/v3/api-docs\">/v3/api-docs</a></p>\
         <table>{rows}</table></html>"
    )
}

/// Adds the error responses that all endpoints have in common, and the descriptions that responses
/// lack: OpenAPI requires one, and utoipa omits an empty one.
pub(crate) fn add_common_responses(api: &mut OpenApi) {
    let components = api.components.get_or_insert_with(Components::default);
    let mut schemas = vec![(ErrorBody::name().into_owned(), ErrorBody::schema())];
    ErrorBody::schemas(&mut schemas);
    for (name, schema) in schemas {
        components.schemas.entry(name).or_insert(schema);
    }
    for operation in api.paths.paths.values_mut().flat_map(operations) {
        let mut add = |status: &str, description: &str| {
            let responses = &mut operation.responses.responses;
            if !responses.contains_key(status) {
                responses.insert(status.to_owned(), error_response(description).into());
            }
        };
        add("421", "The host name is not one of this service");
        add("500", "An internal error of the service");
        if operation.request_body.is_some() {
            add("408", "The body did not arrive within 20 s");
            add("413", "The body is larger than 1 MiB");
        }
        for (status, response) in &mut operation.responses.responses {
            if let RefOr::T(response) = response
                && response.description.is_empty()
            {
                response.description = reason(status).to_owned();
            }
        }
    }
}

/// Returns the reason phrase of a status, e.g. `Not Found`.
fn reason(status: &str) -> &'static str {
    let status = StatusCode::from_bytes(status.as_bytes()).ok();
    status
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Response")
}

/// Adds the header with the secret of the gateway, which all endpoints of a service require.
pub(crate) fn add_gateway_secret(api: &mut OpenApi) {
    const SCHEME: &str = "gateway";
    let header = ApiKey::Header(ApiKeyValue::new(headers::GATEWAY_SECRET));
    api.components
        .get_or_insert_with(Components::default)
        .add_security_scheme(SCHEME, SecurityScheme::ApiKey(header));
    for operation in api.paths.paths.values_mut().flat_map(operations) {
        let requirement = SecurityRequirement::new::<_, [&str; 0], &str>(SCHEME, []);
        operation.security = Some(vec![requirement]);
    }
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut path.get,
        &mut path.post,
        &mut path.put,
        &mut path.patch,
        &mut path.delete,
    ]
    .into_iter()
    .filter_map(Option::as_mut)
}

/// Returns a response whose body is the error envelope.
fn error_response(description: &str) -> Response {
    let error = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(ErrorBody::name())))
        .build();
    ResponseBuilder::new()
        .description(description)
        .content("application/json", error)
        .build()
}

/// Returns the responses that the endpoints of a description can give, and that it does not contain
/// once the common ones are added: one line per endpoint. It is for tests of the description.
#[must_use]
pub fn find_missing_responses(mut api: OpenApi) -> Vec<String> {
    add_common_responses(&mut api);
    let api = serde_json::to_value(api).unwrap_or_default();
    let mut lines = Vec::new();
    for (path, verbs) in api["paths"].as_object().into_iter().flatten() {
        for (verb, operation) in verbs.as_object().into_iter().flatten() {
            let missing: Vec<_> = expected_errors(operation)
                .into_iter()
                .filter(|status| operation["responses"][status].is_null())
                .collect();
            if !missing.is_empty() {
                let verb = verb.to_uppercase();
                lines.push(format!("{verb} {path} {}", missing.join(" ")));
            }
        }
    }
    lines
}

/// Returns the statuses of the errors that an endpoint gives whatever it does.
fn expected_errors(operation: &Value) -> Vec<&'static str> {
    let parameters = operation["parameters"].as_array();
    let has_parameter = |name: &str, value: &str| {
        let mut parameters = parameters.into_iter().flatten();
        parameters.any(|parameter| parameter[name] == value)
    };
    let mut statuses = vec!["421", "500"];
    if operation["security"].is_array() || has_parameter("name", headers::USER_ID) {
        statuses.push("401");
    }
    let has_body = operation["requestBody"].is_object();
    if has_body {
        statuses.extend(["408", "413"]);
    }
    if has_body || has_parameter("in", "query") {
        statuses.push("400");
    }
    statuses
}

/// Returns one line per endpoint of a description, sorted: method, path, operation id and
/// statuses. It is for snapshot tests of the description.
#[must_use]
pub fn list_endpoints(api: &OpenApi) -> Vec<String> {
    let api = serde_json::to_value(api).unwrap_or_default();
    let mut lines = Vec::new();
    for (path, verbs) in api["paths"].as_object().into_iter().flatten() {
        for (verb, operation) in verbs.as_object().into_iter().flatten() {
            let name = operation["operationId"].as_str().unwrap_or_default();
            let mut line = format!("{} {path} {name}", verb.to_uppercase());
            for (status, _) in operation["responses"].as_object().into_iter().flatten() {
                line.push(' ');
                line.push_str(status);
            }
            lines.push(line);
        }
    }
    lines.sort_unstable();
    lines
}

#[cfg(test)]
mod tests {
    use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn};
    use utoipa::openapi::request_body::RequestBody;

    use super::*;

    fn document(operation: OperationBuilder) -> OpenApi {
        let mut api = OpenApi::default();
        api.paths
            .add_path_operation("/orders", vec![HttpMethod::Post], operation);
        api
    }

    #[test]
    fn common_responses_depend_on_the_body() {
        let statuses = |operation: OperationBuilder| {
            let mut api = document(operation);
            add_common_responses(&mut api);
            list_endpoints(&api)
        };
        assert_eq!(statuses(OperationBuilder::new()), ["POST /orders  421 500"]);
        let with_body = OperationBuilder::new().request_body(Some(RequestBody::default()));
        assert_eq!(statuses(with_body), ["POST /orders  408 413 421 500"]);
    }

    #[test]
    fn missing_responses_follow_from_parameters_and_body() {
        let parameter = |name: &str, place: ParameterIn| {
            ParameterBuilder::new()
                .name(name)
                .parameter_in(place)
                .build()
        };
        let missing = |operation: OperationBuilder| find_missing_responses(document(operation));
        assert_eq!(missing(OperationBuilder::new()), Vec::<String>::new());
        let filtered = OperationBuilder::new()
            .parameter(parameter("x-user-id", ParameterIn::Header))
            .parameter(parameter("status", ParameterIn::Query));
        assert_eq!(missing(filtered), ["POST /orders 401 400"]);
        let with_body = OperationBuilder::new().request_body(Some(RequestBody::default()));
        assert_eq!(missing(with_body), ["POST /orders 400"]);
    }

    #[test]
    fn each_endpoint_of_a_service_requires_the_secret() {
        let mut api = document(OperationBuilder::new());
        add_gateway_secret(&mut api);
        let api = serde_json::to_value(api).unwrap();
        let security = &api["paths"]["/orders"]["post"]["security"];
        assert_eq!(security[0]["gateway"], serde_json::json!([]));
        let scheme = &api["components"]["securitySchemes"]["gateway"];
        assert_eq!(scheme["in"], "header");
        assert_eq!(scheme["name"], "x-gateway-secret");
    }
}
