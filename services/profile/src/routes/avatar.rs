//! Avatars.

use axum::extract::{DefaultBodyLimit, FromRequest as _, Request, State};
use axum::response::{IntoResponse as _, Response};
use dm_contracts::api::error::{ErrorBody, FieldIssue};
use dm_contracts::api::profile::ImageFile;
use dm_contracts::validation::MAX_AVATAR_BYTES;
use dm_kit::Database;
use dm_kit::http::{ApiError, Caller, PathId, RawBody};
use http::{HeaderMap, StatusCode, header};

use super::image_response::{ImageResponse, quote_etag};
use crate::avatar_converter::AvatarConverter;
use crate::domain::{ImageKind, initials_svg};
use crate::store::{avatars, profiles};

/// Returns the caller's avatar, or an image with the initials of the caller
#[utoipa::path(
    get,
    path = "/internal/profile/me/avatar",
    operation_id = "getOwnAvatar",
    params(
        Caller,
        ("If-None-Match" = Option<String>, Header, nullable = false, description = "Entity tags of the images that the caller has"),
    ),
    responses(
        (status = 200, description = "The image", content(
            (ImageFile = "image/png"),
            (ImageFile = "image/svg+xml"),
        )),
        (status = 304, description = "The caller has the image"),
        (status = 401, description = "The request names no user", body = ErrorBody),
    )
)]
pub(super) async fn own(
    State(database): State<Database>,
    Caller(caller): Caller,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    avatar_response(&database, &caller, &headers).await
}

/// Returns the avatar of a user, or an image with the initials of the user
#[utoipa::path(
    get,
    path = "/internal/profile/{userId}/avatar",
    operation_id = "getAvatar",
    params(
        ("userId" = String, Path, description = "The user, who need not have a profile"),
        Caller,
        ("If-None-Match" = Option<String>, Header, nullable = false, description = "Entity tags of the images that the caller has"),
    ),
    responses(
        (status = 200, description = "The image", content(
            (ImageFile = "image/png"),
            (ImageFile = "image/svg+xml"),
        )),
        (status = 304, description = "The caller has the image"),
        (status = 401, description = "The request names no user", body = ErrorBody),
    )
)]
pub(super) async fn of_user(
    State(database): State<Database>,
    Caller(_): Caller,
    PathId(user_id): PathId,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    avatar_response(&database, &user_id, &headers).await
}

/// Replaces the caller's avatar
///
/// The image is cropped to the square in its centre and converted to a PNG file of 256 x 256
/// pixels without metadata. Of an animation, the first frame is used.
#[utoipa::path(
    put,
    path = "/internal/profile/me/avatar",
    operation_id = "saveAvatar",
    params(Caller),
    request_body(
        description = "The image: at most 2 MiB, at most 4096 x 4096 pixels",
        content(
            (ImageFile = "image/png"),
            (ImageFile = "image/jpeg"),
            (ImageFile = "image/webp"),
        )
    ),
    responses(
        (status = 204, description = "The avatar was saved. The header ETag has its entity tag"),
        (status = 400, description = "The image is invalid", body = ErrorBody),
        (status = 401, description = "The request names no user", body = ErrorBody),
        (status = 413, description = "The image is larger than 2 MiB", body = ErrorBody),
        (status = 429, description = "Too many images are being converted", body = ErrorBody),
    )
)]
pub(super) async fn save(
    State(database): State<Database>,
    State(converter): State<AvatarConverter>,
    Caller(caller): Caller,
    mut request: Request,
) -> Result<Response, ApiError> {
    let kind = image_kind(request.headers());
    // A body in the buffers of the connection needs less memory than one that waits here.
    let slot = converter.acquire().await;
    // Always read: the gateway might not see a response that precedes the end of its request.
    DefaultBodyLimit::max(MAX_AVATAR_BYTES).apply(&mut request);
    let RawBody(file) = RawBody::from_request(request, &()).await?;
    if file.is_empty() {
        return Err(invalid("body", "request body is required"));
    }
    let kind = kind.ok_or_else(|| {
        invalid(
            "content-type",
            "content type must be image/png, image/jpeg or image/webp",
        )
    })?;
    let slot = slot.ok_or_else(|| {
        ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "TOO_MANY_UPLOADS",
            "Too many images are being converted",
        )
    })?;
    let png = slot
        .convert(kind, file)
        .await
        .map_err(|cause| invalid("body", cause))?;
    let etag = avatars::save(&database, &caller, &png).await?;
    Ok((StatusCode::NO_CONTENT, [(header::ETAG, quote_etag(&etag))]).into_response())
}

/// Removes the caller's avatar, if there is one
#[utoipa::path(
    delete,
    path = "/internal/profile/me/avatar",
    operation_id = "deleteAvatar",
    params(Caller),
    responses(
        (status = 204, description = "The caller has no avatar"),
        (status = 401, description = "The request names no user", body = ErrorBody),
    )
)]
pub(super) async fn delete(
    State(database): State<Database>,
    Caller(caller): Caller,
) -> Result<StatusCode, ApiError> {
    avatars::delete(&database, &caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn avatar_response(
    database: &Database,
    user_id: &str,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let image = match avatars::find(database, user_id).await? {
        Some(avatar) => ImageResponse::png(avatar.png, &avatar.etag),
        None => {
            let name = profiles::find_full_name(database, user_id).await?;
            ImageResponse::svg(initials_svg(user_id, name.as_deref().unwrap_or(user_id)))
        }
    };
    Ok(image.respond_to(headers))
}

/// Returns the format of the image that a request contains.
fn image_kind(headers: &HeaderMap) -> Option<ImageKind> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    ImageKind::from_content_type(content_type)
}

fn invalid(field: &str, issue: impl ToString) -> ApiError {
    ApiError::validation(
        "Avatar validation failed",
        vec![FieldIssue::new(field, issue.to_string())],
    )
}
