//! The reason text of an order that failed.

use dm_contracts::events::MissingItem;

/// The maximum number of products that the reason names.
const MAX_NAMED_PRODUCTS: usize = 3;

/// Returns the reason for an order with these missing items.
pub(crate) fn reason(missing: &[MissingItem]) -> String {
    if missing.is_empty() {
        return "insufficient stock".to_owned();
    }
    let mut parts: Vec<String> = missing
        .iter()
        .take(MAX_NAMED_PRODUCTS)
        .map(|item| format!("{} of {}", item.missing_quantity, item.sku))
        .collect();
    if let Some(remaining) = missing
        .len()
        .checked_sub(MAX_NAMED_PRODUCTS)
        .filter(|remaining| *remaining > 0)
    {
        let noun = if remaining == 1 {
            "product"
        } else {
            "products"
        };
        parts.push(format!("{remaining} more {noun}"));
    }
    format!("insufficient stock: {} missing", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_names_three_products_and_counts_the_others() {
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
            reason(&missing[..4]),
            "insufficient stock: 1 of PPR-1, 2 of PPR-2, 3 of PPR-3, 1 more product missing"
        );
        assert_eq!(
            reason(&missing),
            "insufficient stock: 1 of PPR-1, 2 of PPR-2, 3 of PPR-3, 2 more products missing"
        );
    }
}
