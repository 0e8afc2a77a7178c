//! Validation of scans.

use dm_contracts::api::shipment::Scan;
use dm_contracts::validation::MAX_BARCODE_LENGTH;

/// The validated data of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewScan {
    pub(crate) barcode: String,
    pub(crate) quantity: i32,
}

/// Validates a request. The barcode is not compared with the items of the order: any parcel
/// can be scanned.
///
/// # Errors
/// Returns the message for the caller if a field is missing or invalid.
pub(crate) fn validate(request: Option<Scan>) -> Result<NewScan, &'static str> {
    let Scan { barcode, quantity } = request.unwrap_or_default();
    let text = barcode.unwrap_or_default();
    if text.chars().count() > MAX_BARCODE_LENGTH {
        return Err("barcode must have at most 200 characters");
    }
    let barcode = text.trim().to_owned();
    match quantity.filter(|quantity| *quantity >= 1) {
        Some(quantity) if !barcode.is_empty() => Ok(NewScan { barcode, quantity }),
        _ => Err("Scan payload validation failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scan_requires_a_barcode_and_a_positive_quantity() {
        let scan = |barcode: Option<&str>, quantity| {
            validate(Some(Scan {
                barcode: barcode.map(str::to_owned),
                quantity,
            }))
        };
        assert_eq!(
            scan(Some(" SKU:PPR-A4-WHT-500 "), Some(1)),
            Ok(NewScan {
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
            let error = Err("Scan payload validation failed");
            assert_eq!(scan(barcode, quantity), error, "{barcode:?} {quantity:?}");
        }
        assert_eq!(validate(None), Err("Scan payload validation failed"));
        let longest = "x".repeat(MAX_BARCODE_LENGTH);
        assert!(scan(Some(&longest), Some(1)).is_ok());
        for end in ["x", " "] {
            let message = scan(Some(&format!("{longest}{end}")), Some(1)).unwrap_err();
            assert!(message.starts_with("barcode"), "{message}");
        }
    }
}
