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

use super::changes::{Changes, Look, News};
use super::entry::permit;
use super::proxy::trace_of;
use crate::Gateway;
use crate::access::Area;
use crate::downstream::{self, Call, Service};
use crate::sessions::Session;

/// How often a silent stream says that it is there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

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
    watch(gateway, Changes::whole(order), &request, "/stream", "")
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
    let changes = Changes::by_step(order);
    watch(gateway, changes, &request, "/stream", "/timeline")
}

/// Streams what changes. The timeline is where the request's path, without `suffix`
/// and with `instead`, leads.
fn watch(
    gateway: Arc<Gateway>,
    changes: Changes,
    request: &Request,
    suffix: &str,
    instead: &str,
) -> Result<Response, ApiError> {
    let session = permit(&gateway, Area::Sales, request.headers())?;
    let trace = trace_of(request);
    let headers = downstream::headers(&gateway.secret, Service::Order, &session.user, &trace)
        .ok_or_else(|| ApiError::internal("a user's name can't stand in a header"))?;
    let base = gateway.services.of(Service::Order);
    let url = request
        .uri()
        .path()
        .strip_suffix(suffix)
        .and_then(|path| downstream::target(base, &format!("{path}{instead}"), None))
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
    let watch = Watch {
        _permits: [of_all, of_session],
        url,
        headers,
        ticks: ticks(gateway.stream_pace),
        session: Arc::clone(&session),
        gateway: Arc::clone(&gateway),
        changes,
    };
    let over = async move {
        tokio::select! {
            () = gateway.stop.cancelled() => {}
            () = tokio::time::sleep_until(session.expires.into()) => {}
        }
    };
    let events = watch.events().take_until(Box::pin(over));
    let keep_alive = KeepAlive::new().interval(SIGN_OF_LIFE);
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn ticks(pace: Duration) -> Interval {
    let mut ticks = tokio::time::interval(pace);
    // Looks that a slow service holds up are not made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// One client that watches one order.
struct Watch {
    gateway: Arc<Gateway>,
    session: Arc<Session>,
    url: Url,
    headers: HeaderMap,
    ticks: Interval,
    changes: Changes,
    /// Given back with the stream.
    _permits: [OwnedSemaphorePermit; 2],
}

impl Watch {
    /// All that the client is told, until the session is over.
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        let looks = stream::unfold(Some(self), async |watch| {
            let mut watch = watch?;
            watch.ticks.tick().await;
            if !watch.gateway.sessions.is_live(&watch.session) {
                return None;
            }
            let look = watch.look().await;
            let news = watch.changes.after(look);
            let over = news.iter().any(News::is_last);
            Some((news, (!over).then_some(watch)))
        });
        looks.flat_map(|news| stream::iter(news.into_iter().map(|news| Ok(event(news)))))
    }

    async fn look(&self) -> Look {
        let call = Call {
            method: Method::GET,
            url: self.url.clone(),
            headers: self.headers.clone(),
            body: Bytes::new(),
        };
        match downstream::send(&self.gateway.client, call).await {
            Ok(answer) => Look::of(answer),
            Err(cause) => {
                warn!(%cause, "could not fetch the timeline of an order");
                Look::Failed
            }
        }
    }
}

fn event(news: News) -> Event {
    let error = |message: &str| {
        let data = json!({ "message": message }).to_string();
        Event::default().event("error").data(data)
    };
    match news {
        News::Timeline(text) => Event::default().event("timeline").data(text),
        News::Step(step) => Event::default()
            .event("order.status.changed")
            .data(step.to_string()),
        News::Unknown { order } => error(&format!("Order {order} was not found")),
        News::Failed => error("Unable to stream order timeline"),
    }
}
