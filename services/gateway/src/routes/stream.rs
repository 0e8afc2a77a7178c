//! An order's timeline as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use dm_kit::http::{ApiError, OpenApiRouter};
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::json;
use tokio::time::{Interval, MissedTickBehavior};
use tracing::warn;
use url::Url;
use utoipa_axum::routes;

use super::entry::permit;
use super::proxy::trace_of;
use crate::Gateway;
use crate::access::Area;
use crate::downstream::{self, Answer, Call, Service, Unreachable};
use crate::sessions::Session;

/// How often a silent stream says that it is there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

pub(super) fn routes() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new().routes(routes!(timeline))
}

/// What happens to an order, as it happens.
///
/// `timeline` has the whole timeline, at once and then whenever it has changed.
/// `error` says what is wrong; after an unknown order the stream ends.
#[utoipa::path(
    get,
    path = "/api/v1/orders/{orderId}/timeline/stream",
    tag = "order",
    params(("orderId" = String, Path, description = "The order.")),
    responses(
        (status = 200, description = "Events.", content_type = "text/event-stream"),
        (status = 401, description = "Login is required"),
        (status = 403, description = "Sales role is required to access orders"),
    )
)]
async fn timeline(
    State(gateway): State<Arc<Gateway>>,
    Path(order): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let session = permit(&gateway, Area::Sales, request.headers())?;
    let trace = trace_of(&request);
    let headers = downstream::headers(Service::Order, &session.user, &trace)
        .ok_or_else(|| ApiError::internal("a user's name can't stand in a header"))?;
    let base = gateway.services.of(Service::Order);
    let url = request
        .uri()
        .path()
        .strip_suffix("/stream")
        .and_then(|path| downstream::target(base, path, None))
        .ok_or_else(|| ApiError::not_found("NOT_FOUND", "There is nothing here"))?;
    let watch = Watch {
        url,
        headers,
        ticks: ticks(gateway.stream_pace),
        session: Arc::clone(&session),
        gateway: Arc::clone(&gateway),
        changes: Changes::of(order),
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
}

impl Watch {
    /// All that the client is told, until the session is over.
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(Some(self), async |watch| {
            let mut watch = watch?;
            loop {
                watch.ticks.tick().await;
                if !watch.gateway.sessions.is_live(&watch.session) {
                    return None;
                }
                let look = watch.look().await;
                let Some(news) = watch.changes.after(look) else {
                    continue;
                };
                let rest = (!news.is_last()).then_some(watch);
                return Some((Ok(news.into_event()), rest));
            }
        })
    }

    async fn look(&self) -> Look {
        let call = Call {
            method: Method::GET,
            url: self.url.clone(),
            headers: self.headers.clone(),
            body: Bytes::new(),
        };
        let answer = downstream::send(&self.gateway.client, call).await;
        Look::of(answer)
    }
}

/// What a look at the order's timeline has found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Look {
    Timeline(String),
    Unknown,
    Failed,
}

impl Look {
    fn of(answer: Result<Answer, Unreachable>) -> Self {
        match answer {
            Ok(answer) if answer.status.is_success() => {
                match String::from_utf8(answer.body.into()) {
                    // Line ends mean something in the protocol, and nothing in JSON.
                    Ok(text) => Self::Timeline(text.replace(['\r', '\n'], " ")),
                    Err(_) => Self::Failed,
                }
            }
            Ok(answer) if answer.status == StatusCode::NOT_FOUND => Self::Unknown,
            Ok(_) => Self::Failed,
            Err(cause) => {
                warn!(%cause, "an order's timeline can't be had");
                Self::Failed
            }
        }
    }
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum News {
    Timeline(String),
    Unknown { order: String },
    Failed,
}

impl News {
    fn is_last(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }

    fn into_event(self) -> Event {
        let error = |message: &str| {
            let data = json!({ "message": message }).to_string();
            Event::default().event("error").data(data)
        };
        match self {
            Self::Timeline(text) => Event::default().event("timeline").data(text),
            Self::Unknown { order } => error(&format!("Order {order} was not found")),
            Self::Failed => error("Unable to stream order timeline"),
        }
    }
}

/// What a client knows already.
#[derive(Debug)]
struct Changes {
    order: String,
    told: Option<String>,
}

impl Changes {
    fn of(order: String) -> Self {
        Self { order, told: None }
    }

    /// What is new to the client. After a failure the timeline is told again:
    /// otherwise the failure would seem to last.
    fn after(&mut self, look: Look) -> Option<News> {
        match look {
            Look::Timeline(text) if self.told.as_ref() == Some(&text) => None,
            Look::Timeline(text) => {
                self.told = Some(text.clone());
                Some(News::Timeline(text))
            }
            Look::Unknown => Some(News::Unknown {
                order: self.order.clone(),
            }),
            Look::Failed => {
                self.told = None;
                Some(News::Failed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(text: &str) -> Look {
        Look::Timeline(text.to_owned())
    }

    #[test]
    fn a_timeline_is_told_only_if_it_changed() {
        let mut changes = Changes::of("ord_1".into());
        let told: Vec<_> = ["a", "a", "b", "b", "a"]
            .into_iter()
            .filter_map(|text| changes.after(timeline(text)))
            .collect();
        let news = |text: &str| News::Timeline(text.to_owned());
        assert_eq!(told, [news("a"), news("b"), news("a")]);
    }

    #[test]
    fn a_failure_is_told_and_the_stream_goes_on() {
        let mut changes = Changes::of("ord_1".into());
        changes.after(timeline("a"));
        let news = changes.after(Look::Failed).unwrap();
        assert_eq!(news, News::Failed);
        assert!(!news.is_last());
        assert_eq!(
            changes.after(timeline("a")),
            Some(News::Timeline("a".into()))
        );
    }

    #[test]
    fn an_unknown_order_ends_the_stream() {
        let news = Changes::of("ord_1".into()).after(Look::Unknown).unwrap();
        assert!(news.is_last());
    }

    #[test]
    fn answers_are_told_apart() {
        let answer = |status, body: &'static [u8]| {
            Look::of(Ok(Answer {
                status,
                body: Bytes::from_static(body),
            }))
        };
        assert_eq!(
            answer(StatusCode::OK, b"{\r\n\"a\":1}"),
            timeline("{  \"a\":1}")
        );
        assert_eq!(answer(StatusCode::NOT_FOUND, b""), Look::Unknown);
        assert_eq!(answer(StatusCode::OK, b"\xff"), Look::Failed);
        for status in [
            StatusCode::FOUND,
            StatusCode::BAD_REQUEST,
            StatusCode::BAD_GATEWAY,
        ] {
            assert_eq!(answer(status, b""), Look::Failed);
        }
    }
}
