//! Forwarding to the services: the gateway decides on access, the service on everything else.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Request, State};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use bytes::Bytes;
use dm_contracts::validation::MAX_AVATAR_BYTES;
use dm_kit::Trace;
use dm_kit::http::{ApiError, OpenApiRouter, RawBody};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::authorization::require_user;
use super::openapi;
use super::route_table::{Forwarded, ROUTES, ServiceRoute};
use crate::Gateway;
use crate::downstream::{self, IDEMPOTENCY_KEY, ServiceRequest};
use crate::user::User;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// Browsers keep images for a minute, and must not show the image of one user to the next one.
const VARY_BY_USER: HeaderValue = HeaderValue::from_static("cookie, authorization");

/// The headers of a service that the response of an image route has.
const IMAGE_HEADERS: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::CONTENT_SECURITY_POLICY,
    header::ETAG,
    header::CACHE_CONTROL,
];

pub(super) fn routes() -> OpenApiRouter<Arc<Gateway>> {
    let mut router = OpenApiRouter::new();
    for route in &ROUTES {
        let filter = match route.method {
            Method::POST => MethodFilter::POST,
            Method::PUT => MethodFilter::PUT,
            Method::DELETE => MethodFilter::DELETE,
            _ => MethodFilter::GET,
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
    Ok(proxy_response(route, response))
}

async fn build_request(
    gateway: &Gateway,
    route: &ServiceRoute,
    user: &User,
    mut request: Request,
) -> Result<ServiceRequest, ApiError> {
    let trace = request_trace(&request);
    let forwards_query = route.forwards == Forwarded::Query;
    let query = request.uri().query().filter(|_| forwards_query);
    let base = gateway.services.base_url(route.service);
    let url = downstream::service_url(base, request.uri().path(), query)
        .ok_or_else(|| ApiError::not_found("NOT_FOUND", "No such path"))?;
    let mut headers = downstream::service_headers(&gateway.secret, route.service, user, &trace)
        .ok_or_else(|| ApiError::internal("the user name is not a valid header value"))?;
    match route.forwards {
        Forwarded::BodyAndIdempotencyKey => {
            if let Some(key) = idempotency_key(request.headers()) {
                headers.insert(IDEMPOTENCY_KEY, key.clone());
            }
        }
        Forwarded::Image => {
            headers.remove(header::CONTENT_TYPE);
            copy_header(request.headers(), header::CONTENT_TYPE, &mut headers);
            DefaultBodyLimit::max(MAX_AVATAR_BYTES).apply(&mut request);
        }
        Forwarded::EntityTags => {
            copy_header(request.headers(), header::IF_NONE_MATCH, &mut headers);
        }
        Forwarded::Query | Forwarded::Body | Forwarded::Nothing => {}
    }
    let body = if route.forwards.has_body() {
        RawBody::from_request(request, &()).await?.0
    } else {
        Bytes::new()
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

/// Copies all values of a header.
fn copy_header(from: &HeaderMap, name: HeaderName, to: &mut HeaderMap) {
    for value in from.get_all(&name) {
        to.append(name.clone(), value.clone());
    }
}

/// Returns a response with status and body of the service, without its headers unless it is that
/// of an image route. The body is streamed: a long list is never in memory as a whole.
fn proxy_response(route: &ServiceRoute, service_response: reqwest::Response) -> Response {
    let status = service_response.status();
    let mut headers = HeaderMap::with_capacity(8);
    if route.is_image_route() {
        for name in IMAGE_HEADERS {
            copy_header(service_response.headers(), name, &mut headers);
        }
        headers.insert(header::VARY, VARY_BY_USER);
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    let has_body = !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let body = if has_body {
        if let Some(length) = service_response.content_length() {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        headers.entry(header::CONTENT_TYPE).or_insert(JSON);
        Body::from_stream(service_response.bytes_stream())
    } else {
        Body::empty()
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
