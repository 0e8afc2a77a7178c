//! Values of message headers.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

/// Returns the header value for a text.
#[must_use]
pub fn text_value(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// Returns the text of a long or short string. Bytes that are not UTF-8 are replaced, so the
/// result is for display and comparison, not for copies.
#[must_use]
pub fn as_text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// Returns the text of an entry, decoded as by [`as_text`].
#[must_use]
pub fn get_text(table: &FieldTable, name: &str) -> Option<String> {
    as_text(table.inner().get(name)?)
}

/// Returns the integer of an entry, of any width. `None` if it is negative.
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

/// Returns the properties with additional headers. The other headers stay unchanged.
#[must_use]
pub fn with_headers(
    properties: &BasicProperties,
    added: impl IntoIterator<Item = (&'static str, AMQPValue)>,
) -> BasicProperties {
    let mut headers = properties.headers().clone().unwrap_or_default();
    for (name, value) in added {
        headers.insert(name.into(), value);
    }
    properties.clone().with_headers(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_headers_keeps_the_other_headers_and_properties() {
        let odd = AMQPValue::LongString(b"\xff\xfe".to_vec().into());
        let mut table = FieldTable::default();
        table.insert("odd".into(), odd.clone());
        table.insert("old".into(), text_value("before"));
        let properties = BasicProperties::default()
            .with_headers(table)
            .with_priority(3);
        let added = [
            ("old", text_value("now")),
            ("count", AMQPValue::ShortInt(-1)),
        ];
        let extended = with_headers(&properties, added);
        assert_eq!(extended.priority(), &Some(3));
        let table = extended.headers().as_ref().unwrap();
        assert_eq!(table.inner().get("odd"), Some(&odd));
        assert_eq!(get_text(table, "old").as_deref(), Some("now"));
        assert_eq!(
            get_number(table, "count"),
            None,
            "a negative number is no count"
        );
        assert_eq!(get_number(table, "old"), None);
        assert_eq!(get_text(table, "count"), None);
    }

    #[test]
    fn get_number_accepts_every_integer_width() {
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
