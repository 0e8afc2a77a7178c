//! Why an order failed, in words.

use dm_contracts::events::MissingItem;

/// How many products are named.
const MAX_NAMED_PRODUCTS: usize = 3;

/// The reason of an order that lacks these.
pub(crate) fn reason(missing: &[MissingItem]) -> String {
    if missing.is_empty() {
        return "insufficient stock".to_owned();
    }
    let mut parts: Vec<String> = missing
        .iter()
        .take(MAX_NAMED_PRODUCTS)
        .map(|item| format!("{} of {}", item.missing_quantity, item.sku))
        .collect();
    if let Some(more) = missing
        .len()
        .checked_sub(MAX_NAMED_PRODUCTS)
        .filter(|more| *more > 0)
    {
        parts.push(format!("{more} more products"));
    }
    format!("insufficient stock: {} missing", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_named_and_the_rest_counted() {
        let missing: Vec<_> = (1..=5)
            .map(|number| MissingItem {
                sku: format!("PPR-{number}"),
                missing_quantity: number,
            })
            .collect();
        assert_eq!(reason(&[]), "insufficient stock");
        assert_eq!(
            reason(&missing[..1]),
            "insufficient stock: 1 of PPR-1 missing"
        );
        assert_eq!(
            reason(&missing),
            "insufficient stock: 1 of PPR-1, 2 of PPR-2, 3 of PPR-3, 2 more products missing"
        );
    }
}
