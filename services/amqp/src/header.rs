//! Headers of messages.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

/// The value of a header that holds a text.
#[must_use]
pub fn text_value(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// The text of a value, whichever of the two kinds of text it is. What is not UTF-8 in it is
/// replaced: this is for reading, and never for a copy.
#[must_use]
pub fn as_text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// The text of an entry, as [`as_text`] reads it.
#[must_use]
pub fn get_text(table: &FieldTable, name: &str) -> Option<String> {
    as_text(table.inner().get(name)?)
}

/// The count in an entry, of any width; nothing where it is below zero.
#[must_use]
pub fn get_number(table: &FieldTable, name: &str) -> Option<u64> {
    match table.inner().get(name)? {
        AMQPValue::ShortShortInt(number) => u64::try_from(*number).ok(),
        AMQPValue::ShortShortUInt(number) => Some((*number).into()),
        AMQPValue::ShortInt(number) => u64::try_from(*number).ok(),
        AMQPValue::ShortUInt(number) => Some((*number).into()),
        AMQPValue::LongInt(number) => u64::try_from(*number).ok(),
        AMQPValue::LongUInt(number) => Some((*number).into()),
        AMQPValue::LongLongInt(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

/// The properties with some more headers; every other one stays as it is.
#[must_use]
pub fn with_headers(
    properties: &BasicProperties,
    more: impl IntoIterator<Item = (&'static str, AMQPValue)>,
) -> BasicProperties {
    let mut headers = properties.headers().clone().unwrap_or_default();
    for (name, value) in more {
        headers.insert(name.into(), value);
    }
    properties.clone().with_headers(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_headers_change_no_other_one() {
        let odd = AMQPValue::LongString(b"\xff\xfe".to_vec().into());
        let mut table = FieldTable::default();
        table.insert("odd".into(), odd.clone());
        table.insert("old".into(), text_value("before"));
        let properties = BasicProperties::default()
            .with_headers(table)
            .with_priority(3);
        let more = [
            ("old", text_value("now")),
            ("count", AMQPValue::ShortInt(-1)),
        ];
        let made = with_headers(&properties, more);
        assert_eq!(made.priority(), &Some(3));
        let table = made.headers().as_ref().unwrap();
        assert_eq!(table.inner().get("odd"), Some(&odd));
        assert_eq!(get_text(table, "old").as_deref(), Some("now"));
        assert_eq!(get_number(table, "count"), None, "no count is below zero");
        assert_eq!(get_number(table, "old"), None);
        assert_eq!(get_text(table, "count"), None);
    }

    #[test]
    fn a_count_is_read_whatever_its_width() {
        let seven = [
            AMQPValue::ShortShortInt(7),
            AMQPValue::ShortShortUInt(7),
            AMQPValue::ShortInt(7),
            AMQPValue::ShortUInt(7),
            AMQPValue::LongInt(7),
            AMQPValue::LongUInt(7),
            AMQPValue::LongLongInt(7),
        ];
        for value in seven {
            let mut table = FieldTable::default();
            table.insert("count".into(), value);
            assert_eq!(get_number(&table, "count"), Some(7));
        }
    }
}
