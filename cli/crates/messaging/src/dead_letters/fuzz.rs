//! Property tests: any file of dead letters is parsed or refused with a line number, and any
//! message is parsed as a letter.

use dm_contracts::headers;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use proptest::prelude::*;

use super::DeadLetter;
use super::import_export::read_strict;

fn corpus() -> Vec<String> {
    let line = r#"{"queue":"inventory.order-events.q","headers":{"x-dm-reason":"unparsable","n":1,"t":true},"body":"e30="}"#;
    let bare = r#"{"queue":"wuphf.events.q","headers":{},"body":""}"#;
    vec![
        line.to_owned(),
        format!("{line}\n{bare}\n\n{line}\n"),
        format!("{bare}\r\n{line}"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn any_file_is_parsed_or_refused_with_its_line(bytes in dm_text_mutations::mutated_bytes(corpus())) {
        let lines = 1 + bytes.iter().filter(|byte| **byte == b'\n').count();
        match read_strict(bytes.as_slice()) {
            Ok(letters) => {
                prop_assert!(letters.len() <= lines);
                // Serialized letters are parsed as equal letters.
                let serialized: Vec<String> = letters
                    .iter()
                    .map(|line| serde_json::to_string(line).unwrap())
                    .collect();
                let parsed = read_strict(serialized.join("\n").as_bytes()).unwrap();
                prop_assert_eq!(parsed, letters);
            }
            Err(error) => {
                let message = error.to_string();
                let number = message.split("line ").nth(1).and_then(|rest| {
                    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                    digits.parse::<usize>().ok()
                });
                let is_text = std::str::from_utf8(&bytes).is_ok();
                prop_assert!(
                    number.is_some_and(|number| (1..=lines).contains(&number)) || !is_text,
                    "{}", message
                );
            }
        }
    }
}

/// Generates headers of any type, including types that neither the services nor `dm` write.
fn header() -> impl Strategy<Value = AMQPValue> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(AMQPValue::Boolean),
        any::<i8>().prop_map(AMQPValue::ShortShortInt),
        any::<u16>().prop_map(AMQPValue::ShortUInt),
        any::<i64>().prop_map(AMQPValue::LongLongInt),
        any::<f64>().prop_map(AMQPValue::Double),
        any::<u64>().prop_map(AMQPValue::Timestamp),
        proptest::collection::vec(any::<u8>(), 0..12)
            .prop_map(|bytes| AMQPValue::LongString(bytes.into())),
        "2026-02-03T10:00:00Z|unparsable|-1|99999999999999999999"
            .prop_map(|text| AMQPValue::LongString(text.into())),
        Just(AMQPValue::Void),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4)
                .prop_map(|values| AMQPValue::FieldArray(FieldArray::from(values))),
            proptest::collection::vec((names(), inner), 0..4)
                .prop_map(|pairs| AMQPValue::FieldTable(table(pairs))),
        ]
    })
}

fn names() -> impl Strategy<Value = String> {
    proptest::sample::select(vec![
        "x-death",
        "count",
        "time",
        "reason",
        "queue",
        "exchange",
        "routing-keys",
        headers::REASON,
        headers::ERROR,
        headers::ATTEMPTS,
        headers::FAILED_AT,
        headers::REPLAYS,
        headers::TRACEPARENT,
        "tenant",
    ])
    .prop_map(str::to_owned)
}

fn table(pairs: Vec<(String, AMQPValue)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert(name.as_str().into(), value);
    }
    table
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn any_message_is_parsed_as_a_letter(
        headers in proptest::collection::vec((names(), header()), 0..6),
        body in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let properties = BasicProperties::default().with_headers(table(headers));
        let letter = DeadLetter::from_message("inventory.order-events.q", 1, &properties, &body);
        prop_assert!(!letter.fingerprint.is_empty());
        let moved = DeadLetter::from_message("inventory.order-events.q", 2, &properties, &body);
        prop_assert_eq!(moved.fingerprint, letter.fingerprint);
    }
}
