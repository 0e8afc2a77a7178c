//! The fields of a JSON schema with their rules, as rows of a table.

use serde_json::Value;

/// The maximum depth of nested objects. The bodies are less deep; a schema that contains itself is
/// not followed for ever.
const MAX_DEPTH: usize = 5;

/// Patterns of many fields, in words.
const PATTERNS: [(&str, &str); 3] = [
    (r"^[^\x00]*$", "no NUL character"),
    (
        r"^[^\x00]*[^\x00\s][^\x00]*$",
        "not blank, no NUL character",
    ),
    (r"^[^\x00]*@[^\x00]*$", "contains @, no NUL character"),
];

/// A field of a body, or a parameter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// The path in the body, e.g. `items[].sku`.
    pub(super) name: String,
    /// The type, e.g. `integer`.
    pub(super) kind: String,
    /// Whether it must be present.
    pub(super) is_required: bool,
    /// The rules for its value, e.g. `at least 1`.
    pub(super) rules: Vec<String>,
    /// The description.
    pub(super) description: String,
}

/// Returns the fields of the object that a schema describes, those of nested objects included.
pub(super) fn fields_of(api: &Value, schema: &Value) -> Vec<Field> {
    let mut fields = Vec::new();
    collect(api, schema, "", 0, &mut fields);
    fields
}

/// Returns a field or parameter with this schema.
pub(super) fn field(api: &Value, name: &str, is_required: bool, schema: &Value) -> Field {
    let resolved = without_null(api, schema);
    let mut rules = rules_of(resolved);
    if resolved["type"] == "array" {
        rules.extend(rules_of(without_null(api, &resolved["items"])));
    }
    let description = [schema, resolved]
        .iter()
        .find_map(|schema| schema["description"].as_str());
    Field {
        name: name.to_owned(),
        kind: kind_of(api, schema),
        is_required,
        rules,
        description: description.unwrap_or_default().to_owned(),
    }
}

fn collect(api: &Value, schema: &Value, prefix: &str, depth: usize, fields: &mut Vec<Field>) {
    let alternatives = objects_of(api, schema);
    if alternatives.len() > 1 {
        for alternative in alternatives {
            collect(api, alternative, prefix, depth, fields);
        }
        return;
    }
    let schema = without_null(api, schema);
    for part in schema["allOf"].as_array().into_iter().flatten() {
        collect(api, part, prefix, depth, fields);
    }
    if schema["type"] == "array" {
        collect(api, &schema["items"], &format!("{prefix}[]"), depth, fields);
        return;
    }
    let required = schema["required"].as_array();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let is_required =
            required.is_some_and(|required| required.iter().any(|other| other == name.as_str()));
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        let field = field(api, &path, is_required, property);
        // Alternatives have fields in common.
        if !fields.contains(&field) {
            fields.push(field);
        }
        if depth < MAX_DEPTH {
            collect(api, property, &path, depth + 1, fields);
        }
    }
}

/// Returns the target of a reference, or the schema itself.
fn resolve<'v>(api: &'v Value, schema: &'v Value) -> &'v Value {
    match schema["$ref"].as_str() {
        Some(reference) => api
            .pointer(reference.trim_start_matches('#'))
            .unwrap_or(schema),
        None => schema,
    }
}

/// Returns the alternatives of a schema that are objects.
fn objects_of<'v>(api: &'v Value, schema: &'v Value) -> Vec<&'v Value> {
    let schema = resolve(api, schema);
    ["oneOf", "anyOf"]
        .iter()
        .filter_map(|name| schema[*name].as_array())
        .flatten()
        .map(|alternative| resolve(api, alternative))
        .filter(|alternative| alternative["properties"].is_object())
        .collect()
}

/// Returns the alternative of a schema that is not `null`.
fn without_null<'v>(api: &'v Value, schema: &'v Value) -> &'v Value {
    let schema = resolve(api, schema);
    let alternatives = ["oneOf", "anyOf"]
        .iter()
        .find_map(|name| schema[*name].as_array());
    let other = alternatives
        .into_iter()
        .flatten()
        .find(|alternative| alternative["type"] != "null");
    other.map_or(schema, |alternative| resolve(api, alternative))
}

/// Returns the type of a schema in words.
fn kind_of(api: &Value, schema: &Value) -> String {
    let resolved = without_null(api, schema);
    let kind = match &resolved["type"] {
        Value::String(kind) if kind == "array" => {
            return or_null(
                api,
                schema,
                &format!("list of {}", kind_of(api, &resolved["items"])),
            );
        }
        Value::String(kind) => kind.as_str(),
        Value::Array(kinds) => kinds
            .iter()
            .filter_map(Value::as_str)
            .find(|kind| *kind != "null")
            .unwrap_or("any"),
        _ if resolved["properties"].is_object() || resolved["allOf"].is_array() => "object",
        _ => "any",
    };
    let kind = match resolved["format"].as_str() {
        Some(format) if kind == "string" => format!("{kind} ({format})"),
        _ => kind.to_owned(),
    };
    or_null(api, schema, &kind)
}

fn or_null(api: &Value, schema: &Value, kind: &str) -> String {
    let schema = resolve(api, schema);
    let is_null = |schema: &Value| schema["type"] == "null";
    let mut alternatives = ["oneOf", "anyOf"]
        .iter()
        .filter_map(|name| schema[*name].as_array())
        .flatten();
    let mut types = schema["type"].as_array().into_iter().flatten();
    if alternatives.any(is_null) || types.any(|kind| kind == "null") {
        format!("{kind} or null")
    } else {
        kind.to_owned()
    }
}

/// Returns the rules of a schema in words.
fn rules_of(schema: &Value) -> Vec<String> {
    let mut rules = Vec::new();
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<_> = values
            .iter()
            .filter(|value| !value.is_null())
            .map(plain_text)
            .collect();
        rules.push(format!("one of {}", values.join(", ")));
    }
    for (keyword, words, unit) in [
        ("minLength", "at least", " characters"),
        ("maxLength", "at most", " characters"),
        ("minItems", "at least", " items"),
        ("maxItems", "at most", " items"),
        ("minimum", "at least", ""),
        ("exclusiveMinimum", "greater than", ""),
        ("maximum", "at most", ""),
        ("exclusiveMaximum", "less than", ""),
        ("multipleOf", "a multiple of", ""),
        ("pattern", "matches", ""),
        ("default", "default", ""),
    ] {
        let value = &schema[keyword];
        let in_words = value.as_str().and_then(|pattern| {
            let known = PATTERNS.iter().find(|(known, _)| *known == pattern);
            known.filter(|_| keyword == "pattern")
        });
        if let Some((_, words)) = in_words {
            rules.push((*words).to_owned());
        } else if !value.is_null() {
            let unit = if *value == 1 {
                unit.trim_end_matches('s')
            } else {
                unit
            };
            rules.push(format!("{words} {}{unit}", plain_text(value)));
        }
    }
    rules
}

/// Returns a value as text, a text without quotes.
fn plain_text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_contain_nested_objects_with_rules_and_types() {
        let api = json!({"components": {"schemas": {
            "Order": {"type": "object", "required": ["items"], "properties": {
                "items": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Line"}},
                "notes": {"type": ["string", "null"], "maxLength": 4000, "description": "Free text."},
                "status": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Status"}]},
                "parent": {"$ref": "#/components/schemas/Order"},
            }},
            "Line": {"type": "object", "required": ["sku"], "properties": {
                "sku": {"type": "string", "pattern": "^[A-Z]+$"},
                "quantity": {"type": "integer", "minimum": 1},
            }},
            "Status": {"type": "string", "enum": ["CREATED", "SHIPPED"]},
        }}});
        let fields = fields_of(&api, &json!({"$ref": "#/components/schemas/Order"}));
        let row = |name: &str| {
            let field = fields.iter().find(|field| field.name == name).unwrap();
            (
                field.kind.as_str(),
                field.is_required,
                field.rules.join("; "),
            )
        };
        assert_eq!(
            row("items"),
            ("list of object", true, "at least 1 item".to_owned())
        );
        assert_eq!(
            row("items[].sku"),
            ("string", true, "matches ^[A-Z]+$".to_owned())
        );
        assert_eq!(
            row("items[].quantity"),
            ("integer", false, "at least 1".to_owned())
        );
        assert_eq!(
            row("notes"),
            (
                "string or null",
                false,
                "at most 4000 characters".to_owned()
            )
        );
        assert_eq!(
            row("status"),
            (
                "string or null",
                false,
                "one of CREATED, SHIPPED".to_owned()
            )
        );
        let notes = fields.iter().find(|field| field.name == "notes").unwrap();
        assert_eq!(notes.description, "Free text.");
        // A schema that contains itself ends.
        assert!(fields.len() < 200, "{}", fields.len());
    }

    #[test]
    fn fields_of_alternatives_are_listed_once() {
        let decision = |status: &str| json!({"type": "string", "enum": [status]});
        let schema = json!({"oneOf": [
            {"type": "object", "properties": {
                "by": {"type": "string"}, "decision": decision("APPROVED"),
            }},
            {"type": "object", "required": ["comment"], "properties": {
                "by": {"type": "string"},
                "comment": {"type": "string", "pattern": r"^[^\x00]*[^\x00\s][^\x00]*$"},
                "decision": decision("REJECTED"),
            }},
        ]});
        let fields = fields_of(&json!({}), &schema);
        let rows: Vec<_> = fields
            .iter()
            .map(|field| format!("{} {}", field.name, field.rules.join("; ")))
            .collect();
        assert_eq!(
            rows,
            [
                "by ",
                "decision one of APPROVED",
                "comment not blank, no NUL character",
                "decision one of REJECTED",
            ]
        );
    }

    #[test]
    fn fields_of_a_list_are_those_of_its_items() {
        let schema = json!({"type": "array", "items": {
            "type": "object", "properties": {"id": {"type": "string", "format": "date-time"}},
        }});
        let fields = fields_of(&json!({}), &schema);
        assert_eq!(fields.len(), 1);
        assert_eq!(fields[0].name, "[].id");
        assert_eq!(fields[0].kind, "string (date-time)");
    }
}
