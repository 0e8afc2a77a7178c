//! The API description of a service: the OpenAPI document, and the same as a page.

use std::fmt::Write as _;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use dm_contracts::api::error::ErrorBody;
use http::header;
use serde_json::Value;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{Components, ContentBuilder, OpenApi, Ref, Response, ResponseBuilder};
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

/// Adds the error responses that all endpoints have in common.
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
        add("500", "An internal error of the service");
        if operation.request_body.is_some() {
            add("413", "The body is larger than 1 MiB");
        }
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
