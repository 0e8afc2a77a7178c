//! Parameters of operations, for the OpenAPI documents of the services and of the gateway.

use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{Schema, Type};
use utoipa::openapi::{RefOr, Required};

use super::finance::ExpenseStatus;
use super::order::OrderStatus;
use super::sales::LeadStatus;
use super::schema::{NameForm, name_in, text};
use super::shipment::ShipmentStatus;
use crate::validation::MAX_IDEMPOTENCY_KEY_LENGTH;

/// The names of the orders of a list.
pub const LIST_ORDERS: [&str; 2] = ["newest", "oldest"];

/// The filters of orders: `clientId`, `status`.
#[derive(Debug)]
pub struct OrderFilters;

/// The filter of leads: `status`.
#[derive(Debug)]
pub struct LeadFilters;

/// The filter of shipments: `status`.
#[derive(Debug)]
pub struct ShipmentFilters;

/// The filter of expenses: `status`.
#[derive(Debug)]
pub struct ExpenseFilters;

/// The filter of notifications: `unreadOnly`.
#[derive(Debug)]
pub struct NotificationFilters;

/// The filter of stock levels: `sku`.
#[derive(Debug)]
pub struct StockFilters;

/// The header `Idempotency-Key` of an operation that requires it.
#[derive(Debug)]
pub struct RequiredIdempotencyKey;

/// The header `Idempotency-Key` of an operation that does not require it.
#[derive(Debug)]
pub struct OptionalIdempotencyKey;

impl IntoParams for OrderFilters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let names = OrderStatus::ALL.map(OrderStatus::as_str);
        vec![
            query_parameter("clientId", "Only orders of this client", text()),
            query_parameter(
                "status",
                "Only orders with this status",
                name_in(&names, NameForm::OptionalExact, None),
            ),
        ]
    }
}

impl IntoParams for LeadFilters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let names = LeadStatus::ALL.map(LeadStatus::as_str);
        vec![query_parameter(
            "status",
            "Only leads with this status",
            name_in(&names, NameForm::OptionalExact, None),
        )]
    }
}

impl IntoParams for ShipmentFilters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![query_parameter(
            "status",
            "Only shipments that can be dispatched, including those in loading. All shipments \
             without it",
            name_in(
                &[ShipmentStatus::Pending.as_str()],
                NameForm::OptionalExact,
                None,
            ),
        )]
    }
}

impl IntoParams for ExpenseFilters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let names = ExpenseStatus::ALL.map(ExpenseStatus::as_str);
        vec![query_parameter(
            "status",
            "Only expenses with this status, in any case",
            name_in(&names, NameForm::OptionalAnyCase, None),
        )]
    }
}

impl IntoParams for NotificationFilters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![query_parameter(
            "unreadOnly",
            "Only unread notifications",
            text().schema_type(Type::Boolean),
        )]
    }
}

impl IntoParams for StockFilters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![query_parameter(
            "sku",
            "Only the stock of this product",
            text(),
        )]
    }
}

impl IntoParams for RequiredIdempotencyKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![idempotency_key(Required::True, "^[ -~]*[!-~][ -~]*$")]
    }
}

impl IntoParams for OptionalIdempotencyKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![idempotency_key(Required::False, "^[ -~]*$")]
    }
}

fn idempotency_key(required: Required, pattern: &str) -> Parameter {
    let key = text()
        .pattern(Some(pattern))
        .max_length(Some(MAX_IDEMPOTENCY_KEY_LENGTH));
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(required)
        .description(Some("Key that identifies repetitions of this request"))
        .schema(Some(key))
        .build()
}

/// Returns the schema of the order of a list.
#[must_use]
pub fn list_order_schema() -> RefOr<Schema> {
    name_in(&LIST_ORDERS, NameForm::OptionalExact, None)
}

/// Returns an optional parameter of a query string.
pub fn query_parameter(
    name: &str,
    description: &str,
    schema: impl Into<RefOr<Schema>>,
) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn schema_of<P: IntoParams>(name: &str) -> Value {
        let parameters = serde_json::to_value(P::into_params(|| None)).unwrap();
        let parameters = parameters.as_array().unwrap();
        let parameter = parameters
            .iter()
            .find(|parameter| parameter["name"] == name);
        parameter.unwrap()["schema"].clone()
    }

    #[test]
    fn status_filters_list_their_names() {
        for (schema, names) in [
            (
                schema_of::<OrderFilters>("status"),
                &OrderStatus::ALL.map(OrderStatus::as_str)[..],
            ),
            (
                schema_of::<LeadFilters>("status"),
                &LeadStatus::ALL.map(LeadStatus::as_str),
            ),
            (
                schema_of::<ExpenseFilters>("status"),
                &["PENDING", "APPROVED", "REJECTED"],
            ),
            (schema_of::<ShipmentFilters>("status"), &["PENDING"]),
        ] {
            assert_eq!(schema["anyOf"][0]["enum"], Value::from(names.to_vec()));
        }
    }

    #[test]
    fn idempotency_key_is_required_only_where_it_is_enforced() {
        let required = RequiredIdempotencyKey::into_params(|| None);
        let optional = OptionalIdempotencyKey::into_params(|| None);
        for (parameters, is_required) in [(required, true), (optional, false)] {
            let parameter = serde_json::to_value(&parameters[0]).unwrap();
            assert_eq!(parameter["in"], "header");
            assert_eq!(parameter["required"], is_required);
            assert_eq!(parameter["schema"]["maxLength"], 255);
        }
    }
}
