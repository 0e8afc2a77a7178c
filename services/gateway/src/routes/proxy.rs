//! The services' routes: who may call is decided here, the rest by the service.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest as _, Request, State};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use bytes::Bytes;
use dm_kit::Trace;
use dm_kit::http::{ApiError, OpenApiRouter, Raw};
use http::{HeaderMap, HeaderValue, Method, header};

use super::describe;
use super::entry::enter;
use super::table::{ROUTES, Route, Sends};
use crate::Gateway;
use crate::downstream::{self, Call, IDEMPOTENCY_KEY};
use crate::sessions::User;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

pub(super) fn routes() -> OpenApiRouter<Arc<Gateway>> {
    let mut router = OpenApiRouter::new();
    for route in &ROUTES {
        let filter = if route.method == Method::POST {
            MethodFilter::POST
        } else {
            MethodFilter::GET
        };
        let handler = async move |State(gateway): State<Arc<Gateway>>, request| {
            forward(&gateway, route, request).await
        };
        router = router.route(route.path, on(filter, handler));
        describe::add(router.get_openapi_mut(), route);
    }
    router
}

async fn forward(gateway: &Gateway, route: &Route, request: Request) -> Result<Response, ApiError> {
    // Nobody's body is read before it is known whose it is.
    let user = enter(gateway, route.area, request.headers()).await?;
    let call = call(gateway, route, &user, request).await?;
    let answer = downstream::open(&gateway.client, call)
        .await
        .map_err(|cause| ApiError::internal(format!("{}: {cause}", route.service.name())))?;
    Ok(respond(answer))
}

async fn call(
    gateway: &Gateway,
    route: &Route,
    user: &User,
    request: Request,
) -> Result<Call, ApiError> {
    let trace = trace_of(&request);
    let query = match route.sends {
        Sends::Query => request.uri().query(),
        Sends::Body | Sends::BodyAndKey | Sends::Nothing => None,
    };
    let base = gateway.services.of(route.service);
    let url = downstream::target(base, request.uri().path(), query)
        .ok_or_else(|| ApiError::not_found("NOT_FOUND", "There is nothing here"))?;
    let mut headers = downstream::headers(&gateway.secret, route.service, user, &trace)
        .ok_or_else(|| ApiError::internal("a user's name can't stand in a header"))?;
    if route.sends == Sends::BodyAndKey
        && let Some(key) = idempotency_key(request.headers())
    {
        headers.insert(IDEMPOTENCY_KEY, key.clone());
    }
    let body = match route.sends {
        Sends::Body | Sends::BodyAndKey => Raw::from_request(request, &()).await?.0,
        Sends::Query | Sends::Nothing => Bytes::new(),
    };
    Ok(Call {
        method: route.method.clone(),
        url,
        headers,
        body,
    })
}

/// The trace that the kit gave the request.
pub(super) fn trace_of(request: &Request) -> Trace {
    let given = request.extensions().get::<Trace>().cloned();
    given.unwrap_or_else(|| Trace::of_request(request.headers()))
}

fn idempotency_key(headers: &HeaderMap) -> Option<&HeaderValue> {
    let blank = |value: &HeaderValue| value.as_bytes().iter().all(u8::is_ascii_whitespace);
    headers.get(IDEMPOTENCY_KEY).filter(|value| !blank(value))
}

/// Status and body of the service, and no header of it. The body goes through as it
/// comes: a long list is never whole here.
fn respond(answer: reqwest::Response) -> Response {
    let status = answer.status();
    let length = answer.content_length();
    let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_TYPE, JSON);
    response
}
