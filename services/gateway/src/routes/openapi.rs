//! OpenAPI operations of the routes in the route table.

use http::Method;
use utoipa::ToSchema as _;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, OpenApi, Ref, Required, ResponseBuilder, SecurityRequirement,
};

use dm_contracts::api::error::ErrorBody;

use super::body_schema::BodySchema;
use super::route_table::{Forwarded, ServiceRoute};
use crate::access::Area;
use crate::sessions;

const COOKIE_SCHEME: &str = "session";
const BEARER_SCHEME: &str = "bearer";

/// Adds a route to the OpenAPI document.
pub(super) fn add_route(api: &mut OpenApi, route: &ServiceRoute) {
    let components = api.components.get_or_insert_with(Components::default);
    add_common_components(components);
    let method = if route.method == Method::POST {
        HttpMethod::Post
    } else {
        HttpMethod::Get
    };
    let operation = operation(route, components);
    api.paths
        .add_path_operation(route.path, vec![method], operation);
}

fn add_common_components(components: &mut Components) {
    BodySchema::for_type::<ErrorBody>().add_to(components);
    let cookie = ApiKey::Cookie(ApiKeyValue::new(sessions::SESSION_COOKIE));
    components.add_security_scheme(COOKIE_SCHEME, SecurityScheme::ApiKey(cookie));
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .build();
    components.add_security_scheme(BEARER_SCHEME, SecurityScheme::Http(bearer));
}

fn operation(route: &ServiceRoute, components: &mut Components) -> Operation {
    let mut operation = OperationBuilder::new()
        .tag(route.service.name())
        .summary(Some(route.summary))
        .security(SecurityRequirement::new::<_, [&str; 0], &str>(
            COOKIE_SCHEME,
            [],
        ));
    if route.area.accepts_bearer() {
        operation = operation.security(SecurityRequirement::new::<_, [&str; 0], &str>(
            BEARER_SCHEME,
            [],
        ));
    }
    for name in path_parameters(route.path) {
        operation = operation.parameter(parameter(name, ParameterIn::Path, Required::True));
    }
    if route.forwards == Forwarded::BodyAndIdempotencyKey {
        let required = if route.path.ends_with("/dispatch") {
            Required::True
        } else {
            Required::False
        };
        operation =
            operation.parameter(parameter("Idempotency-Key", ParameterIn::Header, required));
    }
    for name in query_parameters(route) {
        operation = operation.parameter(parameter(name, ParameterIn::Query, Required::False));
    }
    if let Some(schema) = route.request_body {
        let content = ContentBuilder::new()
            .schema(Some(schema.add_to(components)))
            .build();
        let body = RequestBodyBuilder::new()
            .content("application/json", content)
            .build();
        operation = operation.request_body(Some(body));
    }
    let content = ContentBuilder::new()
        .schema(Some(route.response_body.add_to(components)))
        .build();
    let success = ResponseBuilder::new()
        .description("The response of the service.")
        .content("application/json", content);
    operation = operation.response(route.success_status.to_string(), success);
    let service_errors = route
        .error_statuses
        .iter()
        .map(|&status| (status, status_description(status)));
    let forbidden = (route.area != Area::Personal).then(|| (403, route.area.forbidden_message()));
    let gateway_errors = [
        (401, route.area.unauthenticated_message()),
        (500, "The service is not reachable."),
    ];
    for (status, description) in service_errors.chain(gateway_errors).chain(forbidden) {
        let error = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(ErrorBody::name())))
            .build();
        let response = ResponseBuilder::new()
            .description(description)
            .content("application/json", error);
        operation = operation.response(status.to_string(), response);
    }
    operation.build()
}

/// Returns the description of an error status of a service.
const fn status_description(status: u16) -> &'static str {
    match status {
        404 => "No record has this id.",
        409 => "The state of the record does not permit the request.",
        _ => "The request is invalid.",
    }
}

fn parameter(name: &str, location: ParameterIn, required: Required) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(location)
        .required(required)
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
}

/// Returns the query parameters of a list.
fn query_parameters(route: &ServiceRoute) -> &'static [&'static str] {
    match (route.forwards, route.path) {
        (Forwarded::Query, "/api/v1/orders") => &["clientId"],
        (Forwarded::Query, "/api/v1/notifications") => &["unreadOnly"],
        (Forwarded::Query, "/api/v1/warehouse/shipments") => &["status"],
        (Forwarded::Query, "/api/v1/sales/clients") => &["page", "size"],
        (Forwarded::Query, _) => &["status", "page", "size"],
        _ => &[],
    }
}

fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::route_table::ROUTES;
    use super::*;

    fn collect_references<'v>(value: &'v Value, references: &mut Vec<&'v str>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value.as_str() {
                        Some(reference) if name == "$ref" => references.push(reference),
                        _ => collect_references(value, references),
                    }
                }
            }
            Value::Array(items) => items
                .iter()
                .for_each(|item| collect_references(item, references)),
            _ => {}
        }
    }

    #[test]
    fn references_resolve_and_each_operation_has_its_bodies() {
        let mut api = OpenApi::default();
        for route in &ROUTES {
            add_route(&mut api, route);
        }
        let api = serde_json::to_value(&api).unwrap();
        let mut references = Vec::new();
        collect_references(&api, &mut references);
        assert!(references.len() > ROUTES.len());
        for reference in references {
            let pointer = reference.trim_start_matches('#');
            assert!(
                api.pointer(pointer).is_some(),
                "{reference} does not resolve"
            );
        }
        for route in &ROUTES {
            let method = route.method.as_str().to_lowercase();
            let operation = &api["paths"][route.path][method];
            let json = |body: &Value| body["content"]["application/json"]["schema"].clone();
            let response = json(&operation["responses"][route.success_status.to_string()]);
            assert!(response.is_object(), "{} has no response body", route.path);
            let has_body = json(&operation["requestBody"]).is_object();
            assert_eq!(has_body, route.request_body.is_some(), "{}", route.path);
        }
    }
}
