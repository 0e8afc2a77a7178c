//! The recipient and the text of the notification about an event.

use chrono::{DateTime, Utc};
use dm_contracts::events::{
    ExpenseDecided, OrderCancelled, OrderCreated, OrderReinstated, ShipmentDispatched,
};
use dm_contracts::{DomainEvent as _, Envelope};
use dm_kit::http::MAX_USER_ID_LENGTH;
use url::form_urlencoded::byte_serialize;

use super::InvalidField;
use super::event_data::EventData;

/// A notification before it has an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotificationDraft {
    pub(crate) user_id: String,
    pub(crate) kind: &'static str,
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) deep_link: String,
    pub(crate) created_at: DateTime<Utc>,
}

/// The decision about the notification of an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotificationDecision {
    /// The recipient gets this notification.
    Notify(NotificationDraft),
    /// The recipient is not a valid user id.
    InvalidRecipient,
    /// Events of this type cause no notification.
    Ignore,
}

/// Returns the decision about the notification of an event.
///
/// # Errors
/// Returns [`InvalidField`] if the recipient or another required field is missing or invalid.
pub(crate) fn decide_notification(event: &Envelope) -> Result<NotificationDecision, InvalidField> {
    let data = EventData::new(&event.event_type, &event.data);
    let text = match event.event_type.as_str() {
        OrderCreated::TYPE => order_placed(data)?,
        ShipmentDispatched::TYPE => shipment_dispatched(data)?,
        OrderCancelled::TYPE => order_cancelled(data)?,
        OrderReinstated::TYPE => order_reinstated(data)?,
        ExpenseDecided::TYPE => expense_decided(data)?,
        _ => return Ok(NotificationDecision::Ignore),
    };
    if text.user_id.chars().count() > MAX_USER_ID_LENGTH {
        return Ok(NotificationDecision::InvalidRecipient);
    }
    Ok(NotificationDecision::Notify(NotificationDraft {
        user_id: text.user_id.to_owned(),
        kind: text.kind,
        title: text.title,
        body: text.body,
        deep_link: text.deep_link,
        created_at: event.time_or_now(),
    }))
}

/// The recipient and the text of a notification.
struct NotificationText<'a> {
    user_id: &'a str,
    kind: &'static str,
    title: String,
    body: String,
    deep_link: String,
}

fn order_placed(data: EventData<'_>) -> Result<NotificationText<'_>, InvalidField> {
    let order = data.required_text("orderId")?;
    Ok(NotificationText {
        user_id: data.required_text("createdBy")?,
        kind: "ORDER_PLACED",
        title: format!("Order {order} created"),
        body: match data.optional_text("clientId") {
            Some(client) => format!("Order for {client} was placed successfully."),
            None => "Your order was placed successfully.".to_owned(),
        },
        deep_link: deep_link("/infinity?orderId=", order),
    })
}

fn shipment_dispatched(data: EventData<'_>) -> Result<NotificationText<'_>, InvalidField> {
    let order = data.required_text("orderId")?;
    let shipment = data.required_text("shipmentId")?;
    Ok(NotificationText {
        user_id: data.required_text("orderCreatedBy")?,
        kind: "SHIPMENT_DISPATCHED",
        title: format!("Order {order} shipped"),
        body: match data.optional_text("truckId") {
            Some(truck) => format!("Shipment {shipment} left the warehouse on truck {truck}."),
            None => format!("Shipment {shipment} left the warehouse."),
        },
        deep_link: deep_link("/infinity?orderId=", order),
    })
}

fn order_cancelled(data: EventData<'_>) -> Result<NotificationText<'_>, InvalidField> {
    let order = data.required_text("orderId")?;
    let mut body = match data.optional_text("cancelledBy") {
        Some(user) => format!("Order {order} was cancelled by {user}."),
        None => format!("Order {order} was cancelled."),
    };
    if let Some(reason) = data.optional_text("reason") {
        body.push_str(" Reason: ");
        body.push_str(reason);
    }
    Ok(NotificationText {
        user_id: data.required_text("createdBy")?,
        kind: "ORDER_CANCELLED",
        title: format!("Order {order} cancelled"),
        body,
        deep_link: deep_link("/infinity?orderId=", order),
    })
}

fn order_reinstated(data: EventData<'_>) -> Result<NotificationText<'_>, InvalidField> {
    let order = data.required_text("orderId")?;
    let shipment = data.required_text("shipmentId")?;
    Ok(NotificationText {
        user_id: data.required_text("createdBy")?,
        kind: "ORDER_REINSTATED",
        title: format!("Order {order} shipped despite its cancellation"),
        body: format!("Shipment {shipment} left the warehouse before the cancellation arrived."),
        deep_link: deep_link("/infinity?orderId=", order),
    })
}

fn expense_decided(data: EventData<'_>) -> Result<NotificationText<'_>, InvalidField> {
    let expense = data.required_text("expenseId")?;
    let decision = data.required_text("decision")?;
    Ok(NotificationText {
        user_id: data.required_text("submitterUserId")?,
        kind: "EXPENSE_DECIDED",
        title: format!("Expense {expense} {decision}"),
        body: match data.optional_text("decidedBy") {
            Some(user) => format!("Expense {expense} was marked {decision} by {user}."),
            None => format!("Expense {expense} was marked {decision}."),
        },
        deep_link: deep_link("/accounting?expenseId=", expense),
    })
}

/// Returns a link with the encoded id, so that no id can change its target.
fn deep_link(prefix: &str, id: &str) -> String {
    let mut link = prefix.to_owned();
    link.extend(byte_serialize(id.as_bytes()));
    link
}

#[cfg(test)]
mod tests {
    use dm_contracts::envelope::SPEC_VERSION;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const ORDER: &str = OrderCreated::TYPE;
    const SHIPMENT: &str = ShipmentDispatched::TYPE;
    const CANCELLED: &str = OrderCancelled::TYPE;
    const REINSTATED: &str = OrderReinstated::TYPE;
    const EXPENSE: &str = ExpenseDecided::TYPE;

    fn event(event_type: &str, data: Value) -> Envelope {
        Envelope {
            specversion: SPEC_VERSION.into(),
            id: "evt_1".into(),
            event_type: event_type.into(),
            source: "/order-service".into(),
            subject: "order/ord_9001".into(),
            time: "2026-02-03T10:00:00Z".into(),
            datacontenttype: "application/json".into(),
            data,
        }
    }

    fn draft_of(event_type: &str, data: Value) -> NotificationDraft {
        match decide_notification(&event(event_type, data)) {
            Ok(NotificationDecision::Notify(draft)) => draft,
            other => panic!("{other:?}"),
        }
    }

    fn texts_of(draft: &NotificationDraft) -> [&str; 5] {
        let NotificationDraft {
            user_id,
            kind,
            title,
            body,
            deep_link,
            ..
        } = draft;
        [user_id, kind, title, body, deep_link]
    }

    #[test]
    fn creator_of_an_order_is_notified() {
        let mut data =
            json!({"orderId": "ord_9001", "createdBy": "jhalpert", "clientId": "client_7001"});
        let draft = draft_of(ORDER, data.clone());
        assert_eq!(
            texts_of(&draft),
            [
                "jhalpert",
                "ORDER_PLACED",
                "Order ord_9001 created",
                "Order for client_7001 was placed successfully.",
                "/infinity?orderId=ord_9001",
            ]
        );
        assert_eq!(
            dm_contracts::time::format(draft.created_at),
            "2026-02-03T10:00:00Z"
        );
        data["clientId"].take();
        assert_eq!(
            draft_of(ORDER, data).body,
            "Your order was placed successfully."
        );
    }

    #[test]
    fn creator_of_the_order_is_notified_of_the_dispatch() {
        let mut data = json!({
            "orderId": "ord_9001", "shipmentId": "ship_9001", "orderCreatedBy": "jhalpert",
            "truckId": "truck_scr_03", "dispatchedBy": "dphilbin"
        });
        assert_eq!(
            texts_of(&draft_of(SHIPMENT, data.clone())),
            [
                "jhalpert",
                "SHIPMENT_DISPATCHED",
                "Order ord_9001 shipped",
                "Shipment ship_9001 left the warehouse on truck truck_scr_03.",
                "/infinity?orderId=ord_9001",
            ]
        );
        data["truckId"].take();
        assert_eq!(
            draft_of(SHIPMENT, data).body,
            "Shipment ship_9001 left the warehouse."
        );
    }

    #[test]
    fn creator_of_the_order_is_notified_of_the_cancellation() {
        let mut data = json!({
            "orderId": "ord_9001", "createdBy": "jhalpert", "cancelledBy": "dschrute",
            "reason": "The client moved."
        });
        assert_eq!(
            texts_of(&draft_of(CANCELLED, data.clone())),
            [
                "jhalpert",
                "ORDER_CANCELLED",
                "Order ord_9001 cancelled",
                "Order ord_9001 was cancelled by dschrute. Reason: The client moved.",
                "/infinity?orderId=ord_9001",
            ]
        );
        data["reason"].take();
        assert_eq!(
            draft_of(CANCELLED, data.clone()).body,
            "Order ord_9001 was cancelled by dschrute."
        );
        data["cancelledBy"].take();
        assert_eq!(
            draft_of(CANCELLED, data).body,
            "Order ord_9001 was cancelled."
        );
    }

    #[test]
    fn creator_of_a_cancelled_order_is_notified_that_it_left_before() {
        let data = json!({
            "orderId": "ord_9001", "shipmentId": "ship_9001", "createdBy": "jhalpert"
        });
        assert_eq!(
            texts_of(&draft_of(REINSTATED, data)),
            [
                "jhalpert",
                "ORDER_REINSTATED",
                "Order ord_9001 shipped despite its cancellation",
                "Shipment ship_9001 left the warehouse before the cancellation arrived.",
                "/infinity?orderId=ord_9001",
            ]
        );
    }

    #[test]
    fn submitter_of_an_expense_is_notified_of_the_decision() {
        let mut data = json!({
            "expenseId": "exp_6001", "submitterUserId": "kmalone", "decision": "REJECTED",
            "decidedBy": "amartin"
        });
        assert_eq!(
            texts_of(&draft_of(EXPENSE, data.clone())),
            [
                "kmalone",
                "EXPENSE_DECIDED",
                "Expense exp_6001 REJECTED",
                "Expense exp_6001 was marked REJECTED by amartin.",
                "/accounting?expenseId=exp_6001",
            ]
        );
        data["decidedBy"].take();
        assert_eq!(
            draft_of(EXPENSE, data).body,
            "Expense exp_6001 was marked REJECTED."
        );
    }

    #[test]
    fn missing_required_field_is_an_error() {
        let cases = [
            (ORDER, &["orderId", "createdBy"][..]),
            (SHIPMENT, &["orderId", "shipmentId", "orderCreatedBy"]),
            (CANCELLED, &["orderId", "createdBy"]),
            (REINSTATED, &["orderId", "shipmentId", "createdBy"]),
            (EXPENSE, &["expenseId", "decision", "submitterUserId"]),
        ];
        for (event_type, fields) in cases {
            let complete: Value = fields.iter().map(|field| (*field, "x")).collect();
            assert!(decide_notification(&event(event_type, complete.clone())).is_ok());
            for field in fields {
                for invalid in [json!(null), json!(""), json!(7), json!({})] {
                    let mut data = complete.clone();
                    data[*field] = invalid;
                    assert_eq!(
                        decide_notification(&event(event_type, data))
                            .unwrap_err()
                            .to_string(),
                        format!("field {field} of {event_type} is missing or invalid")
                    );
                }
            }
        }
    }

    #[test]
    fn event_of_another_type_is_ignored() {
        for event_type in [
            "com.dundermifflin.expense.submitted.v1",
            "com.dundermifflin.order.created.v2",
            "",
        ] {
            assert_eq!(
                decide_notification(&event(event_type, json!(null))),
                Ok(NotificationDecision::Ignore)
            );
        }
    }

    #[test]
    fn recipient_above_the_maximum_length_is_invalid() {
        let with_length = |length: usize| {
            let data = json!({"orderId": "ord_1", "createdBy": "ü".repeat(length)});
            decide_notification(&event(ORDER, data)).unwrap()
        };
        assert!(matches!(
            with_length(MAX_USER_ID_LENGTH),
            NotificationDecision::Notify(_)
        ));
        assert_eq!(
            with_length(MAX_USER_ID_LENGTH + 1),
            NotificationDecision::InvalidRecipient
        );
    }

    proptest! {
        /// The link has each id as the single value of its parameter.
        #[test]
        fn deep_link_has_the_id_as_its_only_parameter(id in "[^\0\\s]{1,20}") {
            let link = draft_of(ORDER, json!({"orderId": id, "createdBy": "x"})).deep_link;
            let query = link.strip_prefix("/infinity?").unwrap();
            let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
            prop_assert_eq!(pairs.len(), 1);
            prop_assert_eq!(pairs[0].1.as_ref(), id.as_str());
        }
    }
}
