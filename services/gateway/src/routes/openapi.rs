//! OpenAPI operations of the routes in the route table.

use http::Method;
use utoipa::openapi::extensions::{Extensions, ExtensionsBuilder};
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, OpenApi, Ref, RefOr, Required, ResponseBuilder, SecurityRequirement,
};
use utoipa::{IntoParams as _, PartialSchema as _, ToSchema as _};

use dm_contracts::App;
use dm_contracts::api::error::ErrorBody;
use dm_contracts::api::parameters::{
    ExpenseFilters, LeadFilters, NotificationFilters, OptionalIdempotencyKey, OrderFilters,
    RequiredIdempotencyKey, ShipmentFilters,
};
use dm_kit::http::{CursorPaging, Paging, UnorderedPaging};

use super::body_schema::BodySchema;
use super::route_table::{Forwarded, ServiceRoute};
use crate::access::Area;
use crate::cookies;
use crate::downstream::DownstreamService;

/// The extension of an operation that lists the roles of which one is needed.
pub(super) const ROLES: &str = "x-roles";

/// The description of a 403 of a route that requires no role.
pub(super) const FOREIGN_ORIGIN: &str =
    "A script of a page of a foreign origin has sent the request.";

const COOKIE_SCHEME: &str = "session";
const BEARER_SCHEME: &str = "bearer";

/// Adds a route to the OpenAPI document.
pub(super) fn add_route(api: &mut OpenApi, route: &ServiceRoute) {
    let components = api.components.get_or_insert_with(Components::default);
    add_common_components(components);
    let method = match route.method {
        Method::POST => HttpMethod::Post,
        Method::PUT => HttpMethod::Put,
        Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    };
    let operation = operation(route, components);
    api.paths
        .add_path_operation(route.path, vec![method], operation);
}

/// Adds the roles of an area to all operations of a document.
pub(super) fn describe_access(api: &mut OpenApi, area: Area) {
    for path in api.paths.paths.values_mut() {
        let operations = [&mut path.get, &mut path.post].into_iter().flatten();
        for operation in operations {
            operation.extensions = roles_extension(area);
        }
    }
}

/// Returns the extension with the roles of an area, or `None` if it requires none.
fn roles_extension(area: Area) -> Option<Extensions> {
    let roles = area.roles();
    (!roles.is_empty()).then(|| ExtensionsBuilder::new().add(ROLES, roles.to_vec()).build())
}

fn add_common_components(components: &mut Components) {
    BodySchema::for_type::<ErrorBody>().add_to(components);
    let cookie = ApiKey::Cookie(ApiKeyValue::new(cookies::SESSION_COOKIE));
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
        .extensions(roles_extension(route.area))
        .request_body(request_body(route, components))
        .response(
            route.success_status.to_string(),
            success_response(route, components),
        );
    for scheme in [COOKIE_SCHEME, BEARER_SCHEME] {
        operation = operation.security(SecurityRequirement::new::<_, [&str; 0], &str>(scheme, []));
    }
    for parameter in parameters(route) {
        operation = operation.parameter(parameter);
    }
    if route.forwards == Forwarded::EntityTags {
        let not_modified = ResponseBuilder::new().description("The client has the image.");
        operation = operation.response("304", not_modified);
    }
    for (status, description) in errors(route) {
        operation = operation.response(status.to_string(), error_response(description));
    }
    operation.build()
}

/// Returns the request body of a route, if it has one with a schema.
fn request_body(route: &ServiceRoute, components: &mut Components) -> Option<RequestBody> {
    let schema = RefOr::Ref(route.request_body?.add_to(components));
    let is_required = !route.has_optional_body();
    let content = ContentBuilder::new()
        .schema(Some(if is_required { schema } else { or_null(schema) }))
        .build();
    // As in the documents of the services, the key is missing if it is false.
    let mut body = RequestBodyBuilder::new().required(is_required.then_some(Required::True));
    for &content_type in route.request_types() {
        body = body.content(content_type, content.clone());
    }
    Some(body.build())
}

fn success_response(route: &ServiceRoute, components: &mut Components) -> ResponseBuilder {
    let mut response = ResponseBuilder::new().description("The response of the service.");
    if let Some(schema) = route.response_body {
        let content = ContentBuilder::new()
            .schema(Some(schema.add_to(components)))
            .build();
        for &content_type in route.response_types() {
            response = response.content(content_type, content.clone());
        }
    }
    response
}

/// Returns the error statuses of a route and their descriptions.
fn errors(route: &ServiceRoute) -> impl Iterator<Item = (u16, &'static str)> {
    let forbidden = match route.area {
        Area::Personal => FOREIGN_ORIGIN,
        area => area.forbidden_message(),
    };
    let gateway_errors = [
        (401, route.area.unauthenticated_message()),
        (403, forbidden),
        (500, "The service is not reachable."),
    ];
    let service_errors = route.error_statuses.iter();
    service_errors
        .map(|&status| (status, status_description(status)))
        .chain(gateway_errors)
}

fn error_response(description: &str) -> ResponseBuilder {
    let error = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(ErrorBody::name())))
        .build();
    ResponseBuilder::new()
        .description(description)
        .content("application/json", error)
}

/// Returns the description of an error status of a service.
const fn status_description(status: u16) -> &'static str {
    match status {
        404 => "No record has this id.",
        408 => "The body did not arrive within 20 s.",
        409 => "The state of the record does not permit the request.",
        413 => "The body is too large.",
        429 => "There are too many such requests.",
        _ => "The request is invalid.",
    }
}

/// Returns the parameters of a route: those in its path first.
fn parameters(route: &ServiceRoute) -> Vec<Parameter> {
    let mut parameters: Vec<_> = names_in_path(route.path).map(path_parameter).collect();
    parameters.extend(idempotency_key(route));
    parameters.extend(list_filters(route));
    parameters.extend(paging_parameters(route));
    if route.forwards == Forwarded::EntityTags {
        let header = parameter("If-None-Match", ParameterIn::Header, Required::False);
        parameters.push(header.build());
    }
    parameters
}

fn path_parameter(name: &str) -> Parameter {
    let parameter = parameter(name, ParameterIn::Path, Required::True);
    match name {
        "app" => parameter.schema(Some(App::schema())).build(),
        _ => parameter.build(),
    }
}

fn parameter(name: &str, location: ParameterIn, required: Required) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(location)
        .required(required)
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
}

/// Returns a schema that also permits `null`.
fn or_null(schema: RefOr<Schema>) -> RefOr<Schema> {
    OneOfBuilder::new()
        .item(schema)
        .item(ObjectBuilder::new().schema_type(Type::Null))
        .into()
}

/// Returns the header of a route that forwards an idempotency key.
fn idempotency_key(route: &ServiceRoute) -> Vec<Parameter> {
    match route.forwards {
        Forwarded::BodyAndIdempotencyKey if route.path.ends_with("/dispatch") => {
            RequiredIdempotencyKey::into_params(|| None)
        }
        Forwarded::BodyAndIdempotencyKey => OptionalIdempotencyKey::into_params(|| None),
        _ => Vec::new(),
    }
}

/// Returns the query parameters that filter a list.
fn list_filters(route: &ServiceRoute) -> Vec<Parameter> {
    match (route.forwards, route.path) {
        (Forwarded::Query, "/api/v1/orders") => OrderFilters::into_params(|| None),
        (Forwarded::Query, "/api/v1/sales/leads") => LeadFilters::into_params(|| None),
        (Forwarded::Query, "/api/v1/expenses") => ExpenseFilters::into_params(|| None),
        (Forwarded::Query, "/api/v1/notifications") => NotificationFilters::into_params(|| None),
        (Forwarded::Query, "/api/v1/warehouse/shipments") => ShipmentFilters::into_params(|| None),
        _ => Vec::new(),
    }
}

/// Returns the query parameters that select a part of a list.
fn paging_parameters(route: &ServiceRoute) -> Vec<Parameter> {
    match (route.forwards, route.service) {
        (Forwarded::Query, DownstreamService::Sales | DownstreamService::Finance) => {
            Paging::into_params(|| None)
        }
        // Products are in the order of their SKUs.
        (Forwarded::Query, _) if route.area == Area::Products => {
            UnorderedPaging::into_params(|| None)
        }
        (Forwarded::Query, _) => CursorPaging::into_params(|| None),
        _ => Vec::new(),
    }
}

/// Returns the names of the parameters in a path.
fn names_in_path(path: &str) -> impl Iterator<Item = &str> {
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

    fn document() -> OpenApi {
        let mut api = OpenApi::default();
        for route in &ROUTES {
            add_route(&mut api, route);
        }
        api
    }

    #[test]
    fn each_operation_documents_its_errors() {
        assert_eq!(
            dm_kit::http::find_missing_responses(document()),
            Vec::<String>::new()
        );
        let api = serde_json::to_value(document()).unwrap();
        for route in &ROUTES {
            let method = route.method.as_str().to_lowercase();
            let responses = &api["paths"][route.path][method]["responses"];
            assert!(responses["403"].is_object(), "{}", route.path);
            // The gateway reads each body that it forwards.
            if route.forwards.has_body() && route.request_body.is_none() {
                assert!(responses["413"].is_object(), "{}", route.path);
                assert!(responses["408"].is_object(), "{}", route.path);
            }
        }
    }

    #[test]
    fn only_the_body_of_a_cancellation_is_optional() {
        let api = serde_json::to_value(document()).unwrap();
        for route in ROUTES.iter().filter(|route| route.request_body.is_some()) {
            let method = route.method.as_str().to_lowercase();
            let body = &api["paths"][route.path][method]["requestBody"];
            let is_optional = route.path.ends_with("/cancel");
            assert_eq!(body["required"] == true, !is_optional, "{}", route.path);
        }
    }

    #[test]
    fn each_list_has_its_filters() {
        let api = serde_json::to_value(document()).unwrap();
        let lists = ROUTES
            .iter()
            .filter(|route| route.forwards == Forwarded::Query);
        let parameters: Vec<_> = lists
            .map(|route| {
                let parameters = &api["paths"][route.path]["get"]["parameters"];
                let names = parameters.as_array().unwrap().iter();
                let names: Vec<_> = names
                    .map(|parameter| parameter["name"].as_str().unwrap())
                    .collect();
                format!("{} {}", route.path, names.join(" "))
            })
            .collect();
        assert_eq!(
            parameters,
            [
                "/api/v1/sales/leads status limit cursor order page size",
                "/api/v1/sales/clients limit cursor order page size",
                "/api/v1/orders clientId status limit cursor order",
                "/api/v1/expenses status limit cursor order page size",
                "/api/v1/notifications unreadOnly limit cursor order",
                "/api/v1/warehouse/shipments status limit cursor order",
                "/api/v1/products limit cursor",
            ]
        );
    }

    #[test]
    fn references_resolve_and_each_operation_has_its_bodies() {
        let api = serde_json::to_value(document()).unwrap();
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
            let has_schema = |body: &Value, content_types: &[&str]| {
                let mut schemas = content_types
                    .iter()
                    .map(|content_type| &body["content"][content_type]["schema"]);
                schemas.all(Value::is_object)
            };
            let response = &operation["responses"][route.success_status.to_string()];
            let has_response = has_schema(response, route.response_types());
            assert_eq!(
                has_response,
                route.response_body.is_some(),
                "{}",
                route.path
            );
            let has_body = has_schema(&operation["requestBody"], route.request_types());
            assert_eq!(has_body, route.request_body.is_some(), "{}", route.path);
        }
    }
}
