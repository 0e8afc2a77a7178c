//! Forwarding to the services: the gateway decides on access, the service on everything else.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest as _, Request, State};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use bytes::Bytes;
use dm_kit::Trace;
use dm_kit::http::{ApiError, OpenApiRouter, RawBody};
use http::{HeaderMap, HeaderValue, Method, header};

use super::authorization::require_user;
use super::openapi;
use super::route_table::{Forwarded, ROUTES, ServiceRoute};
use crate::Gateway;
use crate::downstream::{self, IDEMPOTENCY_KEY, ServiceRequest};
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
        openapi::add_route(router.get_openapi_mut(), route);
    }
    router
}

async fn forward(
    gateway: &Gateway,
    route: &ServiceRoute,
    request: Request,
) -> Result<Response, ApiError> {
    // The body is read only after the user is authenticated.
    let user = require_user(gateway, route.area, request.headers()).await?;
    let request = build_request(gateway, route, &user, request).await?;
    let response = downstream::send_streaming(&gateway.client, request)
        .await
        .map_err(|cause| ApiError::internal(format!("{}: {cause}", route.service.name())))?;
    Ok(proxy_response(response))
}

async fn build_request(
    gateway: &Gateway,
    route: &ServiceRoute,
    user: &User,
    request: Request,
) -> Result<ServiceRequest, ApiError> {
    let trace = request_trace(&request);
    let query = match route.forwards {
        Forwarded::Query => request.uri().query(),
        Forwarded::Body | Forwarded::BodyAndIdempotencyKey | Forwarded::Nothing => None,
    };
    let base = gateway.services.base_url(route.service);
    let url = downstream::service_url(base, request.uri().path(), query)
        .ok_or_else(|| ApiError::not_found("NOT_FOUND", "No such path"))?;
    let mut headers = downstream::service_headers(&gateway.secret, route.service, user, &trace)
        .ok_or_else(|| ApiError::internal("the user name is not a valid header value"))?;
    if route.forwards == Forwarded::BodyAndIdempotencyKey
        && let Some(key) = idempotency_key(request.headers())
    {
        headers.insert(IDEMPOTENCY_KEY, key.clone());
    }
    let body = match route.forwards {
        Forwarded::Body | Forwarded::BodyAndIdempotencyKey => {
            RawBody::from_request(request, &()).await?.0
        }
        Forwarded::Query | Forwarded::Nothing => Bytes::new(),
    };
    Ok(ServiceRequest {
        method: route.method.clone(),
        url,
        headers,
        body,
    })
}

/// Returns the trace of the request, which the middleware of the kit has set.
pub(super) fn request_trace(request: &Request) -> Trace {
    let trace = request.extensions().get::<Trace>().cloned();
    trace.unwrap_or_else(|| Trace::from_headers(request.headers()))
}

fn idempotency_key(headers: &HeaderMap) -> Option<&HeaderValue> {
    let is_blank = |value: &HeaderValue| value.as_bytes().iter().all(u8::is_ascii_whitespace);
    headers
        .get(IDEMPOTENCY_KEY)
        .filter(|value| !is_blank(value))
}

/// Returns a response with status and body of the service, without its headers. The body is
/// streamed: a long list is never in memory as a whole.
fn proxy_response(service_response: reqwest::Response) -> Response {
    let status = service_response.status();
    let length = service_response.content_length();
    let mut response = Response::new(Body::from_stream(service_response.bytes_stream()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_TYPE, JSON);
    response
}
