//! Requests at the edges of what a document permits.
//!
//! A probe is a request that differs from a valid one in one part: a field is missing, a text has
//! one character too many, a number is one below its minimum. The document decides which probes are
//! valid; a service must accept exactly these.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::document::{Document, Operation};

/// The size of a body above the limit of the services, in bytes.
const TOO_LARGE: usize = (1 << 20) + 1;

/// Texts of which each schema of a text in a request permits one.
const SAMPLES: [&str; 5] = [
    "example",
    "user@example.com",
    "https://example.com/receipt",
    "2030-01-31",
    "2030-01-31T10:00:00Z",
];

/// Dates, and texts that look like dates.
const DATES: [&str; 9] = [
    "0001-01-01",
    "2024-02-29",
    "9999-12-31",
    "0000-01-01",
    "2030-02-30",
    "2030-1-31",
    "12030-01-31",
    "2030-01-31T10:00:00Z",
    " 2030-01-31",
];

/// Instants, and texts that look like instants.
const INSTANTS: [&str; 18] = [
    "0002-01-01T00:00:00+23:59",
    "9998-12-31T23:59:59-23:59",
    "2030-01-31T10:00:00.123456789+02:00",
    "2030-01-31t10:00:00z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "0001-06-01T00:00:00+01:00",
    "9999-12-31T23:59:59-01:00",
    "2030-06-30T23:59:60Z",
    "2030-02-30T10:00:00Z",
    "2030-01-31T24:00:00Z",
    "2030-01-31T10:00:00",
    "2030-01-31T10:00:00+0200",
    "2030-01-31T10:00:00+24:00",
    "2030-01-31 10:00:00Z",
    " 2030-01-31T10:00:00Z",
    "yesterday",
];

/// URLs, and texts that look like URLs.
const URLS: [&str; 12] = [
    "http://a",
    "HTTPS://EXAMPLE.COM:99999/?a=b#c",
    " http://a \n",
    "http://",
    "http:///a",
    "https://?a",
    "http:a",
    "http://a b",
    "http://a\tb",
    "//a",
    "ftp://a",
    "javascript:alert(1)",
];

/// What a service must answer to a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    /// The document permits the request.
    Accepted,
    /// The request violates this constraint of the document.
    Refused(String),
    /// The document does not say whether a record has this id.
    Described,
}

/// A request that differs from a valid one in at most one part.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    /// The part, and its value.
    pub(super) change: String,
    pub(super) expected: Expected,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    /// All described headers.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<String>,
}

impl Probe {
    /// Returns whether the body is larger than the services read, so that the connection can close
    /// before the answer is read.
    pub(super) fn is_too_large(&self) -> bool {
        self.body
            .as_ref()
            .is_some_and(|body| body.len() >= TOO_LARGE)
    }
}

/// Returns the probes of an operation. `id_of` returns the id of an existing record for the name of
/// a field, and `header_of` the value of a header.
pub(super) fn probes(
    operation: &Operation<'_>,
    id_of: impl Fn(&str) -> String,
    header_of: impl Fn(&str) -> String,
) -> Vec<Probe> {
    let document = operation.document();
    let headers = operation.parameters("header").filter_map(|parameter| {
        let name = parameter["name"].as_str().unwrap_or_default();
        (parameter["required"] == true).then(|| (name.to_owned(), header_of(name)))
    });
    let path_value = |name: &str, field: &str| {
        let mut parameters = operation.parameters("path");
        let parameter = parameters.find(|parameter| parameter["name"] == name);
        let words = parameter.and_then(|parameter| {
            let schema = document.resolve(&parameter["schema"]);
            schema["enum"][0].as_str()
        });
        words.map_or_else(|| id_of(field), str::to_owned)
    };
    let bodies = operation
        .body_schema()
        .map(|schema| examples(document, schema))
        .unwrap_or_default();
    let valid = Probe {
        change: "nothing".to_owned(),
        expected: Expected::Accepted,
        path: operation.fill_path(path_value),
        query: Vec::new(),
        headers: headers.collect(),
        body: bodies.first().map(Value::to_string),
    };
    let mut probes = vec![valid.clone()];
    probes.extend(path_probes(operation, &valid, &path_value));
    probes.extend(query_probes(operation, &valid));
    probes.extend(header_probes(operation, &valid));
    probes.extend(body_probes(operation, &valid, &bodies));
    // The repetition of a request would be answered with the first answer.
    for probe in &mut probes {
        for (name, value) in &mut probe.headers {
            let is_key = name.eq_ignore_ascii_case("idempotency-key");
            if is_key && *value == header_of_valid(&valid, name.as_str()) {
                *value = header_of(name.as_str());
            }
        }
    }
    probes
}

fn header_of_valid<'p>(valid: &'p Probe, name: &str) -> &'p str {
    let mut headers = valid.headers.iter();
    headers
        .find(|(other, _)| other == name)
        .map_or("", |(_, value)| value.as_str())
}

/// Returns probes with other texts in the path.
fn path_probes(
    operation: &Operation<'_>,
    valid: &Probe,
    path_value: &impl Fn(&str, &str) -> String,
) -> Vec<Probe> {
    /// A text that no path contains, in place of one that is not valid UTF-8.
    const MARK: &str = "path-mark";
    let document = operation.document();
    let mut probes = Vec::new();
    for parameter in operation.parameters("path") {
        let name = parameter["name"].as_str().unwrap_or_default();
        let schema = document.resolve(&parameter["schema"]);
        let with = |text: &str| {
            let fill = |other: &str, field: &str| {
                if other == name {
                    text.to_owned()
                } else {
                    path_value(other, field)
                }
            };
            operation.fill_path(fill)
        };
        let words = schema["enum"].as_array();
        let words = words.into_iter().flatten().filter_map(Value::as_str);
        let mut texts: Vec<&str> = words.collect();
        let is_enumeration = !texts.is_empty();
        texts.extend([
            "unknown",
            "PORTAL",
            " ",
            "a/b",
            "\0",
            "' OR 1=1 --",
            "\u{fc}",
        ]);
        for text in texts {
            let expected = match document.violation(schema, &json!(text)) {
                Some(constraint) => Expected::Refused(constraint),
                None if is_enumeration => Expected::Accepted,
                None => Expected::Described,
            };
            probes.push(Probe {
                change: format!("path {name} = {text:?}"),
                expected,
                path: with(text),
                ..valid.clone()
            });
        }
        probes.push(Probe {
            change: format!("path {name} is not UTF-8"),
            expected: if is_enumeration {
                Expected::Refused("/enum".to_owned())
            } else {
                Expected::Described
            },
            path: with(MARK).replace(MARK, "%ff"),
            ..valid.clone()
        });
    }
    probes
}

/// Returns probes with one parameter in the query, or two that exclude each other.
fn query_probes(operation: &Operation<'_>, valid: &Probe) -> Vec<Probe> {
    let document = operation.document();
    let parameters: Vec<&Value> = operation.parameters("query").collect();
    let name_of = |parameter: &Value| parameter["name"].as_str().unwrap_or_default().to_owned();
    let mut probes = Vec::new();
    for parameter in &parameters {
        let (name, schema) = (name_of(parameter), &parameter["schema"]);
        let mut texts: Vec<String> = [
            "", " ", "x", "0", "-1", "1", "+1", " 1", "01", "1.5", "true", "TRUE",
        ]
        .map(str::to_owned)
        .into();
        for value in candidates(document, schema, &example(document, schema)) {
            match value {
                Value::String(text) => texts.push(text),
                Value::Number(number) if number.is_i64() => texts.push(number.to_string()),
                Value::Bool(flag) => texts.push(flag.to_string()),
                _ => {}
            }
        }
        // A query string cannot contain U+0000.
        texts.retain(|text| !text.contains('\0'));
        let mut known = BTreeSet::new();
        texts.retain(|text| known.insert(text.clone()));
        for text in texts {
            let violation = query_violation(document, schema, &text);
            // Only an answer contains a valid cursor.
            if name == "cursor" && violation.is_none() && !text.trim().is_empty() {
                continue;
            }
            probes.push(Probe {
                change: format!("query {name} = {text:?}"),
                expected: violation.map_or(Expected::Accepted, Expected::Refused),
                query: vec![(name.clone(), text)],
                ..valid.clone()
            });
        }
        for other in parameters.iter().filter(|other| {
            let excluded = parameter["x-not-with"].as_array();
            excluded.is_some_and(|excluded| excluded.contains(&other["name"]))
        }) {
            let pair = [parameter, other].map(|parameter| {
                let value = example(document, &parameter["schema"]);
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                (name_of(parameter), text)
            });
            probes.push(Probe {
                change: format!("query {pair:?}"),
                expected: Expected::Refused("x-not-with".to_owned()),
                query: pair.into(),
                ..valid.clone()
            });
        }
    }
    probes
}

/// Returns the constraint that a parameter of a query violates. A text can stand for a number or a
/// truth value.
fn query_violation(document: &Document, schema: &Value, text: &str) -> Option<String> {
    let number = text.parse::<i64>().ok().map(Value::from);
    let flag = text.parse::<bool>().ok().map(Value::from);
    // A value counts only as JSON writes it: `05` and `TRUE` are texts.
    let values = number.into_iter().chain(flag);
    let mut written = values.map(|value| (value.to_string(), value));
    if written.any(|(json, value)| json == text && document.violation(schema, &value).is_none()) {
        return None;
    }
    document.violation(schema, &json!(text))
}

/// Returns probes in which one header is missing or has another value.
fn header_probes(operation: &Operation<'_>, valid: &Probe) -> Vec<Probe> {
    let document = operation.document();
    let mut probes = Vec::new();
    for parameter in operation.parameters("header") {
        let name = parameter["name"].as_str().unwrap_or_default();
        let schema = document.resolve(&parameter["schema"]);
        let others = move || valid.headers.iter().filter(move |(other, _)| other != name);
        let is_required = parameter["required"] == true;
        probes.push(Probe {
            change: format!("header {name} is missing"),
            expected: if is_required {
                Expected::Refused("required".to_owned())
            } else {
                Expected::Accepted
            },
            headers: others().cloned().collect(),
            ..valid.clone()
        });
        let mut texts = vec![String::new()];
        if let Some(length) = schema["maxLength"].as_u64() {
            let length = usize::try_from(length).unwrap();
            texts.extend([length, length + 1].map(|length| "x".repeat(length)));
            texts.push("\u{fc}".to_owned());
        }
        for text in texts {
            let violation = document.violation(schema, &json!(text));
            let changed = others().cloned().chain([(name.to_owned(), text.clone())]);
            probes.push(Probe {
                change: format!("header {name} = {}", shorten(&text)),
                expected: violation.map_or(Expected::Accepted, Expected::Refused),
                headers: changed.collect(),
                ..valid.clone()
            });
        }
    }
    probes
}

/// Returns probes in which one part of the body is missing or has another value.
fn body_probes(operation: &Operation<'_>, valid: &Probe, bodies: &[Value]) -> Vec<Probe> {
    let Some(schema) = operation.body_schema() else {
        return Vec::new();
    };
    let document = operation.document();
    let mut probes = Vec::new();
    for body in bodies {
        let mut changes = vec![(String::new(), Some(body.clone()))];
        collect_changes(document, schema, body, "", &mut changes);
        for (pointer, replacement) in changes {
            let changed = apply(body, &pointer, replacement.as_ref());
            let violation = document
                .violation(schema, &changed)
                .or_else(|| size_violation(document, schema, &changed));
            let text = replacement.map_or_else(|| "missing".to_owned(), |value| value.to_string());
            probes.push(Probe {
                change: format!("body {pointer} = {}", shorten(&text)),
                expected: violation.map_or(Expected::Accepted, Expected::Refused),
                body: Some(changed.to_string()),
                ..valid.clone()
            });
        }
    }
    let is_required = operation.spec()["requestBody"]["required"] == true;
    let absent = if is_required {
        Expected::Refused("required".to_owned())
    } else {
        Expected::Accepted
    };
    let syntax = Expected::Refused("JSON".to_owned());
    let too_large = format!("{{\"\":\"{}\"}}", "x".repeat(TOO_LARGE));
    for (change, expected, body) in [
        ("no body", absent.clone(), None),
        ("blank body", absent, Some(" \n".to_owned())),
        ("body is cut off", syntax.clone(), Some("{".to_owned())),
        ("body is not JSON", syntax, Some("a=b".to_owned())),
        (
            "body of more than 1 MiB",
            Expected::Refused("413".to_owned()),
            Some(too_large),
        ),
    ] {
        probes.push(Probe {
            change: change.to_owned(),
            expected,
            body,
            ..valid.clone()
        });
    }
    probes
}

/// Returns a valid value for each alternative of a schema except `null`.
fn examples(document: &Document, schema: &Value) -> Vec<Value> {
    let alternatives = document.alternatives(schema);
    let examples = alternatives.into_iter().map(|alternative| {
        let example = example(document, alternative);
        let violation = document.violation(schema, &example);
        assert_eq!(violation, None, "{example} is not valid for {schema}");
        example
    });
    examples.collect()
}

/// Returns a valid value with all described fields.
fn example(document: &Document, schema: &Value) -> Value {
    let schema = document.alternatives(schema)[0];
    if let Some(words) = schema["enum"].as_array() {
        return words[0].clone();
    }
    match kind_of(schema) {
        "object" => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            fields
                .map(|(name, field)| (name.clone(), example(document, field)))
                .collect::<Map<_, _>>()
                .into()
        }
        "array" => json!([example(document, &schema["items"])]),
        "string" => {
            let mut samples = SAMPLES.iter().map(|sample| json!(sample));
            let sample = samples.find(|sample| document.violation(schema, sample).is_none());
            sample.unwrap_or_else(|| panic!("no sample is valid for {schema}"))
        }
        "integer" => json!(schema["minimum"].as_i64().unwrap_or(1)),
        "number" => json!(12.5),
        "boolean" => json!(true),
        other => panic!("no value of type {other} can be generated"),
    }
}

/// Returns the type of a schema except `null`.
fn kind_of(schema: &Value) -> &str {
    match &schema["type"] {
        Value::Array(kinds) => {
            let mut kinds = kinds.iter().filter_map(Value::as_str);
            kinds.find(|kind| *kind != "null").unwrap_or_default()
        }
        kind => kind.as_str().unwrap_or_default(),
    }
}

/// Collects changes of the parts of a valid value: the pointer of the part, and its new value, or
/// `None` if it is missing.
fn collect_changes(
    document: &Document,
    schema: &Value,
    valid: &Value,
    pointer: &str,
    changes: &mut Vec<(String, Option<Value>)>,
) {
    let replacements = candidates(document, schema, valid).into_iter();
    changes.extend(replacements.map(|value| (pointer.to_owned(), Some(value))));
    let alternatives = document.alternatives(schema);
    let alternative = alternatives
        .into_iter()
        .find(|alternative| document.violation(alternative, valid).is_none());
    let Some(schema) = alternative else { return };
    match valid {
        Value::Object(fields) if schema["properties"].is_object() => {
            // Services ignore fields that are not described.
            let ignored = json!([{"\0": "\0"}, 1, null]);
            changes.push((format!("{pointer}/not described"), Some(ignored)));
            for (name, value) in fields {
                let pointer = format!("{pointer}/{name}");
                changes.push((pointer.clone(), None));
                let schema = &schema["properties"][name];
                collect_changes(document, schema, value, &pointer, changes);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                let pointer = format!("{pointer}/{at}");
                collect_changes(document, &schema["items"], item, &pointer, changes);
            }
        }
        _ => {}
    }
}

/// Returns a value in which one part is missing or replaced.
fn apply(value: &Value, pointer: &str, replacement: Option<&Value>) -> Value {
    let Some((parent, name)) = pointer.rsplit_once('/') else {
        return replacement.cloned().unwrap_or_default();
    };
    let mut changed = value.clone();
    match (changed.pointer_mut(parent), replacement) {
        (Some(Value::Object(fields)), Some(value)) => {
            fields.insert(name.to_owned(), value.clone());
        }
        (Some(Value::Object(fields)), None) => {
            fields.remove(name);
        }
        (Some(Value::Array(items)), Some(value)) => {
            items[name.parse::<usize>().unwrap()] = value.clone();
        }
        (parent, _) => panic!("{pointer} has no parent: {parent:?}"),
    }
    changed
}

/// Returns the limit that a part of a value exceeds, for which JSON schemas have no keyword.
fn size_violation(document: &Document, schema: &Value, value: &Value) -> Option<String> {
    let schema = document.resolve(schema);
    let fields = schema["properties"].as_object().into_iter().flatten();
    fields
        .filter_map(|(name, field)| Some((name, field["x-max-bytes"].as_u64()?)))
        .find(|(name, limit)| value[name.as_str()].to_string().len() as u64 > *limit)
        .map(|(name, _)| format!("/properties/{name}/x-max-bytes"))
}

/// Returns values of which some are valid for a schema and some are not.
fn candidates(document: &Document, schema: &Value, valid: &Value) -> Vec<Value> {
    let mut values = vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(""),
        json!(" "),
        json!("x"),
        json!("\0"),
        json!("a\0b"),
        json!([]),
        json!({}),
    ];
    for alternative in document.alternatives(schema) {
        match kind_of(alternative) {
            "string" => values.extend(texts(alternative, valid).into_iter().map(Value::from)),
            "integer" | "number" => values.extend(numbers(alternative)),
            "array" => values.extend(lists(alternative, valid)),
            "object" => values.extend(objects(alternative, valid)),
            _ => {}
        }
    }
    let mut known = BTreeSet::from([valid.to_string()]);
    values.retain(|value| known.insert(value.to_string()));
    values
}

fn texts(schema: &Value, valid: &Value) -> Vec<String> {
    let valid = valid.as_str().unwrap_or("x");
    let mut texts = vec![format!(" {valid}"), format!("{valid}\n"), "@".to_owned()];
    if let Some(maximum) = schema["maxLength"].as_u64() {
        let maximum = usize::try_from(maximum).unwrap();
        let missing = maximum.saturating_sub(valid.chars().count());
        texts.extend([
            "x".repeat(maximum),
            "\u{fc}".repeat(maximum),
            "x".repeat(maximum + 1),
            format!("{valid}{}", "x".repeat(missing)),
            format!("{valid}{}", "x".repeat(missing + 1)),
            // Lengths are those of the texts as they are sent.
            format!("{valid}{} ", "x".repeat(missing)),
            " ".repeat(maximum + 1),
        ]);
    }
    for word in schema["enum"].as_array().into_iter().flatten() {
        let word = word.as_str().unwrap_or_default();
        texts.extend([
            word.to_owned(),
            word.to_lowercase(),
            word.to_uppercase(),
            format!(" {word}"),
            format!("{word} "),
            format!("{word}x"),
        ]);
    }
    let owned = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>()
    };
    match schema["format"].as_str() {
        Some("date") => texts.extend(owned(&DATES)),
        Some("date-time") => texts.extend(owned(&INSTANTS)),
        _ => {}
    }
    let pattern = schema["pattern"].as_str().unwrap_or_default();
    if pattern.contains("://") {
        texts.extend(owned(&URLS));
    }
    texts
}

fn numbers(schema: &Value) -> Vec<Value> {
    let mut numbers = vec![json!(1e300), json!(u64::MAX), json!(i64::MIN), json!("1")];
    for keyword in ["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"] {
        match (schema[keyword].as_i64(), schema[keyword].as_f64()) {
            (Some(limit), _) => {
                numbers.push(json!(limit));
                numbers.extend(limit.checked_sub(1).map(Value::from));
                let above = u64::try_from(limit).map(|limit| limit + 1);
                numbers.extend(above.ok().map(Value::from));
                // The same number, written with a fraction.
                if limit.unsigned_abs() < 1 << 52 {
                    numbers.extend([json!(limit as f64), json!(limit as f64 + 0.5)]);
                }
            }
            (None, Some(limit)) => {
                let nearby = [limit, limit - 0.001, limit + 0.001, limit.next_down()];
                numbers.extend(nearby.map(Value::from));
            }
            (None, None) => {}
        }
    }
    numbers
}

fn lists(schema: &Value, valid: &Value) -> Vec<Value> {
    let item = valid[0].clone();
    let mut lists = vec![json!([null]), json!([[]]), json!([1]), json!({"0": item})];
    if let Some(fields) = item.as_object() {
        lists.push(json!([fields.values().collect::<Vec<_>>()]));
    }
    let limits = ["minItems", "maxItems"].map(|keyword| schema[keyword].as_u64());
    for limit in limits.into_iter().flatten() {
        let limit = usize::try_from(limit).unwrap();
        for length in [limit.saturating_sub(1), limit, limit + 1] {
            lists.push(Value::Array(vec![item.clone(); length]));
        }
    }
    lists
}

fn objects(schema: &Value, valid: &Value) -> Vec<Value> {
    let mut objects = Vec::new();
    if let Some(fields) = valid.as_object() {
        // A list of the fields of an object is no object.
        objects.push(json!(fields.values().collect::<Vec<_>>()));
        objects.push(json!([fields]));
    }
    if let Some(limit) = schema["x-max-bytes"].as_u64() {
        let frame = json!({"a": ""}).to_string().len();
        let longest = usize::try_from(limit).unwrap() - frame;
        for length in [longest, longest + 1] {
            objects.push(json!({"a": "x".repeat(length)}));
        }
        objects.push(json!({"text": "\0", "list": [null, 1.5, {"": {}}]}));
    }
    objects
}

/// Returns a text of limited length for a message.
pub(super) fn shorten(text: &str) -> String {
    const LENGTH: usize = 80;
    let beginning: String = text.chars().take(LENGTH).collect();
    let length = text.chars().count();
    if length > LENGTH {
        format!("{beginning:?}… ({length} characters)")
    } else {
        format!("{beginning:?}")
    }
}
