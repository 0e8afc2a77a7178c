//! Spans of handlings: they tell which event caused which.

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

/// The span id of handling an event of a queue: 16 hexadecimal digits, as W3C trace
/// contexts want them. It follows from the two, so that whoever sees an event whose
/// parent it is knows by which event, handled where, that was caused.
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
    fn a_span_is_of_one_queue_and_one_event() {
        let span = processing_span_id("a.q", "evt_1");
        assert_eq!(span.len(), 16);
        assert_eq!(span, processing_span_id("a.q", "evt_1"));
        assert_ne!(span, processing_span_id("a.q", "evt_2"));
        assert_ne!(span, processing_span_id("b.q", "evt_1"));
    }
}
