//! What a copy of a message can't carry at its own place.
//!
//! A copy is published as another message, and some properties mean something to the
//! broker when they are published: it refuses the `user_id` of another user, an `expiration` would
//! remove a dead letter, `CC` and `BCC` would send it to more queues, and it takes
//! `x-death` from no publisher. A copy is persistent, whatever the first message was, and
//! it needs an id. Each of these travels in one header of ours, and stands at its place
//! again where the copy is read.

use std::borrow::Cow;

use dm_contracts::headers::ORIGINAL;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use uuid::Uuid;

use crate::{DELIVERY_MODE_PERSISTENT, header};

/// Headers that the broker acts on, or takes from no publisher.
const MOVED_HEADERS: [&str; 3] = ["CC", "BCC", "x-death"];

/// Where a message was published to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublishTarget {
    /// The exchange.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
}

/// A message's place and properties as they were before it was copied.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OriginalMessage {
    /// Where it was published to.
    pub target: PublishTarget,
    /// Its properties.
    pub properties: BasicProperties,
}

/// The parts of properties, each of which may be missing.
#[derive(Default)]
struct PropertyOverrides {
    headers: Option<FieldTable>,
    delivery_mode: Option<u8>,
    expiration: Option<ShortString>,
    message_id: Option<ShortString>,
    user_id: Option<ShortString>,
}

impl OriginalMessage {
    /// Reads a message: what an earlier copy had to move stands at its place again.
    #[must_use]
    pub fn from_message(exchange: &str, routing_key: &str, properties: &BasicProperties) -> Self {
        let kept = |name, now: &str| {
            let kept = moved_table(properties).and_then(|moved| moved_text(moved, name));
            kept.unwrap_or(now).to_owned()
        };
        Self {
            target: PublishTarget {
                exchange: kept("exchange", exchange),
                routing_key: kept("routing_key", routing_key),
            },
            properties: Self::restore_properties(properties).into_owned(),
        }
    }

    /// The properties of a message alone.
    #[must_use]
    pub fn restore_properties(properties: &BasicProperties) -> Cow<'_, BasicProperties> {
        let Some(moved) = moved_table(properties) else {
            return Cow::Borrowed(properties);
        };
        let mut headers = FieldTable::default();
        for (name, value) in header_entries(properties) {
            if name.as_str() != ORIGINAL {
                headers.insert(name.clone(), value.clone());
            }
        }
        if let Some(AMQPValue::FieldTable(moved)) = moved.inner().get("headers") {
            for (name, value) in moved.inner() {
                headers.insert(name.clone(), value.clone());
            }
        }
        let had_none = moved.contains_key("no_headers") && headers.inner().is_empty();
        let short =
            |name: &str| moved_text(moved, name).and_then(|text| ShortString::try_new(text).ok());
        let missing = |name: &str| moved.inner().get(name) == Some(&AMQPValue::Void);
        let delivery_mode = match moved.inner().get("delivery_mode") {
            Some(AMQPValue::ShortShortUInt(mode)) => Some(*mode),
            Some(AMQPValue::Void) => None,
            _ => *properties.delivery_mode(),
        };
        let message_id = properties.message_id().clone();
        let parts = PropertyOverrides {
            headers: (!had_none).then_some(headers),
            delivery_mode,
            expiration: short("expiration").or_else(|| properties.expiration().clone()),
            message_id: message_id.filter(|_| !missing("message_id")),
            user_id: short("user_id").or_else(|| properties.user_id().clone()),
        };
        Cow::Owned(parts.apply_to(properties))
    }

    /// The properties of a copy. `keep_place` also keeps where the message was published
    /// to, for a copy that is published elsewhere.
    #[must_use]
    pub fn to_copy_properties(&self, keep_target: bool) -> BasicProperties {
        let mut moved = FieldTable::default();
        if keep_target {
            moved.insert("exchange".into(), header::text_value(&self.target.exchange));
            moved.insert(
                "routing_key".into(),
                header::text_value(&self.target.routing_key),
            );
        }
        let properties = &self.properties;
        let (mut headers, mut special) = (FieldTable::default(), FieldTable::default());
        for (name, value) in header_entries(properties) {
            if MOVED_HEADERS.contains(&name.as_str()) {
                special.insert(name.clone(), value.clone());
            } else {
                headers.insert(name.clone(), value.clone());
            }
        }
        if !special.inner().is_empty() {
            moved.insert("headers".into(), AMQPValue::FieldTable(special));
        }
        if *properties.delivery_mode() != Some(DELIVERY_MODE_PERSISTENT) {
            let mode = properties
                .delivery_mode()
                .map_or(AMQPValue::Void, AMQPValue::ShortShortUInt);
            moved.insert("delivery_mode".into(), mode);
        }
        if let Some(expiration) = properties.expiration() {
            moved.insert("expiration".into(), header::text_value(expiration.as_str()));
        }
        if let Some(id) = properties.user_id() {
            moved.insert("user_id".into(), header::text_value(id.as_str()));
        }
        let message_id = properties.message_id().clone().unwrap_or_else(|| {
            moved.insert("message_id".into(), AMQPValue::Void);
            // Without an id a return could not be told from another one.
            Uuid::new_v4().simple().to_string().into()
        });
        if !moved.inner().is_empty() {
            if properties.headers().is_none() {
                moved.insert("no_headers".into(), AMQPValue::Void);
            }
            headers.insert(ORIGINAL.into(), AMQPValue::FieldTable(moved));
        }
        let has_headers = properties.headers().is_some() || !headers.inner().is_empty();
        let parts = PropertyOverrides {
            headers: has_headers.then_some(headers),
            delivery_mode: Some(DELIVERY_MODE_PERSISTENT),
            expiration: None,
            message_id: Some(message_id),
            user_id: None,
        };
        parts.apply_to(properties)
    }
}

impl PropertyOverrides {
    /// These, and the others as they are.
    fn apply_to(self, others: &BasicProperties) -> BasicProperties {
        /// Sets what there is.
        fn set<T>(
            properties: BasicProperties,
            value: Option<T>,
            with: impl FnOnce(BasicProperties, T) -> BasicProperties,
        ) -> BasicProperties {
            match value {
                Some(value) => with(properties, value),
                None => properties,
            }
        }
        type P = BasicProperties;
        let mut made = BasicProperties::default();
        made = set(made, others.content_type().clone(), P::with_content_type);
        made = set(
            made,
            others.content_encoding().clone(),
            P::with_content_encoding,
        );
        made = set(made, self.headers, P::with_headers);
        made = set(made, self.delivery_mode, P::with_delivery_mode);
        made = set(made, *others.priority(), P::with_priority);
        made = set(
            made,
            others.correlation_id().clone(),
            P::with_correlation_id,
        );
        made = set(made, others.reply_to().clone(), P::with_reply_to);
        made = set(made, self.expiration, P::with_expiration);
        made = set(made, self.message_id, P::with_message_id);
        made = set(made, *others.timestamp(), P::with_timestamp);
        made = set(made, others.kind().clone(), P::with_type);
        made = set(made, self.user_id, P::with_user_id);
        made = set(made, others.app_id().clone(), P::with_app_id);
        set(made, others.cluster_id().clone(), P::with_cluster_id)
    }
}

/// What an earlier copy had to move.
fn moved_table(properties: &BasicProperties) -> Option<&FieldTable> {
    match properties.headers().as_ref()?.inner().get(ORIGINAL)? {
        AMQPValue::FieldTable(moved) => Some(moved),
        _ => None,
    }
}

fn moved_text<'t>(moved: &'t FieldTable, name: &str) -> Option<&'t str> {
    match moved.inner().get(name)? {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
        _ => None,
    }
}

fn header_entries(
    properties: &BasicProperties,
) -> impl Iterator<Item = (&ShortString, &AMQPValue)> {
    let headers = properties.headers().as_ref();
    headers.into_iter().flat_map(|headers| headers.inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::text_value as text;

    fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in entries {
            table.insert((*name).into(), value.clone());
        }
        table
    }

    fn full() -> OriginalMessage {
        let deaths = vec![AMQPValue::FieldTable(table(&[("reason", text("expired"))]))];
        OriginalMessage {
            target: PublishTarget {
                exchange: "dm.domain.events.dlx".into(),
                routing_key: "wuphf.domain-events.q".into(),
            },
            properties: BasicProperties::default()
                .with_content_type("text/plain".into())
                .with_content_encoding("gzip".into())
                .with_headers(table(&[
                    ("tenant", AMQPValue::LongInt(1)),
                    ("CC", AMQPValue::FieldArray(vec![text("order.q")].into())),
                    ("x-death", AMQPValue::FieldArray(deaths.into())),
                ]))
                .with_delivery_mode(1)
                .with_priority(3)
                .with_correlation_id("c".into())
                .with_reply_to("r".into())
                .with_expiration("1000".into())
                .with_timestamp(1_770_000_000)
                .with_type("t".into())
                .with_user_id("mscott".into())
                .with_app_id("a".into())
                .with_cluster_id("k".into()),
        }
    }

    #[test]
    fn a_copy_reads_as_its_original() {
        let no_headers = OriginalMessage {
            properties: BasicProperties::default(),
            ..full()
        };
        let empty_headers = OriginalMessage {
            properties: BasicProperties::default().with_headers(FieldTable::default()),
            ..full()
        };
        for original in [full(), no_headers, empty_headers] {
            let carried = original.to_copy_properties(true);
            assert_eq!(
                OriginalMessage::from_message("", "elsewhere", &carried),
                original
            );
            // A copy of a copy is no different.
            let again =
                OriginalMessage::from_message("", "elsewhere", &carried).to_copy_properties(true);
            assert_eq!(OriginalMessage::from_message("", "there", &again), original);
        }
    }

    #[test]
    fn what_the_broker_acts_on_is_not_at_its_place() {
        let carried = full().to_copy_properties(false);
        assert_eq!(carried.user_id(), &None);
        assert_eq!(carried.expiration(), &None);
        assert_eq!(carried.delivery_mode(), &Some(2));
        assert!(carried.message_id().is_some());
        let headers = carried.headers().as_ref().unwrap();
        for name in MOVED_HEADERS {
            assert!(!headers.contains_key(name), "{name}");
        }
        assert_eq!(headers.inner()["tenant"], AMQPValue::LongInt(1));
        assert_eq!(
            OriginalMessage::from_message("x", "y", &carried)
                .target
                .exchange,
            "x"
        );
    }

    #[test]
    fn what_needs_nothing_gets_no_header() {
        let properties = BasicProperties::default()
            .with_message_id("evt_1".into())
            .with_delivery_mode(2);
        let original = OriginalMessage::from_message("", "q", &properties);
        assert_eq!(original.to_copy_properties(false), properties);
    }
}
