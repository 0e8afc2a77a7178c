//! Who is told of an event, and in which words.

use chrono::{DateTime, Utc};
use dm_contracts::events::{ExpenseDecided, OrderCreated, ShipmentDispatched};
use dm_contracts::{DomainEvent as _, Envelope};
use dm_kit::http::MAX_USER_ID_LENGTH;
use url::form_urlencoded::byte_serialize;

use super::MissingField;
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

/// What to do about an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotificationDecision {
    /// A user is told.
    Notify(NotificationDraft),
    /// A user would be told, but none can have that id.
    InvalidRecipient,
    /// Nobody is told of events of this type.
    Ignore,
}

/// What to do about an event.
///
/// # Errors
/// Where data is missing without which there is nothing to say, or nobody to say
/// it to.
pub(crate) fn decide_notification(event: &Envelope) -> Result<NotificationDecision, MissingField> {
    let facts = EventData::new(&event.event_type, &event.data);
    let words = match event.event_type.as_str() {
        OrderCreated::TYPE => order_placed(facts)?,
        ShipmentDispatched::TYPE => shipment_dispatched(facts)?,
        ExpenseDecided::TYPE => expense_decided(facts)?,
        _ => return Ok(NotificationDecision::Ignore),
    };
    if words.user_id.chars().count() > MAX_USER_ID_LENGTH {
        return Ok(NotificationDecision::InvalidRecipient);
    }
    Ok(NotificationDecision::Notify(NotificationDraft {
        user_id: words.user_id.to_owned(),
        kind: words.kind,
        title: words.title,
        body: words.body,
        deep_link: words.deep_link,
        created_at: event.time_or_now(),
    }))
}

/// What is said to whom.
struct NotificationText<'a> {
    user_id: &'a str,
    kind: &'static str,
    title: String,
    body: String,
    deep_link: String,
}

fn order_placed(facts: EventData<'_>) -> Result<NotificationText<'_>, MissingField> {
    let order = facts.required_text("orderId")?;
    Ok(NotificationText {
        user_id: facts.required_text("createdBy")?,
        kind: "ORDER_PLACED",
        title: format!("Order {order} created"),
        body: match facts.optional_text("clientId") {
            Some(client) => format!("Order for {client} was placed successfully."),
            None => "Your order was placed successfully.".to_owned(),
        },
        deep_link: deep_link("/infinity?orderId=", order),
    })
}

fn shipment_dispatched(facts: EventData<'_>) -> Result<NotificationText<'_>, MissingField> {
    let order = facts.required_text("orderId")?;
    let shipment = facts.required_text("shipmentId")?;
    Ok(NotificationText {
        user_id: facts.required_text("orderCreatedBy")?,
        kind: "SHIPMENT_DISPATCHED",
        title: format!("Order {order} shipped"),
        body: match facts.optional_text("truckId") {
            Some(truck) => format!("Shipment {shipment} left the warehouse on truck {truck}."),
            None => format!("Shipment {shipment} left the warehouse."),
        },
        deep_link: deep_link("/infinity?orderId=", order),
    })
}

fn expense_decided(facts: EventData<'_>) -> Result<NotificationText<'_>, MissingField> {
    let expense = facts.required_text("expenseId")?;
    let decision = facts.required_text("decision")?;
    Ok(NotificationText {
        user_id: facts.required_text("submitterUserId")?,
        kind: "EXPENSE_DECIDED",
        title: format!("Expense {expense} {decision}"),
        body: match facts.optional_text("decidedBy") {
            Some(by) => format!("Expense {expense} was marked {decision} by {by}."),
            None => format!("Expense {expense} was marked {decision}."),
        },
        deep_link: deep_link("/accounting?expenseId=", expense),
    })
}

/// A link that an odd id can't lead elsewhere.
fn deep_link(start: &str, id: &str) -> String {
    let mut link = start.to_owned();
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
    fn who_placed_an_order_is_told() {
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
    fn who_placed_the_order_is_told_of_the_shipment() {
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
    fn who_waits_for_the_money_is_told_of_the_decision() {
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
    fn each_mandatory_field_is_missed() {
        let cases = [
            (ORDER, &["orderId", "createdBy"][..]),
            (SHIPMENT, &["orderId", "shipmentId", "orderCreatedBy"]),
            (EXPENSE, &["expenseId", "decision", "submitterUserId"]),
        ];
        for (event_type, fields) in cases {
            let whole: Value = fields.iter().map(|field| (*field, "x")).collect();
            assert!(decide_notification(&event(event_type, whole.clone())).is_ok());
            for field in fields {
                for broken in [json!(null), json!(""), json!(7), json!({})] {
                    let mut data = whole.clone();
                    data[*field] = broken;
                    assert_eq!(
                        decide_notification(&event(event_type, data))
                            .unwrap_err()
                            .to_string(),
                        format!("{event_type} has no usable {field}")
                    );
                }
            }
        }
    }

    #[test]
    fn other_events_are_nobodys_business() {
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
    fn an_id_that_no_user_can_have_is_nobodys() {
        let of_length = |length: usize| {
            let data = json!({"orderId": "ord_1", "createdBy": "ü".repeat(length)});
            decide_notification(&event(ORDER, data)).unwrap()
        };
        assert!(matches!(
            of_length(MAX_USER_ID_LENGTH),
            NotificationDecision::Notify(_)
        ));
        assert_eq!(
            of_length(MAX_USER_ID_LENGTH + 1),
            NotificationDecision::InvalidRecipient
        );
    }

    proptest! {
        /// Whatever an id is, the link has it as the one value of its parameter.
        #[test]
        fn an_id_stays_in_its_parameter(id in "[^\0\\s]{1,20}") {
            let link = draft_of(ORDER, json!({"orderId": id, "createdBy": "x"})).deep_link;
            let query = link.strip_prefix("/infinity?").unwrap();
            let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
            prop_assert_eq!(pairs.len(), 1);
            prop_assert_eq!(pairs[0].1.as_ref(), id.as_str());
        }
    }
}
