//! The routes of notifications.

use axum::Json;
use axum::extract::State;
use dm_contracts::api::error::{ErrorBody, FieldIssue};
use dm_contracts::api::notification::{Notification, Notifications};
use dm_contracts::api::parameters::NotificationFilters;
use dm_contracts::time;
use dm_kit::Database;
use dm_kit::http::{ApiError, Caller, CursorPaging, PathId, QueryParams, fetch_list, list_total};

use crate::store::notifications::{self, NotificationListSource};

/// The maximum number of notifications in a response to a request without `limit`.
const DEFAULT_LIMIT: u32 = 100;

/// Lists the caller's notifications, newest first
#[utoipa::path(
    get,
    path = "/internal/notifications",
    operation_id = "listNotifications",
    params(
        Caller,
        NotificationFilters,
        CursorPaging,
    ),
    responses(
        (status = 200, description = "The newest notifications, without `limit` at most 100", body = Notifications),
        (status = 400, description = "unreadOnly or the paging is invalid", body = ErrorBody),
        (status = 401, description = "The request names no user", body = ErrorBody),
    )
)]
pub(super) async fn list(
    State(database): State<Database>,
    Caller(caller): Caller,
    params: QueryParams,
    paging: CursorPaging,
) -> Result<Json<Notifications>, ApiError> {
    let unread_only = unread_only(&params)?;
    let is_partial = paging.is_partial();
    let paging = paging.with_default_limit(DEFAULT_LIMIT);
    let list_of = |unread_only| NotificationListSource {
        user_id: caller.clone(),
        unread_only,
    };
    let list = fetch_list(&database, list_of(unread_only), &paging).await?;
    let is_whole = list.next_cursor.is_none() && !paging.has_cursor();
    let mut response = to_response(list.items);
    response.next_cursor = list.next_cursor;
    if is_partial && !is_whole {
        response.total = list.total;
        response.unread_count = list_total(&database, list_of(true)).await?;
    }
    Ok(Json(response))
}

/// Marks one of the caller's notifications as read
#[utoipa::path(
    post,
    path = "/internal/notifications/{notificationId}/read",
    operation_id = "readNotification",
    params(
        Caller,
        ("notificationId" = String, Path, description = "Id of the notification"),
    ),
    responses(
        (status = 200, description = "The notification", body = Notification),
        (status = 401, description = "The request names no user", body = ErrorBody),
        (status = 404, description = "The caller has no such notification", body = ErrorBody),
    )
)]
pub(super) async fn mark_read(
    State(database): State<Database>,
    Caller(caller): Caller,
    PathId(id): PathId,
) -> Result<Json<Notification>, ApiError> {
    notifications::mark_read(&database, &id, &caller, time::now())
        .await?
        .map(Json)
        .ok_or_else(|| {
            ApiError::not_found(
                "NOTIFICATION_NOT_FOUND",
                format!("Notification {id} was not found"),
            )
        })
}

fn unread_only(params: &QueryParams) -> Result<bool, ApiError> {
    match params.get_exact("unreadOnly") {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(ApiError::validation(
            "Invalid unreadOnly filter",
            vec![FieldIssue::new(
                "unreadOnly",
                "unreadOnly must be true or false",
            )],
        )),
    }
}

/// Returns a response in which `total` and `unreadCount` count its items.
fn to_response(items: Vec<Notification>) -> Notifications {
    let unread = items.iter().filter(|item| !item.is_read).count();
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    Notifications {
        total: number(items.len()),
        unread_count: number(unread),
        items,
        next_cursor: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unread_only_is_true_false_or_an_error() {
        let parse =
            |query: &str| unread_only(&QueryParams::parse(query)).map_err(|error| error.message);
        assert_eq!(parse(""), Ok(false));
        assert_eq!(parse("unreadOnly=false"), Ok(false));
        assert_eq!(parse("unreadOnly=true"), Ok(true));
        for invalid in ["", "1", "yes", "truee", "TRUE", "+true"] {
            assert_eq!(
                parse(&format!("unreadOnly={invalid}")),
                Err("Invalid unreadOnly filter".to_owned())
            );
        }
    }

    #[test]
    fn response_counts_unread_notifications() {
        let item = |is_read| Notification {
            notification_id: "ntf_1000".into(),
            user_id: "jhalpert".into(),
            kind: "ORDER_PLACED".into(),
            title: String::new(),
            body: String::new(),
            deep_link: String::new(),
            is_read,
            created_at: time::now(),
            read_at: None,
        };
        let response = to_response(vec![item(true), item(false), item(false)]);
        assert_eq!((response.total, response.unread_count), (3, 2));
    }
}
