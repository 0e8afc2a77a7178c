//! Parts of the OpenAPI documents that the derive macros cannot express.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, Schema, Type};

/// Pattern of any text: PostgreSQL cannot store U+0000. The attributes of the bodies repeat it.
pub(super) const TEXT: &str = r"^[^\x00]*$";

/// Pattern of a text that is not blank. The attributes of the bodies repeat it.
pub(super) const NOT_BLANK: &str = r"^[^\x00]*[^\x00\s][^\x00]*$";

/// Returns the schema of a text.
pub(super) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// The texts that a name is equal to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameForm {
    /// The name with white space around it, or a blank text.
    OptionalExact,
    /// The name in any case with white space around it, or a blank text.
    OptionalAnyCase,
    /// The name in any case with white space around it.
    AnyCase,
}

/// Returns the schema of one of the names. The first alternative lists them, and the second one is
/// exact.
pub(super) fn name_in(names: &[&str], form: NameForm, description: Option<&str>) -> RefOr<Schema> {
    let exact = text().enum_values(Some(names.iter().copied()));
    let alternatives: Vec<String> = names
        .iter()
        .map(|name| match form {
            NameForm::OptionalExact => (*name).to_owned(),
            NameForm::OptionalAnyCase | NameForm::AnyCase => in_any_case(name),
        })
        .collect();
    let optional = if form == NameForm::AnyCase { "" } else { "?" };
    let pattern = format!(r"^\s*(?:{}){optional}\s*$", alternatives.join("|"));
    AnyOfBuilder::new()
        .item(exact)
        .item(text().pattern(Some(pattern)))
        .description(description)
        .into()
}

/// Returns a pattern of a name in any case. Patterns of JSON schemas have no flags.
fn in_any_case(name: &str) -> String {
    let character = |letter: char| match letter {
        'a'..='z' | 'A'..='Z' => {
            format!(
                "[{}{}]",
                letter.to_ascii_uppercase(),
                letter.to_ascii_lowercase()
            )
        }
        other => other.to_string(),
    };
    name.chars().map(character).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use utoipa::PartialSchema;

    use super::super::finance::CreateExpense;
    use super::super::order::{CancelOrder, PlaceOrder, PlaceOrderItem};
    use super::super::profile::{SaveAppSettings, SavePerson, SavePreferences, SaveProfile};
    use super::super::sales::{CreateLead, PatchLead, UpdateLead};
    use super::super::shipment::{Dispatch, Scan};
    use super::*;
    use crate::validation::{
        MAX_APP_SETTINGS_BYTES, MAX_BARCODE_LENGTH, MAX_CANCEL_REASON_LENGTH, MAX_CATEGORY_LENGTH,
        MAX_CLIENT_ID_LENGTH, MAX_CURRENCY_LENGTH, MAX_EMAIL_LENGTH, MAX_LINE_LENGTH,
        MAX_NOTES_LENGTH, MAX_ORDER_ITEMS, MAX_REMARK_LENGTH, MAX_SKU_LENGTH, MAX_TRUCK_ID_LENGTH,
        MAX_USER_ID_LENGTH, parse_amount,
    };

    fn schema_of<T: PartialSchema>() -> Value {
        serde_json::to_value(T::schema()).unwrap()
    }

    fn limit<T: PartialSchema>(field: &str, keyword: &str) -> usize {
        let limit = schema_of::<T>()["properties"][field][keyword].as_u64();
        usize::try_from(limit.unwrap()).unwrap()
    }

    /// The attributes of the bodies repeat the constants, because they accept no expressions.
    #[test]
    fn documented_limits_are_the_enforced_ones() {
        let length = "maxLength";
        for (documented, enforced) in [
            (
                limit::<PlaceOrder>("clientId", length),
                MAX_CLIENT_ID_LENGTH,
            ),
            (limit::<PlaceOrder>("items", "maxItems"), MAX_ORDER_ITEMS),
            (limit::<PlaceOrder>("notes", length), MAX_NOTES_LENGTH),
            (limit::<PlaceOrderItem>("sku", length), MAX_SKU_LENGTH),
            (
                limit::<CancelOrder>("reason", length),
                MAX_CANCEL_REASON_LENGTH,
            ),
            (limit::<CreateLead>("companyName", length), MAX_LINE_LENGTH),
            (limit::<CreateLead>("contactName", length), MAX_LINE_LENGTH),
            (
                limit::<CreateLead>("contactEmail", length),
                MAX_EMAIL_LENGTH,
            ),
            (limit::<CreateLead>("phone", length), MAX_LINE_LENGTH),
            (limit::<CreateLead>("notes", length), MAX_NOTES_LENGTH),
            (limit::<UpdateLead>("notes", length), MAX_NOTES_LENGTH),
            (limit::<PatchLead>("notes", length), MAX_NOTES_LENGTH),
            (limit::<SavePerson>("fullName", length), MAX_LINE_LENGTH),
            (limit::<SavePerson>("email", length), MAX_EMAIL_LENGTH),
            (limit::<SavePerson>("title", length), MAX_LINE_LENGTH),
            (limit::<SavePerson>("phone", length), MAX_LINE_LENGTH),
            (
                limit::<SaveAppSettings>("settings", "x-max-bytes"),
                MAX_APP_SETTINGS_BYTES,
            ),
            (
                limit::<CreateExpense>("submitterUserId", length),
                MAX_USER_ID_LENGTH,
            ),
            (
                limit::<CreateExpense>("category", length),
                MAX_CATEGORY_LENGTH,
            ),
            (
                limit::<CreateExpense>("currency", length),
                MAX_CURRENCY_LENGTH,
            ),
            (
                limit::<CreateExpense>("description", length),
                MAX_REMARK_LENGTH,
            ),
            (
                limit::<CreateExpense>("receiptUrl", length),
                MAX_REMARK_LENGTH,
            ),
            (limit::<Scan>("barcode", length), MAX_BARCODE_LENGTH),
            (limit::<Dispatch>("truckId", length), MAX_TRUCK_ID_LENGTH),
        ] {
            assert_eq!(documented, enforced);
        }
    }

    #[test]
    fn documented_range_of_an_amount_is_the_enforced_one() {
        let schema = schema_of::<CreateExpense>();
        let amount = &schema["properties"]["amount"];
        let number = |value: &Value| value.as_number().cloned();
        let minimum = number(&amount["minimum"]);
        assert!(parse_amount(minimum.as_ref()).is_ok());
        let below = number(&json!(amount["minimum"].as_f64().unwrap().next_down()));
        assert!(parse_amount(below.as_ref()).is_err());
        let maximum = number(&amount["exclusiveMaximum"]);
        assert!(parse_amount(maximum.as_ref()).is_err());
        let below = number(&json!(
            amount["exclusiveMaximum"].as_f64().unwrap().next_down()
        ));
        assert!(parse_amount(below.as_ref()).is_ok());
    }

    #[test]
    fn fields_that_a_service_requires_are_required() {
        for (schema, required) in [
            (
                schema_of::<PlaceOrder>(),
                &["clientId", "requestedShipDate", "items"][..],
            ),
            (schema_of::<PlaceOrderItem>(), &["sku", "quantity"]),
            (
                schema_of::<CreateLead>(),
                &["companyName", "contactName", "contactEmail", "phone"],
            ),
            (schema_of::<UpdateLead>(), &["status"]),
            (schema_of::<SaveProfile>(), &["profile", "preferences"]),
            (schema_of::<SavePerson>(), &["fullName", "email"]),
            (
                schema_of::<SavePreferences>(),
                &["defaultApp", "notificationsEnabled"],
            ),
            (schema_of::<SaveAppSettings>(), &["version", "settings"]),
            (
                schema_of::<CreateExpense>(),
                &["category", "amount", "currency", "description"],
            ),
            (schema_of::<Scan>(), &["barcode", "quantity"]),
            (schema_of::<Dispatch>(), &["truckId", "dispatchedAt"]),
        ] {
            assert_eq!(schema["required"], json!(required), "{schema}");
        }
        for schema in [schema_of::<CancelOrder>(), schema_of::<PatchLead>()] {
            assert_eq!(schema["required"], Value::Null, "{schema}");
        }
    }

    #[test]
    fn each_text_of_a_request_excludes_nul() {
        let mut texts = 0;
        for schema in [
            schema_of::<PlaceOrder>(),
            schema_of::<PlaceOrderItem>(),
            schema_of::<CancelOrder>(),
            schema_of::<CreateLead>(),
            schema_of::<UpdateLead>(),
            schema_of::<PatchLead>(),
            schema_of::<SavePerson>(),
            schema_of::<CreateExpense>(),
            schema_of::<Scan>(),
            schema_of::<Dispatch>(),
        ] {
            for (name, property) in schema["properties"].as_object().unwrap() {
                let kind = &property["type"];
                if *kind != "string" && *kind != json!(["string", "null"]) {
                    continue;
                }
                texts += 1;
                let pattern = property["pattern"].as_str().unwrap_or_default();
                let is_known = [TEXT, NOT_BLANK, r"^[^\x00]*@[^\x00]*$"].contains(&pattern);
                // The others consist of visible characters.
                let is_special = ["requestedShipDate", "dispatchedAt", "receiptUrl"];
                assert!(is_known || is_special.contains(&name.as_str()), "{name}");
            }
        }
        assert_eq!(texts, 24);
    }

    #[test]
    fn name_schema_lists_the_names_and_has_an_exact_pattern() {
        for (form, pattern) in [
            (NameForm::OptionalExact, r"^\s*(?:NEW|a-b)?\s*$"),
            (
                NameForm::OptionalAnyCase,
                r"^\s*(?:[Nn][Ee][Ww]|[Aa]-[Bb])?\s*$",
            ),
            (NameForm::AnyCase, r"^\s*(?:[Nn][Ee][Ww]|[Aa]-[Bb])\s*$"),
        ] {
            let schema =
                serde_json::to_value(name_in(&["NEW", "a-b"], form, Some("A name"))).unwrap();
            assert_eq!(
                schema,
                json!({
                    "anyOf": [
                        {"type": "string", "enum": ["NEW", "a-b"]},
                        {"type": "string", "pattern": pattern},
                    ],
                    "description": "A name",
                })
            );
        }
    }
}
