//! Properties that a copy of a message cannot carry in their own fields.
//!
//! A copy is published as another message, and the broker acts on some properties when a
//! message is published: it refuses the `user_id` of another user, an `expiration` would
//! remove a dead letter, `CC` and `BCC` would route it to more queues, and it accepts
//! `x-death` from no publisher. A copy is always persistent and needs an id, whatever the
//! first message had. The original values are kept in one header and are restored when the
//! copy is read.

use std::borrow::Cow;

use dm_contracts::headers::ORIGINAL;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use uuid::Uuid;

use crate::{DELIVERY_MODE_PERSISTENT, header_value};

/// Headers that the broker acts on or accepts from no publisher.
const MOVED_HEADERS: [&str; 3] = ["CC", "BCC", "x-death"];

/// The exchange and routing key that a message was published to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublishTarget {
    /// The exchange.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
}

/// The target and properties of a message before it was copied.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OriginalMessage {
    /// The exchange and routing key it was published to.
    pub target: PublishTarget,
    /// The properties.
    pub properties: BasicProperties,
}

/// The properties that a copy changes. `None` removes a property.
struct ReplacedProperties {
    headers: Option<FieldTable>,
    delivery_mode: Option<u8>,
    expiration: Option<ShortString>,
    message_id: Option<ShortString>,
    user_id: Option<ShortString>,
}

impl OriginalMessage {
    /// Reads a message and restores the properties that an earlier copy moved.
    #[must_use]
    pub fn from_message(exchange: &str, routing_key: &str, properties: &BasicProperties) -> Self {
        let restored = |name, current: &str| {
            let moved = moved_table(properties).and_then(|moved| moved_text(moved, name));
            moved.unwrap_or(current).to_owned()
        };
        Self {
            target: PublishTarget {
                exchange: restored("exchange", exchange),
                routing_key: restored("routing_key", routing_key),
            },
            properties: Self::restore_properties(properties).into_owned(),
        }
    }

    /// Returns the original properties of a message, without its target.
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
        let is_void = |name: &str| moved.inner().get(name) == Some(&AMQPValue::Void);
        let delivery_mode = match moved.inner().get("delivery_mode") {
            Some(AMQPValue::ShortShortUInt(mode)) => Some(*mode),
            Some(AMQPValue::Void) => None,
            _ => *properties.delivery_mode(),
        };
        let message_id = properties.message_id().clone();
        let replaced = ReplacedProperties {
            headers: (!had_none).then_some(headers),
            delivery_mode,
            expiration: short("expiration").or_else(|| properties.expiration().clone()),
            message_id: message_id.filter(|_| !is_void("message_id")),
            user_id: short("user_id").or_else(|| properties.user_id().clone()),
        };
        Cow::Owned(replaced.apply_to(properties))
    }

    /// Returns the properties of a copy. `keep_target` also stores the exchange and routing
    /// key, for a copy that is published to another target.
    #[must_use]
    pub fn to_copy_properties(&self, keep_target: bool) -> BasicProperties {
        let mut moved = FieldTable::default();
        if keep_target {
            moved.insert(
                "exchange".into(),
                header_value::text_value(&self.target.exchange),
            );
            moved.insert(
                "routing_key".into(),
                header_value::text_value(&self.target.routing_key),
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
            moved.insert(
                "expiration".into(),
                header_value::text_value(expiration.as_str()),
            );
        }
        if let Some(id) = properties.user_id() {
            moved.insert("user_id".into(), header_value::text_value(id.as_str()));
        }
        let message_id = properties.message_id().clone().unwrap_or_else(|| {
            moved.insert("message_id".into(), AMQPValue::Void);
            // A returned message (`basic.return`) is matched by its message id.
            Uuid::new_v4().simple().to_string().into()
        });
        if !moved.inner().is_empty() {
            if properties.headers().is_none() {
                moved.insert("no_headers".into(), AMQPValue::Void);
            }
            headers.insert(ORIGINAL.into(), AMQPValue::FieldTable(moved));
        }
        let has_headers = properties.headers().is_some() || !headers.inner().is_empty();
        let replaced = ReplacedProperties {
            headers: has_headers.then_some(headers),
            delivery_mode: Some(DELIVERY_MODE_PERSISTENT),
            expiration: None,
            message_id: Some(message_id),
            user_id: None,
        };
        replaced.apply_to(properties)
    }
}

impl ReplacedProperties {
    /// Returns `base` with these five properties replaced; `None` removes one.
    fn apply_to(self, base: &BasicProperties) -> BasicProperties {
        /// Sets the value if it is present.
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
        let mut result = BasicProperties::default();
        result = set(result, base.content_type().clone(), P::with_content_type);
        result = set(
            result,
            base.content_encoding().clone(),
            P::with_content_encoding,
        );
        result = set(result, self.headers, P::with_headers);
        result = set(result, self.delivery_mode, P::with_delivery_mode);
        result = set(result, *base.priority(), P::with_priority);
        result = set(
            result,
            base.correlation_id().clone(),
            P::with_correlation_id,
        );
        result = set(result, base.reply_to().clone(), P::with_reply_to);
        result = set(result, self.expiration, P::with_expiration);
        result = set(result, self.message_id, P::with_message_id);
        result = set(result, *base.timestamp(), P::with_timestamp);
        result = set(result, base.kind().clone(), P::with_type);
        result = set(result, self.user_id, P::with_user_id);
        result = set(result, base.app_id().clone(), P::with_app_id);
        set(result, base.cluster_id().clone(), P::with_cluster_id)
    }
}

/// Returns the table of properties that an earlier copy moved.
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
    use crate::header_value::text_value as text;

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
    fn from_message_restores_the_original_of_a_copy() {
        let no_headers = OriginalMessage {
            properties: BasicProperties::default(),
            ..full()
        };
        let empty_headers = OriginalMessage {
            properties: BasicProperties::default().with_headers(FieldTable::default()),
            ..full()
        };
        for original in [full(), no_headers, empty_headers] {
            let copy = original.to_copy_properties(true);
            assert_eq!(
                OriginalMessage::from_message("", "elsewhere", &copy),
                original
            );
            // The same holds for a copy of a copy.
            let second_copy =
                OriginalMessage::from_message("", "elsewhere", &copy).to_copy_properties(true);
            assert_eq!(
                OriginalMessage::from_message("", "there", &second_copy),
                original
            );
        }
    }

    #[test]
    fn copy_has_no_properties_that_the_broker_acts_on() {
        let copy = full().to_copy_properties(false);
        assert_eq!(copy.user_id(), &None);
        assert_eq!(copy.expiration(), &None);
        assert_eq!(copy.delivery_mode(), &Some(2));
        assert!(copy.message_id().is_some());
        let headers = copy.headers().as_ref().unwrap();
        for name in MOVED_HEADERS {
            assert!(!headers.contains_key(name), "{name}");
        }
        assert_eq!(headers.inner()["tenant"], AMQPValue::LongInt(1));
        assert_eq!(
            OriginalMessage::from_message("x", "y", &copy)
                .target
                .exchange,
            "x"
        );
    }

    #[test]
    fn copy_without_moved_properties_gets_no_header() {
        let properties = BasicProperties::default()
            .with_message_id("evt_1".into())
            .with_delivery_mode(2);
        let original = OriginalMessage::from_message("", "q", &properties);
        assert_eq!(original.to_copy_properties(false), properties);
    }
}
