//! Message headers of our own.
//!
//! RabbitMQ drops `x-death` from what a client publishes, and its own dead
//! letters say nothing of the error: so attempts and reasons travel here.

/// W3C trace context of the request that caused the event.
pub const TRACEPARENT: &str = "traceparent";
/// How often handling failed so far; missing on a first delivery.
pub const ATTEMPTS: &str = "x-dm-attempts";
/// The work queue where it failed.
pub const QUEUE: &str = "x-dm-queue";
/// A stable word for why, e.g. `invalid-data`.
pub const REASON: &str = "x-dm-reason";
/// The error in words, of the last attempt.
pub const ERROR: &str = "x-dm-error";
/// The service that gave up.
pub const SERVICE: &str = "x-dm-service";
/// The trace it belongs to, 32 hexadecimal digits.
pub const TRACE_ID: &str = "x-dm-trace-id";
/// The exchange it was published to at first.
pub const EXCHANGE: &str = "x-dm-exchange";
/// The routing key it was published with at first.
pub const ROUTING_KEY: &str = "x-dm-routing-key";
/// When it failed last, ISO-8601 in UTC.
pub const FAILED_AT: &str = "x-dm-failed-at";
/// The id of the event whose dead letter somebody changed before it was replayed as this.
pub const EDITED: &str = "x-dm-edited";
/// How often it was replayed from a dead-letter queue.
pub const REPLAYS: &str = "x-dm-replays";
/// Which dead letter it is: two messages of one letter are copies of each other.
pub const LETTER: &str = "x-dm-letter";
/// What a copy of a message can't carry at its own place, e.g. its expiration.
pub const ORIGINAL: &str = "x-dm-original";
/// What headers of ours begin with.
pub const PREFIX: &str = "x-dm-";

/// The header in which the gateway shows a service the secret of their instance.
pub const GATEWAY_SECRET: &str = "x-gateway-secret";
