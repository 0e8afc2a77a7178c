//! Names of message and HTTP headers.
//!
//! RabbitMQ drops `x-death` from messages that a client publishes, and its own dead
//! letters do not contain the error: therefore these headers carry attempts and reasons.

/// W3C trace context of the request that caused the event.
pub const TRACEPARENT: &str = "traceparent";
/// Number of failed attempts so far; missing on a first delivery.
pub const ATTEMPTS: &str = "x-dm-attempts";
/// The work queue whose consumer failed.
pub const QUEUE: &str = "x-dm-queue";
/// Stable code of the failure, e.g. `invalid-data`.
pub const REASON: &str = "x-dm-reason";
/// Error text of the last attempt.
pub const ERROR: &str = "x-dm-error";
/// The service whose consumer failed.
pub const SERVICE: &str = "x-dm-service";
/// Trace id of the failed processing, 32 hexadecimal digits.
pub const MESSAGE_TRACE_ID: &str = "x-dm-trace-id";
/// The exchange of the first publication.
pub const EXCHANGE: &str = "x-dm-exchange";
/// The routing key of the first publication.
pub const ROUTING_KEY: &str = "x-dm-routing-key";
/// Time of the last failure, ISO-8601 in UTC.
pub const FAILED_AT: &str = "x-dm-failed-at";
/// Id of the event whose dead letter was edited before it was replayed as this message.
pub const EDITED: &str = "x-dm-edited";
/// Number of replays from a dead-letter queue.
pub const REPLAYS: &str = "x-dm-replays";
/// Letter id of a dead letter: two dead letters with the same letter id are copies of each other.
pub const LETTER: &str = "x-dm-letter";
/// Properties that a copy of a message cannot carry in their own place, e.g. its expiration.
pub const ORIGINAL: &str = "x-dm-original";
/// Prefix of the project's headers.
pub const PREFIX: &str = "x-dm-";

/// The header with which the gateway presents the secret of the instance to a service.
pub const GATEWAY_SECRET: &str = "x-gateway-secret";
/// The header with the id of the signed-in user, which the gateway sends to a service.
pub const USER_ID: &str = "x-user-id";
/// The header with the display name of the signed-in user, which the gateway sends to a service.
pub const USER_DISPLAY_NAME: &str = "x-user-display-name";
/// The header with the trace id of a request and of its response.
pub const TRACE_ID: &str = "x-trace-id";
/// The header with the key that identifies repetitions of one request.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
