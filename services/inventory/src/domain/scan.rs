//! What a scan must have.

use dm_contracts::api::shipment::Scan;

/// A scan that can be noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parcel {
    pub(crate) barcode: String,
    pub(crate) quantity: i32,
}

/// Checks a request; `None` where anything is wrong with it. The barcode is not
/// compared with the order: people scan what is in their hands.
pub(crate) fn check(request: Option<Scan>) -> Option<Parcel> {
    let Scan { barcode, quantity } = request?;
    let barcode = barcode.unwrap_or_default().trim().to_owned();
    let quantity = quantity.filter(|quantity| *quantity >= 1)?;
    (!barcode.is_empty()).then_some(Parcel { barcode, quantity })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_barcode_and_at_least_one() {
        let scan = |barcode: Option<&str>, quantity| {
            check(Some(Scan {
                barcode: barcode.map(str::to_owned),
                quantity,
            }))
        };
        assert_eq!(
            scan(Some(" SKU:PPR-A4-WHT-500 "), Some(1)),
            Some(Parcel {
                barcode: "SKU:PPR-A4-WHT-500".into(),
                quantity: 1
            })
        );
        for (barcode, quantity) in [
            (None, Some(1)),
            (Some(" "), Some(1)),
            (Some("x"), None),
            (Some("x"), Some(0)),
            (Some("x"), Some(-1)),
        ] {
            assert_eq!(scan(barcode, quantity), None, "{barcode:?} {quantity:?}");
        }
        assert_eq!(check(None), None);
    }
}
