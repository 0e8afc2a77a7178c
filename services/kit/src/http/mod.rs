//! The HTTP server of all services.

mod access_guard;
mod api_docs;
mod body;
mod caller;
mod connection_limit;
mod error;
mod field_issues;
mod health;
mod listen;
mod observe;
mod paging;
mod params;
mod security_headers;
mod server;
mod streamed_list;

pub use access_guard::{AccessGuard, GATEWAY_SECRET, GatewaySecret};
pub(crate) use api_docs::add_common_responses;
pub use api_docs::list_endpoints;
pub use body::{JsonBody, RawBody};
pub use caller::{Caller, MAX_USER_ID_LENGTH};
pub use error::{ApiError, DetailsStyle};
pub use field_issues::{FieldIssues, trimmed};
pub use health::{HealthIndicator, ServiceHealth};
pub(crate) use listen::serve;
pub use observe::CurrentTrace;
pub use paging::Paging;
pub use params::{PathId, QueryParams};
pub use server::{HttpServer, Middleware};
pub use streamed_list::{ListChunk, ListSource, list_response};

/// The router of [`utoipa_axum`], which also builds the API description.
pub use utoipa_axum::router::OpenApiRouter;
