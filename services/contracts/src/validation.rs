//! Validation rules for requests to the services, and for the files that `dm` imports. Lengths
//! are in characters, of the text as it was sent, before it is trimmed.

use std::str::FromStr as _;

use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::Number;

/// Maximum length of a user id: the limit of Keycloak's user names, and short enough for an
/// index.
pub const MAX_USER_ID_LENGTH: usize = 255;

/// Maximum length of a client id: the index on it accepts no more than about 2700 bytes.
pub const MAX_CLIENT_ID_LENGTH: usize = 200;

/// Maximum length of a single-line text: a company, a name, a title, a telephone number.
pub const MAX_LINE_LENGTH: usize = 200;

/// Maximum length of an e-mail address.
pub const MAX_EMAIL_LENGTH: usize = 320;

/// Maximum length of the notes on a lead or an order.
pub const MAX_NOTES_LENGTH: usize = 4000;

/// Maximum length of the reason for which an order is cancelled.
pub const MAX_CANCEL_REASON_LENGTH: usize = 500;

/// Maximum length of the description of an expense, of the comment on its decision, and of the
/// URL of its receipt.
pub const MAX_REMARK_LENGTH: usize = 2000;

/// Maximum length of the category of an expense.
pub const MAX_CATEGORY_LENGTH: usize = 100;

/// Maximum length of a currency.
pub const MAX_CURRENCY_LENGTH: usize = 10;

/// Maximum length of the SKU of an order item.
pub const MAX_SKU_LENGTH: usize = 100;

/// Maximum number of items of an order.
pub const MAX_ORDER_ITEMS: usize = 1000;

/// Maximum length of the id of a truck, which notifications contain.
pub const MAX_TRUCK_ID_LENGTH: usize = 100;

/// Maximum length of a barcode.
pub const MAX_BARCODE_LENGTH: usize = 200;

/// Maximum length of an idempotency key: the index on it accepts no more than about 2700 bytes.
pub const MAX_IDEMPOTENCY_KEY_LENGTH: usize = 255;

/// Maximum size of an uploaded avatar, in bytes.
pub const MAX_AVATAR_BYTES: usize = 2 << 20;

/// Maximum width and maximum height of an uploaded avatar, in pixels.
pub const MAX_AVATAR_PIXELS: u32 = 4096;

/// Maximum size of the settings of an app, in bytes of JSON.
pub const MAX_APP_SETTINGS_BYTES: usize = 16 << 10;

/// Maximum depth of objects and arrays in the settings of an app. Common parsers support 128.
pub const MAX_APP_SETTINGS_DEPTH: usize = 100;

/// Returns whether a text can be an e-mail address.
#[must_use]
pub fn is_email(text: &str) -> bool {
    text.contains('@')
}

/// Returns whether a text can be a user id: the gateway passes it in a header, which cannot
/// contain control characters.
#[must_use]
pub fn is_valid_user_id(text: &str) -> bool {
    !text.contains(|character: char| character.is_ascii_control())
}

/// The largest amount that the table can hold, in hundredths: `numeric(12, 2)`.
const MAX_AMOUNT_CENTS: i64 = 999_999_999_999;

/// Parses an amount, rounded half up to two decimals.
///
/// # Errors
/// Returns the text of the issue if the amount is missing, not positive or too large.
pub fn parse_amount(number: Option<&Number>) -> Result<Decimal, &'static str> {
    const TOO_SMALL: &str = "must be greater than 0";
    const TOO_LARGE: &str = "must be at most 9999999999.99";
    let Some(number) = number else {
        return Err(TOO_SMALL);
    };
    let text = number.to_string();
    let exact = Decimal::from_str(&text).or_else(|_| Decimal::from_scientific(&text));
    let Ok(exact) = exact else {
        // Outside of the range of 28 digits: far too small, or far too large.
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

    fn parse(text: &str) -> Result<Decimal, &'static str> {
        parse_amount(Some(&serde_json::from_str(text).unwrap()))
    }

    #[test]
    fn amount_is_rounded_half_up_to_two_decimals() {
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
            assert_eq!(
                parse(text),
                Ok(Decimal::from_str(rounded).unwrap()),
                "{text}"
            );
        }
    }

    #[test]
    fn amount_out_of_range_is_rejected() {
        for text in ["0", "-0.0", "-1", "0.004", "1e-30", "-1e300", "5e-324"] {
            assert_eq!(parse(text), Err("must be greater than 0"), "{text}");
        }
        for text in [
            "9999999999.995",
            "10000000000",
            "18446744073709551615",
            "1e29",
            "1.7976931348623157e308",
        ] {
            assert_eq!(parse(text), Err("must be at most 9999999999.99"), "{text}");
        }
        assert_eq!(parse_amount(None), Err("must be greater than 0"));
    }

    #[test]
    fn user_id_with_a_control_character_is_invalid() {
        for id in ["mscott", "ü b@c", "0"] {
            assert!(is_valid_user_id(id), "{id:?}");
        }
        for id in ["a\nb", "a\r", "\0", "\u{7f}", "a\tb"] {
            assert!(!is_valid_user_id(id), "{id:?}");
        }
    }

    proptest! {
        /// Every amount that the table can hold is unchanged.
        #[test]
        fn amount_with_two_decimals_is_unchanged(cents in 1..=MAX_AMOUNT_CENTS) {
            let expected = Decimal::new(cents, 2);
            prop_assert_eq!(parse(&expected.to_string()), Ok(expected));
        }

        /// The amount of any number fits into the table, or is rejected.
        #[test]
        fn any_number_fits_into_the_table_or_is_rejected(value: f64) {
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
