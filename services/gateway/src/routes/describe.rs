//! The routes of the table in the OpenAPI description.

use http::Method;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, OpenApi, Ref, Required, ResponseBuilder, SecurityRequirement,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use dm_contracts::api::error::{ErrorBody, ErrorObject, FieldIssue};

use super::table::{Route, Sends};
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
    api.paths
        .add_path_operation(route.path, vec![method], operation(route));
}

fn describe_common(components: &mut Components) {
    for (name, schema) in [
        (ErrorBody::name(), ErrorBody::schema()),
        (ErrorObject::name(), ErrorObject::schema()),
        (FieldIssue::name(), FieldIssue::schema()),
    ] {
        components
            .schemas
            .entry(name.into_owned())
            .or_insert(schema);
    }
    let cookie = ApiKey::Cookie(ApiKeyValue::new(sessions::COOKIE));
    components.add_security_scheme(COOKIE, SecurityScheme::ApiKey(cookie));
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .build();
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
}

fn operation(route: &Route) -> Operation {
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
    if let Some(name) = filter_of(route) {
        operation = operation.parameter(parameter(name, ParameterIn::Query, Required::False));
    }
    if matches!(route.sends, Sends::Body | Sends::BodyAndKey) {
        let any = ContentBuilder::new()
            .schema(Some(ObjectBuilder::new().schema_type(Type::Object)))
            .build();
        let body = RequestBodyBuilder::new()
            .content("application/json", any)
            .build();
        operation = operation.request_body(Some(body));
    }
    let fine = ResponseBuilder::new()
        .description("As the service answers.")
        .content("application/json", ContentBuilder::new().build());
    operation = operation.response(route.ok.to_string(), fine);
    for (status, when) in [
        ("401", route.area.unauthenticated()),
        ("403", route.area.forbidden()),
        ("500", "The service can't be asked."),
    ] {
        let error = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(ErrorBody::name())))
            .build();
        let response = ResponseBuilder::new()
            .description(when)
            .content("application/json", error);
        operation = operation.response(status, response);
    }
    operation.build()
}

fn parameter(name: &str, place: ParameterIn, required: Required) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
}

/// The one filter that a list takes.
fn filter_of(route: &Route) -> Option<&'static str> {
    (route.sends == Sends::Query).then_some(match route.path {
        "/api/v1/orders" => "clientId",
        "/api/v1/notifications" => "unreadOnly",
        _ => "status",
    })
}

fn placeholders(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}
