//! The effect of a cancelled order on its shipment.

use dm_contracts::api::shipment::ShipmentStatus;

/// The effect of the cancellation of an order on its existing shipment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CancellationEffect {
    /// The reservation is released, and the shipment is withdrawn.
    ReleaseAndWithdraw,
    /// The shipment is withdrawn. Nothing is reserved.
    Withdraw,
    /// No change: the shipment has left, or is withdrawn.
    Unchanged,
}

/// Returns the effect on a shipment with this status. A dispatch that came first wins: what has
/// left the warehouse cannot be withdrawn.
pub(crate) const fn effect_on(status: ShipmentStatus) -> CancellationEffect {
    match status {
        ShipmentStatus::Pending | ShipmentStatus::Loading => CancellationEffect::ReleaseAndWithdraw,
        ShipmentStatus::Failed => CancellationEffect::Withdraw,
        ShipmentStatus::Dispatched | ShipmentStatus::Cancelled => CancellationEffect::Unchanged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::shipment;

    #[test]
    fn exactly_open_shipments_have_a_reservation_to_release() {
        for status in ShipmentStatus::ALL {
            assert_eq!(
                effect_on(status) == CancellationEffect::ReleaseAndWithdraw,
                shipment::is_open(status),
                "{status:?}"
            );
        }
    }

    #[test]
    fn dispatched_shipment_cannot_be_withdrawn() {
        let unchanged: Vec<_> = ShipmentStatus::ALL
            .into_iter()
            .filter(|status| effect_on(*status) == CancellationEffect::Unchanged)
            .map(ShipmentStatus::as_str)
            .collect();
        assert_eq!(unchanged, ["DISPATCHED", "CANCELLED"]);
    }
}
