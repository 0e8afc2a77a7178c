//! The built-in web apps, which take the place of external front ends.
//!
//! The page of an app is for signed-in users with its role; browsers validate it on each use. The
//! files that a page loads are the same for all users, and public. Their paths contain the digest
//! of the bundle, so that browsers keep them without asking again.

mod bundle;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use dm_contracts::App;
use dm_kit::http::{ApiError, OpenApiRouter, has_entity_tag};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};

use self::bundle::{ASSETS, Asset, BUNDLE, directory};
use super::app_access::{app_path, refusal};
use super::redirect::redirect;
use crate::Gateway;

/// Everything comes from the gateway: no inline code, no other origin, no frame around it.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
     connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'",
);

/// A page is validated on each use, because it requires a session.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-cache");
/// A public file whose path stays the same when its content changes.
const REVALIDATED: HeaderValue = HeaderValue::from_static("no-cache");
/// A file whose path changes with its content.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

pub(super) fn routes() -> OpenApiRouter<Arc<Gateway>> {
    let mut router =
        OpenApiRouter::new().route(&format!("{ASSETS}{{digest}}/{{*path}}"), get(file));
    for app in App::ALL {
        let handler = move |State(gateway): State<Arc<Gateway>>, headers: HeaderMap, uri: Uri| async move {
            page(&gateway, app, &headers, &uri)
        };
        router = router.route(&page_path(app), get(handler));
    }
    for path in BUNDLE.entry_paths() {
        let handler = move |headers: HeaderMap| async move {
            respond(BUNDLE.entry(path), &headers, REVALIDATED)
        };
        router = router.route(&format!("/apps/{path}"), get(handler));
    }
    router
}

/// Returns the path of the page of a built-in app.
pub(super) fn page_path(app: App) -> String {
    format!("/apps/{}/", directory(app))
}

/// Returns the page of an app. If an external front end takes its place, redirects to the path
/// that leads there.
fn page(gateway: &Gateway, app: App, headers: &HeaderMap, uri: &Uri) -> Response {
    if gateway.apps.external(app).is_some() {
        let query = uri.query().map(|query| format!("?{query}"));
        return redirect(&format!("{}{}", app_path(app), query.unwrap_or_default()));
    }
    refusal(gateway, headers, uri, app)
        .unwrap_or_else(|| respond(BUNDLE.page(app), headers, PRIVATE).into_response())
}

/// Returns a file of the bundle. The page of another version, e.g. from before an update, gets the
/// file of this version. Browsers do not keep it under the path of the other version.
async fn file(headers: HeaderMap, uri: Uri) -> Result<Response, ApiError> {
    let path = uri.path().strip_prefix(ASSETS).unwrap_or_default();
    let (digest, path) = path.split_once('/').unwrap_or_default();
    let cache = if BUNDLE.is_current(digest) {
        IMMUTABLE
    } else {
        REVALIDATED
    };
    respond(BUNDLE.file(path), &headers, cache)
}

/// Responds with a file, or with 304 if the client has it.
fn respond(
    asset: Option<&Asset>,
    headers: &HeaderMap,
    cache: HeaderValue,
) -> Result<Response, ApiError> {
    let asset = asset.ok_or_else(|| ApiError::not_found("NOT_FOUND", "No such path"))?;
    let etag = HeaderValue::from_str(&asset.etag).map_err(ApiError::internal)?;
    let mut response = if has_entity_tag(headers, &asset.etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = asset.body.clone().into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, asset.content_type.clone());
        response
    };
    let fields = response.headers_mut();
    fields.insert(header::ETAG, etag);
    fields.insert(header::CACHE_CONTROL, cache);
    // Also of a 304: its headers replace those that the client has stored.
    fields.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_path_is_the_directory_of_the_app() {
        let paths = App::ALL.map(page_path);
        assert_eq!(
            paths,
            [
                "/apps/portal/",
                "/apps/infinity/",
                "/apps/warehouse/",
                "/apps/accounting/"
            ]
        );
    }
}
