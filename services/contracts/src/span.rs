//! Span ids of processed events, which connect an event with the events that it caused.

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

/// Returns the span id of processing an event of a queue: 16 hexadecimal digits, as in a
/// W3C trace context. It is derived from queue and event id, so that the parent span of an
/// event identifies the event that caused it and the queue that delivered that one.
#[must_use]
pub fn processing_span_id(queue: &str, event_id: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(queue);
    hash.update([0]);
    hash.update(event_id);
    HEXLOWER.encode(&hash.finalize()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn span_id_depends_on_queue_and_event() {
        let span = processing_span_id("a.q", "evt_1");
        assert_eq!(span.len(), 16);
        assert_eq!(span, processing_span_id("a.q", "evt_1"));
        assert_ne!(span, processing_span_id("a.q", "evt_2"));
        assert_ne!(span, processing_span_id("b.q", "evt_1"));
    }
}
