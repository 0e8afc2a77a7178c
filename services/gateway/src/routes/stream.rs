//! An order's timeline as server-sent events: whole, or step by step.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use dm_contracts::api::error::ErrorBody;
use dm_kit::http::{ApiError, OpenApiRouter};
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior};
use tracing::warn;
use url::Url;
use utoipa_axum::routes;

use super::authorization::require_session;
use super::proxy::request_trace;
use super::timeline_diff::{PollResult, StreamEvent, TimelineDiff};
use crate::Gateway;
use crate::access::Area;
use crate::downstream::{self, DownstreamService, ServiceRequest};
use crate::sessions::UserSession;

/// How often a silent stream says that it is there.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

pub(super) fn routes() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new()
        .routes(routes!(timeline))
        .routes(routes!(steps))
}

/// An order's timeline, whenever it changes.
///
/// `timeline` has the whole timeline, at once and then whenever it has changed.
/// `error` says what is wrong; after an unknown order the stream ends.
#[utoipa::path(
    get,
    path = "/api/v1/orders/{orderId}/timeline/stream",
    tag = "order",
    security(("session" = [])),
    params(("orderId" = String, Path, description = "The order.")),
    responses(
        (status = 200, description = "Events.", content_type = "text/event-stream"),
        (status = 401, description = "Login is required", body = ErrorBody),
        (status = 403, description = "Sales role is required to access orders", body = ErrorBody),
        (status = 429, description = "There are too many streams already", body = ErrorBody),
    )
)]
async fn timeline(
    State(gateway): State<Arc<Gateway>>,
    Path(order): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    stream_timeline(gateway, TimelineDiff::full(order), &request, "/stream", "")
}

/// What happens to an order, step by step.
///
/// `order.status.changed` has one step of the timeline: those that were, at once,
/// and then each that comes. `error` is as for the timeline's stream.
#[utoipa::path(
    get,
    path = "/api/v1/orders/{orderId}/stream",
    tag = "order",
    security(("session" = [])),
    params(("orderId" = String, Path, description = "The order.")),
    responses(
        (status = 200, description = "Events.", content_type = "text/event-stream"),
        (status = 401, description = "Login is required", body = ErrorBody),
        (status = 403, description = "Sales role is required to access orders", body = ErrorBody),
        (status = 429, description = "There are too many streams already", body = ErrorBody),
    )
)]
async fn steps(
    State(gateway): State<Arc<Gateway>>,
    Path(order): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let changes = TimelineDiff::by_step(order);
    stream_timeline(gateway, changes, &request, "/stream", "/timeline")
}

/// Streams what changes. The timeline is where the request's path, without `suffix`
/// and with `instead`, leads.
fn stream_timeline(
    gateway: Arc<Gateway>,
    changes: TimelineDiff,
    request: &Request,
    suffix: &str,
    instead: &str,
) -> Result<Response, ApiError> {
    let session = require_session(&gateway, Area::Sales, request.headers())?;
    let trace = request_trace(request);
    let headers = downstream::service_headers(
        &gateway.secret,
        DownstreamService::Order,
        &session.user,
        &trace,
    )
    .ok_or_else(|| ApiError::internal("a user's name can't stand in a header"))?;
    let base = gateway.services.base_url(DownstreamService::Order);
    let url = request
        .uri()
        .path()
        .strip_suffix(suffix)
        .and_then(|path| downstream::service_url(base, &format!("{path}{instead}"), None))
        .ok_or_else(|| ApiError::not_found("NOT_FOUND", "There is nothing here"))?;
    let permits =
        [&gateway.streams, &session.streams].map(|all| Arc::clone(all).try_acquire_owned());
    let [Ok(of_all), Ok(of_session)] = permits else {
        return Err(ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "TOO_MANY_STREAMS",
            "There are too many streams already",
        ));
    };
    let watch = TimelineStream {
        _permits: [of_all, of_session],
        url,
        headers,
        poll_timer: poll_timer(gateway.stream_poll_interval),
        session: Arc::clone(&session),
        gateway: Arc::clone(&gateway),
        diff: changes,
    };
    let over = async move {
        tokio::select! {
            () = gateway.stop.cancelled() => {}
            () = tokio::time::sleep_until(session.deadline.into()) => {}
        }
    };
    let events = watch.into_events().take_until(Box::pin(over));
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE_INTERVAL);
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn poll_timer(pace: Duration) -> Interval {
    let mut ticks = tokio::time::interval(pace);
    // Looks that a slow service holds up are not made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// One client that watches one order.
struct TimelineStream {
    gateway: Arc<Gateway>,
    session: Arc<UserSession>,
    url: Url,
    headers: HeaderMap,
    poll_timer: Interval,
    diff: TimelineDiff,
    /// Given back with the stream.
    _permits: [OwnedSemaphorePermit; 2],
}

impl TimelineStream {
    /// All that the client is told, until the session is over.
    fn into_events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        let looks = stream::unfold(Some(self), async |watch| {
            let mut watch = watch?;
            watch.poll_timer.tick().await;
            if !watch.gateway.sessions.is_active(&watch.session) {
                return None;
            }
            let look = watch.poll_timeline().await;
            let news = watch.diff.update(look);
            let over = news.iter().any(StreamEvent::is_last);
            Some((news, (!over).then_some(watch)))
        });
        looks.flat_map(|news| stream::iter(news.into_iter().map(|news| Ok(to_sse_event(news)))))
    }

    async fn poll_timeline(&self) -> PollResult {
        let call = ServiceRequest {
            method: Method::GET,
            url: self.url.clone(),
            headers: self.headers.clone(),
            body: Bytes::new(),
        };
        match downstream::send(&self.gateway.client, call).await {
            Ok(answer) => PollResult::from_response(answer),
            Err(cause) => {
                warn!(%cause, "could not fetch the timeline of an order");
                PollResult::Failed
            }
        }
    }
}

fn to_sse_event(news: StreamEvent) -> Event {
    let error = |message: &str| {
        let data = json!({ "message": message }).to_string();
        Event::default().event("error").data(data)
    };
    match news {
        StreamEvent::Timeline(text) => Event::default().event("timeline").data(text),
        StreamEvent::Step(step) => Event::default()
            .event("order.status.changed")
            .data(step.to_string()),
        StreamEvent::NotFound { order } => error(&format!("Order {order} was not found")),
        StreamEvent::Failed => error("Unable to stream order timeline"),
    }
}
