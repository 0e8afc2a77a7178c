//! Stock arithmetic.
//!
//! `on_hand` is the quantity in the warehouse, `reserved` the part of it that is promised,
//! `shipped` the quantity that has left. Two invariants hold after every step:
//! `0 ≤ reserved ≤ on_hand`, and `on_hand + shipped` is the total quantity received.

use std::collections::BTreeMap;

use dm_contracts::api::order::OrderItem;
use dm_contracts::events::MissingItem;

/// The stock counts of a product.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StockCounts {
    pub(crate) on_hand: i64,
    pub(crate) reserved: i64,
    pub(crate) shipped: i64,
}

/// Stock counts by SKU. Rows are locked in this order, so that two orders with the same
/// products cannot deadlock.
pub(crate) type StockCountsBySku = BTreeMap<String, StockCounts>;

/// The required quantities of an order, by SKU.
pub(crate) type RequiredQuantities = BTreeMap<String, i64>;

/// The stock of a product is lower than a reservation of it: the counts are inconsistent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stock of {0} is lower than its reserved quantity")]
pub(crate) struct StockImbalance(String);

impl StockCounts {
    /// Returns the quantity that can still be reserved.
    pub(crate) const fn available(self) -> i64 {
        self.on_hand - self.reserved
    }
}

/// Returns the required quantities of these items. A product may be in several items.
pub(crate) fn required_quantities(items: &[OrderItem]) -> RequiredQuantities {
    let mut needs = RequiredQuantities::new();
    for item in items {
        let need = needs.entry(item.sku.clone()).or_default();
        // Stock is never that large: a quantity that saturates is missing in any case.
        *need = need.saturating_add(item.quantity);
    }
    needs
}

/// Reserves all required quantities or none. Returns the new counts of these products.
///
/// # Errors
/// Returns the missing items. Of an unknown product, the complete quantity is missing.
pub(crate) fn reserve(
    needs: &RequiredQuantities,
    levels: &StockCountsBySku,
) -> Result<StockCountsBySku, Vec<MissingItem>> {
    let mut reserved = StockCountsBySku::new();
    let mut missing = Vec::new();
    for (sku, &need) in needs {
        let level = levels.get(sku).copied().unwrap_or_default();
        if need <= level.available() {
            let level = StockCounts {
                reserved: level.reserved + need,
                ..level
            };
            reserved.insert(sku.clone(), level);
        } else {
            missing.push(MissingItem {
                sku: sku.clone(),
                missing_quantity: need - level.available(),
            });
        }
    }
    if missing.is_empty() {
        Ok(reserved)
    } else {
        Err(missing)
    }
}

/// Releases reserved quantities. Returns the new counts of these products.
///
/// # Errors
/// Returns [`StockImbalance`] if a quantity is not reserved.
pub(crate) fn release(
    needs: &RequiredQuantities,
    levels: &StockCountsBySku,
) -> Result<StockCountsBySku, StockImbalance> {
    needs
        .iter()
        .map(|(sku, &need)| {
            let level = levels
                .get(sku)
                .filter(|level| need <= level.reserved)
                .ok_or_else(|| StockImbalance(sku.clone()))?;
            let level = StockCounts {
                reserved: level.reserved - need,
                ..*level
            };
            Ok((sku.clone(), level))
        })
        .collect()
}

/// Ships reserved quantities. Returns the new counts of these products.
///
/// # Errors
/// Returns [`StockImbalance`] if a reserved quantity is not in stock.
pub(crate) fn ship(
    needs: &RequiredQuantities,
    levels: &StockCountsBySku,
) -> Result<StockCountsBySku, StockImbalance> {
    needs
        .iter()
        .map(|(sku, &need)| {
            let level = levels
                .get(sku)
                .filter(|level| need <= level.reserved && need <= level.on_hand)
                .ok_or_else(|| StockImbalance(sku.clone()))?;
            let level = StockCounts {
                on_hand: level.on_hand - need,
                reserved: level.reserved - need,
                shipped: level.shipped.saturating_add(need),
            };
            Ok((sku.clone(), level))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn level(on_hand: i64, reserved: i64, shipped: i64) -> StockCounts {
        StockCounts {
            on_hand,
            reserved,
            shipped,
        }
    }

    fn item(sku: &str, quantity: i64) -> OrderItem {
        OrderItem {
            sku: sku.into(),
            quantity,
        }
    }

    #[test]
    fn required_quantities_of_one_product_add_up_and_saturate() {
        let needs = required_quantities(&[
            item("B", 2),
            item("A", 1),
            item("B", 3),
            item("A", i64::MAX),
        ]);
        assert_eq!(
            needs,
            RequiredQuantities::from([("A".into(), i64::MAX), ("B".into(), 5)])
        );
    }

    #[test]
    fn reserve_with_a_short_item_fails_and_returns_all_missing_items() {
        let levels = StockCountsBySku::from([
            ("A".into(), level(10, 4, 0)),
            ("B".into(), level(100, 0, 0)),
        ]);
        let needs = required_quantities(&[item("A", 9), item("B", 1), item("NO-SUCH", 7)]);
        let missing = reserve(&needs, &levels).unwrap_err();
        let pairs: Vec<_> = missing
            .iter()
            .map(|item| (item.sku.as_str(), item.missing_quantity))
            .collect();
        assert_eq!(pairs, [("A", 3), ("NO-SUCH", 7)]);
    }

    #[test]
    fn complete_stock_can_be_reserved_and_shipped() {
        let levels = StockCountsBySku::from([("A".into(), level(10, 4, 0))]);
        let needs = required_quantities(&[item("A", 6)]);
        let after = reserve(&needs, &levels).unwrap();
        assert_eq!(after["A"], level(10, 10, 0));
        assert_eq!(ship(&needs, &after).unwrap()["A"], level(4, 4, 6));
    }

    #[test]
    fn ship_or_release_without_a_reservation_is_an_imbalance() {
        let levels = StockCountsBySku::from([("A".into(), level(10, 1, 0))]);
        let needs = required_quantities(&[item("A", 2)]);
        let imbalance = Err(StockImbalance("A".into()));
        assert_eq!(ship(&needs, &levels), imbalance);
        assert_eq!(release(&needs, &levels), imbalance);
    }

    #[test]
    fn release_undoes_a_reservation() {
        let levels = StockCountsBySku::from([("A".into(), level(10, 4, 0))]);
        let needs = required_quantities(&[item("A", 6)]);
        let reserved = reserve(&needs, &levels).unwrap();
        assert_eq!(release(&needs, &reserved), Ok(levels));
    }

    /// A request to reserve these items, or to ship or release one of the open reservations.
    #[derive(Debug, Clone)]
    enum StockRequest {
        Reserve(Vec<OrderItem>),
        Ship(prop::sample::Index),
        Release(prop::sample::Index),
    }

    fn stock_request() -> impl Strategy<Value = StockRequest> {
        let line = (
            prop::sample::select(&["A", "B", "C", "NO-SUCH"][..]),
            1..12_i64,
        );
        prop_oneof![
            prop::collection::vec(line, 1..4).prop_map(|lines| StockRequest::Reserve(
                lines
                    .iter()
                    .map(|(sku, quantity)| item(sku, *quantity))
                    .collect()
            )),
            any::<prop::sample::Index>().prop_map(StockRequest::Ship),
            any::<prop::sample::Index>().prop_map(StockRequest::Release),
        ]
    }

    proptest! {
        #[test]
        fn invariants_hold_after_any_sequence_of_requests(
            received in prop::collection::vec(0..40_i64, 3),
            requests in prop::collection::vec(stock_request(), 0..40),
        ) {
            let skus = ["A", "B", "C"];
            let mut levels: StockCountsBySku = skus
                .iter()
                .zip(&received)
                .map(|(sku, on_hand)| ((*sku).to_owned(), level(*on_hand, 0, 0)))
                .collect();
            let mut open: Vec<RequiredQuantities> = Vec::new();
            for request in requests {
                match request {
                    StockRequest::Reserve(items) => {
                        let needs = required_quantities(&items);
                        match reserve(&needs, &levels) {
                            Ok(after) => {
                                levels.extend(after);
                                open.push(needs);
                            }
                            Err(missing) => {
                                // With the missing quantities in stock, the reservation succeeds.
                                let mut sufficient = levels.clone();
                                for item in &missing {
                                    prop_assert!(item.missing_quantity > 0);
                                    sufficient.entry(item.sku.clone()).or_default().on_hand += item.missing_quantity;
                                }
                                prop_assert!(reserve(&needs, &sufficient).is_ok());
                            }
                        }
                    }
                    StockRequest::Ship(index) if !open.is_empty() => {
                        let shipped = open.swap_remove(index.index(open.len()));
                        levels.extend(ship(&shipped, &levels).unwrap());
                    }
                    StockRequest::Release(index) if !open.is_empty() => {
                        let released = open.swap_remove(index.index(open.len()));
                        levels.extend(release(&released, &levels).unwrap());
                    }
                    StockRequest::Ship(_) | StockRequest::Release(_) => {}
                }
                for (sku, received) in skus.iter().zip(&received) {
                    let level = levels[*sku];
                    let promised: i64 = open.iter().filter_map(|quantities| quantities.get(*sku)).sum();
                    prop_assert_eq!(level.reserved, promised);
                    prop_assert!(0 <= level.reserved && level.reserved <= level.on_hand);
                    prop_assert_eq!(level.on_hand + level.shipped, *received);
                }
                prop_assert!(!levels.contains_key("NO-SUCH"));
            }
        }
    }
}
