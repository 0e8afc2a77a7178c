//! Pages on a loopback address: they are redirected to `localhost`, to which cookies and the
//! redirect addresses of the realm belong. A user has one session under all names of the host.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use http::Method;

use super::redirect::redirect;
use crate::origin::RequestOrigin;

/// The paths of the pages, beside those of the built-in apps.
const PAGES: [&str; 8] = [
    "/",
    "/index.html",
    "/portal",
    "/infinity",
    "/warehouse",
    "/accounting",
    "/logout",
    "/logout/everywhere",
];

/// The beginning of the paths of the built-in apps.
const APPS: &str = "/apps/";

/// Applies the redirects to all routes.
pub(crate) fn wrap_router(router: Router) -> Router {
    router.layer(from_fn(redirect_page))
}

async fn redirect_page(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_page = PAGES.contains(&path) || path.starts_with(APPS);
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if is_page
        && is_read
        && let Some(localhost) =
            RequestOrigin::from_headers(request.headers()).and_then(|origin| origin.canonical())
    {
        let target = request.uri().path_and_query();
        let target = target.map_or("/", |target| target.as_str());
        return redirect(&format!("{}{target}", localhost.to_text()));
    }
    next.run(request).await
}
