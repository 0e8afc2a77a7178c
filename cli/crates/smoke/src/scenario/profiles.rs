//! The avatar and the app settings of a user.

use dm_gateway_client::{BrowserSession, RequestFailure, TracedResponse};
use reqwest::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH};
use serde_json::json;

use super::ScenarioState;

const OWN_AVATAR: &str = "/api/v1/profile/me/avatar";
const PUBLIC_AVATAR: &str = "/api/v1/profile/jhalpert/avatar";
const SETTINGS: &str = "/api/v1/profile/me/apps/portal/settings";

/// A PNG file with one pixel.
const IMAGE: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0\x90wS\xde\
    \0\0\0\x0cIDATx\xdac\x90\xcfj\0\0\x01\xb5\x01\n{\xe8\x99\x86\
    \0\0\0\0IEND\xaeB`\x82";

/// Uploads an avatar, and restores the previous one.
pub(super) async fn avatar_is_saved(state: &mut ScenarioState) -> Result<(), RequestFailure> {
    let seller = state.seller()?;
    let previous = uploaded_avatar(seller).await?;
    let saved = seller
        .put(OWN_AVATAR)
        .body("image/png", IMAGE.to_vec())
        .expect_status(204)
        .await?;
    let etag = header_text(&saved, ETAG)?;
    let shown = seller.get(PUBLIC_AVATAR).expect_status(200).await?;
    for (name, expected) in [
        (CONTENT_TYPE, "image/png"),
        (CACHE_CONTROL, "private, max-age=60, must-revalidate"),
        (ETAG, etag.as_str()),
    ] {
        let value = header_text(&shown, name.clone())?;
        if value != expected {
            return Err(shown.failure(format!("{name} is {value} instead of {expected}")));
        }
    }
    seller
        .get(PUBLIC_AVATAR)
        .header(IF_NONE_MATCH, &etag)
        .expect_status(304)
        .await?;
    let invalid = seller
        .put(OWN_AVATAR)
        .body("image/png", b"no image".to_vec())
        .expect_status(400)
        .await?;
    invalid.expect_value("/error/message", "Avatar validation failed")?;
    let restore = match previous {
        Some(image) => seller.put(OWN_AVATAR).body("image/png", image),
        None => seller.delete(OWN_AVATAR),
    };
    restore.expect_status(204).await?;
    Ok(())
}

/// Saves the app settings that the user has, as a new version.
pub(super) async fn app_settings_are_saved(
    state: &mut ScenarioState,
) -> Result<(), RequestFailure> {
    let seller = state.seller()?;
    let before = seller.get(SETTINGS).expect_status(200).await?.json()?;
    let body = json!({"version": before["version"], "settings": before["settings"]});
    let saved = seller.put(SETTINGS).json(&body).expect_status(200).await?;
    let next_version = before["version"].as_i64().unwrap_or_default() + 1;
    saved
        .expect_value("/version", next_version)?
        .expect_value("/settings", body["settings"].clone())?;
    let conflict = seller.put(SETTINGS).json(&body).expect_status(409).await?;
    conflict.expect_value("/error/code", "VERSION_CONFLICT")?;
    Ok(())
}

/// Returns the avatar that a user has uploaded, if there is one.
async fn uploaded_avatar(session: &BrowserSession) -> Result<Option<Vec<u8>>, RequestFailure> {
    let response = session.get(OWN_AVATAR).open_stream().await?;
    let content_type = response.headers().get(CONTENT_TYPE);
    let is_uploaded = content_type.is_some_and(|content_type| content_type == "image/png");
    let image = response
        .bytes()
        .await
        .map_err(|error| RequestFailure::new(format!("could not read the avatar: {error}")))?;
    Ok(is_uploaded.then(|| image.to_vec()))
}

fn header_text(response: &TracedResponse, name: HeaderName) -> Result<String, RequestFailure> {
    let value = response.headers.get(&name);
    let text = value.and_then(|value| value.to_str().ok());
    text.map(str::to_owned)
        .ok_or_else(|| response.failure(format!("the response has no header {name}")))
}
