//! The timeline of an order as server-sent events: complete, or entry by entry.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use dm_contracts::api::error::ErrorBody;
use dm_kit::http::{ApiError, OpenApiRouter, PathId};
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior};
use tracing::warn;
use url::Url;
use utoipa_axum::routes;

use super::authorization::{Identity, require_identity};
use super::openapi;
use super::proxy::request_trace;
use super::timeline_diff::{PollResult, StreamEvent, TimelineDiff};
use crate::Gateway;
use crate::access::Area;
use crate::downstream::{self, DownstreamService, ServiceRequest};

/// The area of the streams.
const AREA: Area = Area::Sales;

/// Interval of keep-alive comments in a stream without events.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

pub(super) fn routes() -> OpenApiRouter<Arc<Gateway>> {
    let mut router = OpenApiRouter::new()
        .routes(routes!(timeline))
        .routes(routes!(entries));
    openapi::describe_access(router.get_openapi_mut(), AREA);
    router
}

/// Streams the timeline of an order.
///
/// The event `timeline` carries the complete timeline; it is sent first and after each change.
/// The event `error` carries a message. The stream ends if the order is not found.
#[utoipa::path(
    get,
    path = "/api/v1/orders/{orderId}/timeline/stream",
    tag = "order",
    security(("session" = []), ("bearer" = [])),
    params(("orderId" = String, Path, description = "The id of the order.")),
    responses(
        (status = 200, description = "A stream of events.", content_type = "text/event-stream"),
        (status = 401, description = "Login is required", body = ErrorBody),
        (status = 403, description = "Sales role is required to access orders", body = ErrorBody),
        (status = 429, description = "There are too many streams already", body = ErrorBody),
    )
)]
async fn timeline(
    State(gateway): State<Arc<Gateway>>,
    PathId(order): PathId,
    request: Request,
) -> Result<Response, ApiError> {
    let diff = TimelineDiff::full(order);
    stream_timeline(gateway, diff, request, "/stream", "").await
}

/// Streams the entries of the timeline of an order.
///
/// The event `order.status.changed` carries one entry of the timeline. The existing entries are
/// sent first, then each new entry. The event `error` carries a message, as in the stream of the
/// timeline.
#[utoipa::path(
    get,
    path = "/api/v1/orders/{orderId}/stream",
    operation_id = "steps",
    tag = "order",
    security(("session" = []), ("bearer" = [])),
    params(("orderId" = String, Path, description = "The id of the order.")),
    responses(
        (status = 200, description = "A stream of events.", content_type = "text/event-stream"),
        (status = 401, description = "Login is required", body = ErrorBody),
        (status = 403, description = "Sales role is required to access orders", body = ErrorBody),
        (status = 429, description = "There are too many streams already", body = ErrorBody),
    )
)]
async fn entries(
    State(gateway): State<Arc<Gateway>>,
    PathId(order): PathId,
    request: Request,
) -> Result<Response, ApiError> {
    let diff = TimelineDiff::by_entry(order);
    stream_timeline(gateway, diff, request, "/stream", "/timeline").await
}

/// Streams the changes of a timeline. The path of the timeline is the path of the request
/// with `suffix` replaced by `replacement`.
async fn stream_timeline(
    gateway: Arc<Gateway>,
    diff: TimelineDiff,
    request: Request,
    suffix: &str,
    replacement: &str,
) -> Result<Response, ApiError> {
    let identity = require_identity(&gateway, AREA, request.headers()).await?;
    let trace = request_trace(&request);
    let headers = downstream::service_headers(
        &gateway.secret,
        DownstreamService::Order,
        identity.user(),
        &trace,
    )
    .ok_or_else(|| ApiError::internal("the user name is not a valid header value"))?;
    let base = gateway.services.base_url(DownstreamService::Order);
    let url = request
        .uri()
        .path()
        .strip_suffix(suffix)
        .and_then(|path| downstream::service_url(base, &format!("{path}{replacement}"), None))
        .ok_or_else(|| ApiError::not_found("NOT_FOUND", "No such path"))?;
    let permits =
        [&gateway.streams, identity.streams()].map(|limit| Arc::clone(limit).try_acquire_owned());
    let [Ok(gateway_permit), Ok(user_permit)] = permits else {
        return Err(ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "TOO_MANY_STREAMS",
            "There are too many streams already",
        ));
    };
    let timeline = TimelineStream {
        _permits: [gateway_permit, user_permit],
        url,
        headers,
        poll_timer: poll_timer(gateway.stream_poll_interval),
        identity: identity.clone(),
        gateway: Arc::clone(&gateway),
        diff,
    };
    let end = async move {
        tokio::select! {
            () = gateway.stop.cancelled() => {}
            () = identity.ended() => {}
        }
    };
    let events = timeline.into_events().take_until(Box::pin(end));
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE_INTERVAL);
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn poll_timer(interval: Duration) -> Interval {
    let mut timer = tokio::time::interval(interval);
    // Polls that a slow service delays are not caught up.
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer
}

/// The stream of one client for one order.
struct TimelineStream {
    gateway: Arc<Gateway>,
    identity: Identity,
    url: Url,
    headers: HeaderMap,
    poll_timer: Interval,
    diff: TimelineDiff,
    /// Released with the stream.
    _permits: [OwnedSemaphorePermit; 2],
}

impl TimelineStream {
    /// Returns the events for the client, until the session or the token ends.
    fn into_events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        let batches = stream::unfold(Some(self), async |timeline| {
            let mut timeline = timeline?;
            timeline.poll_timer.tick().await;
            let gateway = &timeline.gateway;
            if !timeline.identity.still_permits(gateway, AREA).await {
                return None;
            }
            let result = timeline.poll_timeline().await;
            let events = timeline.diff.update(result);
            let ended = events.iter().any(StreamEvent::is_last);
            Some((events, (!ended).then_some(timeline)))
        });
        batches.flat_map(|events| {
            stream::iter(events.into_iter().map(|event| Ok(to_sse_event(event))))
        })
    }

    async fn poll_timeline(&self) -> PollResult {
        let request = ServiceRequest {
            method: Method::GET,
            url: self.url.clone(),
            headers: self.headers.clone(),
            body: Bytes::new(),
        };
        match downstream::send(&self.gateway.client, request).await {
            Ok(response) => PollResult::from_response(response),
            Err(cause) => {
                warn!(error.message = %cause, "could not fetch the timeline of the order");
                PollResult::Failed
            }
        }
    }
}

fn to_sse_event(event: StreamEvent) -> Event {
    let error = |message: &str| {
        let data = json!({ "message": message }).to_string();
        Event::default().event("error").data(data)
    };
    match event {
        StreamEvent::Timeline(text) => Event::default().event("timeline").data(text),
        StreamEvent::Entry(entry) => Event::default()
            .event("order.status.changed")
            .data(entry.to_string()),
        StreamEvent::NotFound { order } => error(&format!("Order {order} was not found")),
        StreamEvent::Failed => error("Unable to stream order timeline"),
    }
}
