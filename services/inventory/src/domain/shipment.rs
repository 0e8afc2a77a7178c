//! Shipments.

use chrono::{DateTime, NaiveDate, Utc};
use dm_contracts::api::order::OrderItem;
use dm_contracts::api::shipment::ShipmentStatus;

/// The data of a new shipment, from the event of its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewShipment {
    pub(crate) order_id: String,
    pub(crate) client_id: String,
    pub(crate) requested_ship_date: NaiveDate,
    pub(crate) items: Vec<OrderItem>,
    pub(crate) created_by: String,
    pub(crate) created_at: DateTime<Utc>,
}

/// Returns the shipment id of an order, which has the same number.
pub(crate) fn id_for_order(order_id: &str) -> String {
    format!("ship_{}", order_id.strip_prefix("ord_").unwrap_or(order_id))
}

/// Returns whether a shipment with this status can be loaded. A shipment that has left, was never
/// reserved, or was cancelled is not in the warehouse: requests for it get 404.
pub(crate) const fn is_open(status: ShipmentStatus) -> bool {
    matches!(status, ShipmentStatus::Pending | ShipmentStatus::Loading)
}

/// Returns whether the scan of an open shipment with this status is the first one. Only that one
/// changes the status of the shipment and of its order.
pub(crate) const fn is_first_scan(status: ShipmentStatus) -> bool {
    matches!(status, ShipmentStatus::Pending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipment_id_has_the_number_of_the_order() {
        assert_eq!(id_for_order("ord_9001"), "ship_9001");
        assert_eq!(id_for_order("9001x"), "ship_9001x");
        assert_eq!(id_for_order("ord_ord_1"), "ship_ord_1");
    }

    #[test]
    fn only_pending_and_loading_are_open() {
        let open: Vec<_> = ShipmentStatus::ALL
            .into_iter()
            .filter(|status| is_open(*status))
            .map(ShipmentStatus::as_str)
            .collect();
        assert_eq!(open, ["PENDING", "LOADING"]);
    }

    #[test]
    fn first_scan_is_that_of_a_pending_shipment() {
        assert!(is_first_scan(ShipmentStatus::Pending));
        assert!(!is_first_scan(ShipmentStatus::Loading));
    }
}
