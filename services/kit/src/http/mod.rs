//! HTTP as every service speaks it.

mod body;
mod caller;
mod docs;
mod door;
mod error;
mod health;
mod issues;
mod listen;
mod listing;
mod observe;
mod paging;
mod params;
mod seats;
mod server;
mod shield;

pub use body::{Body, Raw};
pub use caller::{Caller, LONGEST_USER_ID};
pub(crate) use docs::complete;
pub use docs::endpoints;
pub use door::{Door, GATEWAY_SECRET, GatewaySecret};
pub use error::{ApiError, DetailsStyle};
pub use health::{Health, Indicator};
pub use issues::{Issues, trimmed};
pub(crate) use listen::serve;
pub use listing::{Chunk, Rows, whole};
pub use observe::CurrentTrace;
pub use paging::Paging;
pub use params::{Id, Params};
pub use server::{Around, Server};

/// What [`utoipa_axum`] calls a router that describes itself.
pub use utoipa_axum::router::OpenApiRouter;
