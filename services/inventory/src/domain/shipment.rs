//! Shipments.

use chrono::{DateTime, NaiveDate, Utc};
use dm_contracts::api::order::OrderItem;
use dm_contracts::api::shipment::ShipmentStatus;

/// A shipment to be, of an order that was placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewShipment {
    pub(crate) order_id: String,
    pub(crate) client_id: String,
    pub(crate) requested_ship_date: NaiveDate,
    pub(crate) items: Vec<OrderItem>,
    pub(crate) created_by: String,
    pub(crate) created_at: DateTime<Utc>,
}

/// The shipment of an order: it has the same number.
pub(crate) fn id_for_order(order_id: &str) -> String {
    format!("ship_{}", order_id.strip_prefix("ord_").unwrap_or(order_id))
}

/// Whether anything can still be put on it. What has left, and what was never
/// reserved, is not in the warehouse's hands: whoever works on it is told that it
/// isn't there.
pub(crate) const fn is_open(status: ShipmentStatus) -> bool {
    matches!(status, ShipmentStatus::Pending | ShipmentStatus::Loading)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shipment_has_its_orders_number() {
        assert_eq!(id_for_order("ord_9001"), "ship_9001");
        assert_eq!(id_for_order("9001x"), "ship_9001x");
        assert_eq!(id_for_order("ord_ord_1"), "ship_ord_1");
    }

    #[test]
    fn what_left_or_failed_is_not_open() {
        let open: Vec<_> = ShipmentStatus::ALL
            .into_iter()
            .filter(|status| is_open(*status))
            .map(ShipmentStatus::as_str)
            .collect();
        assert_eq!(open, ["PENDING", "LOADING"]);
    }
}
