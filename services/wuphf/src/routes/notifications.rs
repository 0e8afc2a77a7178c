//! The routes of notifications.

use axum::Json;
use axum::extract::State;
use dm_contracts::api::error::{ErrorBody, FieldIssue};
use dm_contracts::api::notification::{Notification, Notifications};
use dm_contracts::time;
use dm_kit::Database;
use dm_kit::http::{ApiError, Caller, PathId, QueryParams};

use crate::store::notifications;

/// Lists the caller's notifications, newest first
#[utoipa::path(
    get,
    path = "/internal/notifications",
    operation_id = "listNotifications",
    params(
        ("x-user-id" = String, Header, description = "Name of the signed-in user"),
        ("unreadOnly" = Option<bool>, Query, description = "Only unread notifications"),
    ),
    responses(
        (status = 200, description = "The newest notifications, at most 100", body = Notifications),
        (status = 400, description = "unreadOnly is neither true nor false", body = ErrorBody),
        (status = 401, description = "The request names no user", body = ErrorBody),
    )
)]
pub(super) async fn list(
    State(database): State<Database>,
    Caller(caller): Caller,
    params: QueryParams,
) -> Result<Json<Notifications>, ApiError> {
    let unread_only = unread_only(&params)?;
    let items = notifications::list(&database, &caller, unread_only).await?;
    Ok(Json(to_response(items)))
}

/// Marks one of the caller's notifications as read
#[utoipa::path(
    post,
    path = "/internal/notifications/{notificationId}/read",
    operation_id = "readNotification",
    params(
        ("x-user-id" = String, Header, description = "Name of the signed-in user"),
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
    match params.get("unreadOnly") {
        None => Ok(false),
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(_) => Err(ApiError::validation(
            "Invalid unreadOnly filter",
            vec![FieldIssue::new(
                "unreadOnly",
                "unreadOnly must be true or false",
            )],
        )),
    }
}

fn to_response(items: Vec<Notification>) -> Notifications {
    let unread = items.iter().filter(|item| !item.is_read).count();
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    Notifications {
        total: number(items.len()),
        unread_count: number(unread),
        items,
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
        assert_eq!(parse("unreadOnly="), Ok(false));
        assert_eq!(parse("unreadOnly=false"), Ok(false));
        assert_eq!(parse("unreadOnly=TRUE"), Ok(true));
        for invalid in ["1", "yes", "truee"] {
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
