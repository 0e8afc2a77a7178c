//! The routes of the table in the OpenAPI description.

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

use super::shape::Shape;
use super::table::{Route, Sends};
use crate::access::Area;
use crate::sessions;

const COOKIE: &str = "session";
const BEARER: &str = "bearer";

/// Adds a route to the description.
pub(super) fn add(api: &mut OpenApi, route: &Route) {
    let components = api.components.get_or_insert_with(Components::default);
    describe_common(components);
    let method = if route.method == Method::POST {
        HttpMethod::Post
    } else {
        HttpMethod::Get
    };
    let operation = operation(route, components);
    api.paths
        .add_path_operation(route.path, vec![method], operation);
}

fn describe_common(components: &mut Components) {
    Shape::of::<ErrorBody>().add(components);
    let cookie = ApiKey::Cookie(ApiKeyValue::new(sessions::COOKIE));
    components.add_security_scheme(COOKIE, SecurityScheme::ApiKey(cookie));
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .build();
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
}

fn operation(route: &Route, components: &mut Components) -> Operation {
    let mut operation = OperationBuilder::new()
        .tag(route.service.name())
        .summary(Some(route.summary))
        .security(SecurityRequirement::new::<_, [&str; 0], &str>(COOKIE, []));
    if route.area.takes_bearers() {
        operation = operation.security(SecurityRequirement::new::<_, [&str; 0], &str>(BEARER, []));
    }
    for name in placeholders(route.path) {
        operation = operation.parameter(parameter(name, ParameterIn::Path, Required::True));
    }
    if route.sends == Sends::BodyAndKey {
        let required = if route.path.ends_with("/dispatch") {
            Required::True
        } else {
            Required::False
        };
        operation =
            operation.parameter(parameter("Idempotency-Key", ParameterIn::Header, required));
    }
    for name in filters_of(route) {
        operation = operation.parameter(parameter(name, ParameterIn::Query, Required::False));
    }
    if let Some(shape) = route.takes {
        let content = ContentBuilder::new()
            .schema(Some(shape.add(components)))
            .build();
        let body = RequestBodyBuilder::new()
            .content("application/json", content)
            .build();
        operation = operation.request_body(Some(body));
    }
    let content = ContentBuilder::new()
        .schema(Some(route.answers.add(components)))
        .build();
    let fine = ResponseBuilder::new()
        .description("As the service answers.")
        .content("application/json", content);
    operation = operation.response(route.ok.to_string(), fine);
    let own = route
        .refuses
        .iter()
        .map(|&status| (status, meaning(status)));
    let forbidden = (route.area != Area::Own).then(|| (403, route.area.forbidden()));
    let gates = [
        (401, route.area.unauthenticated()),
        (500, "The service is not reachable."),
    ];
    for (status, when) in own.chain(gates).chain(forbidden) {
        let error = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(ErrorBody::name())))
            .build();
        let response = ResponseBuilder::new()
            .description(when)
            .content("application/json", error);
        operation = operation.response(status.to_string(), response);
    }
    operation.build()
}

/// What a service means by a refusal.
const fn meaning(status: u16) -> &'static str {
    match status {
        404 => "There is none of that id.",
        409 => "It is not so far, or past that.",
        _ => "Something in the request breaks a rule.",
    }
}

fn parameter(name: &str, place: ParameterIn, required: Required) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
}

/// The filters that a list takes.
fn filters_of(route: &Route) -> &'static [&'static str] {
    match (route.sends, route.path) {
        (Sends::Query, "/api/v1/orders") => &["clientId"],
        (Sends::Query, "/api/v1/notifications") => &["unreadOnly"],
        (Sends::Query, "/api/v1/warehouse/shipments") => &["status"],
        (Sends::Query, "/api/v1/sales/clients") => &["page", "size"],
        (Sends::Query, _) => &["status", "page", "size"],
        _ => &[],
    }
}

fn placeholders(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::table::ROUTES;
    use super::*;

    fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value.as_str() {
                        Some(reference) if name == "$ref" => found.push(reference),
                        _ => references(value, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn a_client_can_be_made_of_it_alone() {
        let mut api = OpenApi::default();
        for route in &ROUTES {
            add(&mut api, route);
        }
        let api = serde_json::to_value(&api).unwrap();
        let mut found = Vec::new();
        references(&api, &mut found);
        assert!(found.len() > ROUTES.len());
        for reference in found {
            let pointer = reference.trim_start_matches('#');
            assert!(api.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
        for route in &ROUTES {
            let method = route.method.as_str().to_lowercase();
            let operation = &api["paths"][route.path][method];
            let json = |body: &Value| body["content"]["application/json"]["schema"].clone();
            let answer = json(&operation["responses"][route.ok.to_string()]);
            assert!(answer.is_object(), "{} has no answer", route.path);
            let takes = json(&operation["requestBody"]).is_object();
            assert_eq!(takes, route.takes.is_some(), "{}", route.path);
        }
    }
}
