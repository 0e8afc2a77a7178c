//! HTTP clients of the gateway, shared by the smoke test and the seed.
//!
//! ```text
//! endpoints         the addresses of a stack
//! request           a request with its own trace id, and checks of the response
//! failure           a request that failed or an unexpected response
//! list              lists that are read by cursor
//! browser_session   a browser: cookies, and sign-in through the login page
//! bearer_client     the warehouse app: a bearer token, and no cookie
//! api_client        a script: any request with a bearer token, and the response as it is
//! ```

#![expect(
    clippy::result_large_err,
    reason = "a failure is created at most once per run, and ends the run"
)]

mod api_client;
mod bearer_client;
mod browser_session;
mod endpoints;
mod failure;
mod list;
mod request;

use std::time::Duration;

use reqwest::header::HeaderName;

pub use api_client::{ApiClient, ApiPath, ApiRequest, ApiResponse};
pub use bearer_client::{BearerClient, IDEMPOTENCY_KEY};
pub use browser_session::BrowserSession;
pub use endpoints::StackEndpoints;
pub use failure::{RequestFailure, describe_failure};
pub use list::{find_page, read_list};
pub use request::{TracedRequest, TracedResponse, new_trace_id};

/// The header in which the gateway sends the secret of the instance to a service.
pub const GATEWAY_SECRET: HeaderName =
    HeaderName::from_static(dm_contracts::headers::GATEWAY_SECRET);

/// The timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
