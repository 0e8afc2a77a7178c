//! Cancellation of orders.

use chrono::{DateTime, Utc};
use dm_contracts::api::error::FieldIssue;
use dm_contracts::api::order::{CancelOrder, OrderStatus};
use dm_contracts::validation::MAX_CANCEL_REASON_LENGTH;

/// The cancellation of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cancellation {
    pub(crate) at: DateTime<Utc>,
    pub(crate) by: String,
    pub(crate) reason: Option<String>,
}

/// The decision about a request to cancel an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelDecision {
    /// The order becomes `CANCELLED`.
    Cancel,
    /// No change: the order is cancelled.
    AlreadyCancelled,
    /// The request is refused: the shipment has left.
    AlreadyShipped,
}

/// Returns the decision about the cancellation of an order with this status.
#[must_use]
pub const fn decide(status: OrderStatus) -> CancelDecision {
    match status {
        OrderStatus::Created
        | OrderStatus::Reserved
        | OrderStatus::Picking
        | OrderStatus::FailedInsufficientStock => CancelDecision::Cancel,
        OrderStatus::Cancelled => CancelDecision::AlreadyCancelled,
        OrderStatus::Shipped => CancelDecision::AlreadyShipped,
    }
}

/// Validates a request. Returns its reason, or `None` if it has none or a blank one.
///
/// # Errors
/// Returns an issue if the reason is too long.
pub(crate) fn validate(request: Option<CancelOrder>) -> Result<Option<String>, Vec<FieldIssue>> {
    let text = request.and_then(|request| request.reason);
    let text = text.unwrap_or_default();
    if text.chars().count() > MAX_CANCEL_REASON_LENGTH {
        let issue = format!("max:{MAX_CANCEL_REASON_LENGTH}");
        return Err(vec![FieldIssue::new("reason", issue)]);
    }
    Ok(Some(text.trim().to_owned()).filter(|reason| !reason.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> Result<Option<String>, Vec<FieldIssue>> {
        validate(Some(CancelOrder {
            reason: Some(text.to_owned()),
        }))
    }

    #[test]
    fn only_a_shipped_order_cannot_be_cancelled() {
        use OrderStatus::{
            Cancelled, Created, FailedInsufficientStock, Picking, Reserved, Shipped,
        };
        for status in [Created, Reserved, Picking, FailedInsufficientStock] {
            assert_eq!(decide(status), CancelDecision::Cancel, "{status:?}");
        }
        assert_eq!(decide(Cancelled), CancelDecision::AlreadyCancelled);
        assert_eq!(decide(Shipped), CancelDecision::AlreadyShipped);
    }

    #[test]
    fn reason_is_optional_and_trimmed() {
        assert_eq!(validate(None), Ok(None));
        assert_eq!(validate(Some(CancelOrder::default())), Ok(None));
        assert_eq!(reason(" \t"), Ok(None));
        assert_eq!(reason(" wrong paper "), Ok(Some("wrong paper".into())));
    }

    #[test]
    fn reason_above_500_characters_is_an_issue() {
        assert_eq!(reason(&"ü".repeat(500)), Ok(Some("ü".repeat(500))));
        assert_eq!(
            reason(&"ü".repeat(501)),
            Err(vec![FieldIssue::new("reason", "max:500")])
        );
    }
}
