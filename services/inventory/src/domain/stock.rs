//! The arithmetic of stock.
//!
//! `on_hand` is what is in the building, `reserved` the part of it that is promised,
//! `shipped` what has left. Two laws hold after every step: `0 ≤ reserved ≤ on_hand`,
//! and `on_hand + shipped` is what was ever received.

use std::collections::BTreeMap;

use dm_contracts::api::order::OrderItem;
use dm_contracts::events::MissingItem;

/// How much there is of a product.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StockCounts {
    pub(crate) on_hand: i64,
    pub(crate) reserved: i64,
    pub(crate) shipped: i64,
}

/// Levels by SKU. In that order rows are locked, so that two orders of the same
/// products never wait for each other in a circle.
pub(crate) type StockCountsBySku = BTreeMap<String, StockCounts>;

/// What an order needs, by SKU.
pub(crate) type RequiredQuantities = BTreeMap<String, i64>;

/// What is noted as reserved is not in the stock: the books are wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stock of {0} is lower than its reserved quantity")]
pub(crate) struct StockImbalance(String);

impl StockCounts {
    /// What can still be promised.
    pub(crate) const fn available(self) -> i64 {
        self.on_hand - self.reserved
    }
}

/// What these lines need. A product may stand on several lines.
pub(crate) fn required_quantities(items: &[OrderItem]) -> RequiredQuantities {
    let mut needs = RequiredQuantities::new();
    for item in items {
        let need = needs.entry(item.sku.clone()).or_default();
        // No stock is that large: what would overflow is missing in any case.
        *need = need.saturating_add(item.quantity);
    }
    needs
}

/// Reserves all of it or nothing. Answers the new levels of what is needed, or what
/// is missing. Of an unknown product everything is.
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

/// Sends off what was reserved. Answers the new levels.
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
    fn lines_of_one_product_add_up_even_beyond_numbers() {
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
    fn one_short_line_fails_all_and_every_short_line_is_told() {
        let levels = StockCountsBySku::from([
            ("A".into(), level(10, 4, 0)),
            ("B".into(), level(100, 0, 0)),
        ]);
        let needs = required_quantities(&[item("A", 9), item("B", 1), item("NO-SUCH", 7)]);
        let missing = reserve(&needs, &levels).unwrap_err();
        let told: Vec<_> = missing
            .iter()
            .map(|item| (item.sku.as_str(), item.missing_quantity))
            .collect();
        assert_eq!(told, [("A", 3), ("NO-SUCH", 7)]);
    }

    #[test]
    fn the_last_one_can_be_had() {
        let levels = StockCountsBySku::from([("A".into(), level(10, 4, 0))]);
        let needs = required_quantities(&[item("A", 6)]);
        let after = reserve(&needs, &levels).unwrap();
        assert_eq!(after["A"], level(10, 10, 0));
        assert_eq!(ship(&needs, &after).unwrap()["A"], level(4, 4, 6));
    }

    #[test]
    fn what_was_not_reserved_is_not_sent_off() {
        let levels = StockCountsBySku::from([("A".into(), level(10, 1, 0))]);
        let error = ship(&required_quantities(&[item("A", 2)]), &levels).unwrap_err();
        assert_eq!(error, StockImbalance("A".into()));
    }

    /// A request of somebody: to reserve these lines, or to send off one of the
    /// reservations that are open.
    #[derive(Debug, Clone)]
    enum StockRequest {
        Reserve(Vec<OrderItem>),
        SendOff(prop::sample::Index),
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
            any::<prop::sample::Index>().prop_map(StockRequest::SendOff),
        ]
    }

    proptest! {
        #[test]
        fn stock_is_conserved_under_any_sequence(
            received in prop::collection::vec(0..40_i64, 3),
            asks in prop::collection::vec(stock_request(), 0..40),
        ) {
            let skus = ["A", "B", "C"];
            let mut levels: StockCountsBySku = skus
                .iter()
                .zip(&received)
                .map(|(sku, on_hand)| ((*sku).to_owned(), level(*on_hand, 0, 0)))
                .collect();
            let mut open: Vec<RequiredQuantities> = Vec::new();
            for ask in asks {
                match ask {
                    StockRequest::Reserve(items) => {
                        let wanted = required_quantities(&items);
                        match reserve(&wanted, &levels) {
                            Ok(after) => {
                                levels.extend(after);
                                open.push(wanted);
                            }
                            Err(missing) => {
                                // So much more would have done.
                                let mut enough = levels.clone();
                                for short in &missing {
                                    prop_assert!(short.missing_quantity > 0);
                                    enough.entry(short.sku.clone()).or_default().on_hand += short.missing_quantity;
                                }
                                prop_assert!(reserve(&wanted, &enough).is_ok());
                            }
                        }
                    }
                    StockRequest::SendOff(index) if !open.is_empty() => {
                        let sent = open.swap_remove(index.index(open.len()));
                        levels.extend(ship(&sent, &levels).unwrap());
                    }
                    StockRequest::SendOff(_) => {}
                }
                for (sku, received) in skus.iter().zip(&received) {
                    let level = levels[*sku];
                    let promised: i64 = open.iter().filter_map(|needs| needs.get(*sku)).sum();
                    prop_assert_eq!(level.reserved, promised);
                    prop_assert!(0 <= level.reserved && level.reserved <= level.on_hand);
                    prop_assert_eq!(level.on_hand + level.shipped, *received);
                }
                prop_assert!(!levels.contains_key("NO-SUCH"));
            }
        }
    }
}
