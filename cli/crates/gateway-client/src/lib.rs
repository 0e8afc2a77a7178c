//! People at the gateway: what the smoke test and the seed share.
//!
//! ```text
//! site     where the stack is
//! call     one request with a trace id of its own, and what was expected of it
//! fault    what was not as expected
//! person   a browser: cookies, and the way through the login page
//! phone    the warehouse's: a bearer token, and no cookie
//! ```

#![expect(
    clippy::result_large_err,
    reason = "a fault is made once a run, and ends it"
)]

mod bearer_client;
mod browser_session;
mod endpoints;
mod failure;
mod request;

use std::time::Duration;

use reqwest::header::HeaderName;

pub use bearer_client::{BearerClient, IDEMPOTENCY_KEY};
pub use browser_session::BrowserSession;
pub use endpoints::StackEndpoints;
pub use failure::{RequestFailure, describe_failure};
pub use request::{TracedRequest, TracedResponse, new_trace_id};

/// The header in which the gateway shows a service the instance's secret.
pub const GATEWAY_SECRET: HeaderName =
    HeaderName::from_static(dm_contracts::headers::GATEWAY_SECRET);

/// How long the answer to one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
