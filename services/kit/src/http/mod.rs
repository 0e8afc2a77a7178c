//! The HTTP server of all services.

mod access_guard;
mod api_docs;
mod body;
mod caller;
mod connection_limit;
mod entity_tag;
mod error;
mod field_issues;
mod health;
mod list;
mod listen;
mod observe;
mod paging;
mod params;
mod security_headers;
mod server;

pub use access_guard::{AccessGuard, GATEWAY_SECRET, GatewaySecret};
pub(crate) use api_docs::{add_common_responses, add_gateway_secret};
pub use api_docs::{find_missing_responses, list_endpoints};
pub use body::{JsonBody, RawBody, RawJsonBody};
pub use caller::{Caller, MAX_USER_ID_LENGTH};
pub use entity_tag::has_entity_tag;
pub use error::{ApiError, DetailsStyle};
pub use field_issues::{FieldIssues, trimmed};
pub use health::{HealthIndicator, ServiceHealth};
pub use list::{
    CursorPaging, IdKey, ListFilter, ListKey, ListOrder, NumberedTimeKey, TableList, TimeKey,
    UnorderedPaging, fetch_list, list_response, list_total,
};
pub(crate) use listen::serve;
pub use observe::CurrentTrace;
pub use paging::{Paging, paged_list_response};
pub use params::{PathId, QueryParams};
pub use server::{HttpServer, Middleware};

/// The router of [`utoipa_axum`], which also builds the API description.
pub use utoipa_axum::router::OpenApiRouter;
