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

mod call;
mod fault;
mod person;
mod phone;
mod site;

use std::time::Duration;

use reqwest::header::HeaderName;

pub use call::{Answer, Call, trace_id};
pub use fault::{Fault, describe};
pub use person::Person;
pub use phone::{IDEMPOTENCY_KEY, Phone};
pub use site::Site;

/// The header in which the gateway shows a service the instance's secret.
pub const GATEWAY_SECRET: HeaderName =
    HeaderName::from_static(dm_contracts::headers::GATEWAY_SECRET);

/// How long the answer to one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);
