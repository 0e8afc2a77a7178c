//! Rules that the services check a request by, and that `dm` checks files by. Lengths are in
//! characters.

use std::str::FromStr as _;

use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::Number;

/// The longest user id in characters: what Keycloak takes as a user name, and short enough
/// for an index.
pub const MAX_USER_ID_LENGTH: usize = 255;

/// The longest client id in characters: PostgreSQL's index on it takes no more than some 2700
/// bytes.
pub const MAX_CLIENT_ID_LENGTH: usize = 200;

/// The longest text of one line: a company, a name, a title, a telephone number.
pub const MAX_LINE_LENGTH: usize = 200;

/// The longest e-mail address.
pub const MAX_EMAIL_LENGTH: usize = 320;

/// The longest notes on a lead or an order.
pub const MAX_NOTES_LENGTH: usize = 4000;

/// The longest description of an expense, comment on one or address of a receipt.
pub const MAX_REMARK_LENGTH: usize = 2000;

/// The longest category of an expense.
pub const MAX_CATEGORY_LENGTH: usize = 100;

/// The longest currency.
pub const MAX_CURRENCY_LENGTH: usize = 10;

/// The longest SKU that can be ordered.
pub const MAX_SKU_LENGTH: usize = 100;

/// The most lines of an order.
pub const MAX_ORDER_ITEMS: usize = 1000;

/// The longest id of a truck: notifications tell it.
pub const MAX_TRUCK_ID_LENGTH: usize = 100;

/// The longest barcode.
pub const MAX_BARCODE_LENGTH: usize = 200;

/// Whether a text may be an e-mail address.
#[must_use]
pub fn is_email(text: &str) -> bool {
    text.contains('@')
}

/// Whether a text may be a user's id: the gateway says it in a header, which no control
/// character can be part of.
#[must_use]
pub fn is_valid_user_id(text: &str) -> bool {
    !text.contains(|letter: char| letter.is_ascii_control())
}

/// What the table holds at most, in hundredths: `numeric(12, 2)`.
const MAX_AMOUNT_CENTS: i64 = 999_999_999_999;

/// An amount in two decimals, halves rounded up.
///
/// # Errors
/// What to say of one that can't be had.
pub fn parse_amount(number: Option<&Number>) -> Result<Decimal, &'static str> {
    const TOO_SMALL: &str = "must be greater than 0";
    const TOO_LARGE: &str = "must be at most 9999999999.99";
    let Some(number) = number else {
        return Err(TOO_SMALL);
    };
    let text = number.to_string();
    let exact = Decimal::from_str(&text).or_else(|_| Decimal::from_scientific(&text));
    let Ok(exact) = exact else {
        // Outside of what 28 digits can say: next to nothing, or far too much.
        return match number.as_f64() {
            Some(value) if value >= 1.0 => Err(TOO_LARGE),
            _ => Err(TOO_SMALL),
        };
    };
    let rounded = exact.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
    if rounded <= Decimal::ZERO {
        Err(TOO_SMALL)
    } else if rounded > Decimal::new(MAX_AMOUNT_CENTS, 2) {
        Err(TOO_LARGE)
    } else {
        Ok(rounded)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Result<Decimal, &'static str> {
        parse_amount(Some(&serde_json::from_str(text).unwrap()))
    }

    #[test]
    fn halves_are_rounded_up() {
        for (text, rounded) in [
            ("12", "12"),
            ("12.5", "12.5"),
            ("12.344", "12.34"),
            ("12.345", "12.35"),
            ("1.005", "1.01"),
            ("0.005", "0.01"),
            ("9999999999.99", "9999999999.99"),
            ("9999999999.994", "9999999999.99"),
            ("1e2", "100"),
            ("1.5E-1", "0.15"),
        ] {
            assert_eq!(of(text), Ok(Decimal::from_str(rounded).unwrap()), "{text}");
        }
    }

    #[test]
    fn what_the_table_cannot_hold_is_refused() {
        for text in ["0", "-0.0", "-1", "0.004", "1e-30", "-1e300", "5e-324"] {
            assert_eq!(of(text), Err("must be greater than 0"), "{text}");
        }
        for text in [
            "9999999999.995",
            "10000000000",
            "18446744073709551615",
            "1e29",
            "1.7976931348623157e308",
        ] {
            assert_eq!(of(text), Err("must be at most 9999999999.99"), "{text}");
        }
        assert_eq!(parse_amount(None), Err("must be greater than 0"));
    }

    #[test]
    fn a_user_id_fits_into_a_header() {
        for id in ["mscott", "ü b@c", "0"] {
            assert!(is_valid_user_id(id), "{id:?}");
        }
        for id in ["a\nb", "a\r", "\0", "\u{7f}", "a\tb"] {
            assert!(!is_valid_user_id(id), "{id:?}");
        }
    }

    proptest! {
        /// Every amount that the table can hold is kept as it is.
        #[test]
        fn two_decimals_are_kept(cents in 1..=MAX_AMOUNT_CENTS) {
            let expected = Decimal::new(cents, 2);
            prop_assert_eq!(of(&expected.to_string()), Ok(expected));
        }

        /// Whatever a number is, the answer fits the table or is a refusal.
        #[test]
        fn any_number_fits_or_is_refused(value: f64) {
            if let Some(number) = Number::from_f64(value)
                && let Ok(amount) = parse_amount(Some(&number))
            {
                prop_assert!(amount > Decimal::ZERO && amount.scale() <= 2);
                prop_assert!(amount <= Decimal::new(MAX_AMOUNT_CENTS, 2));
                prop_assert!(value > 0.0);
            }
        }
    }
}
