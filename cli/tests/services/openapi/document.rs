//! OpenAPI documents and their operations.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use jsonschema::Validator;
use libtest_mimic::Failed;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::value::{KnownIds, ValueGenerator};

/// The OpenAPI document of a service.
pub(super) struct Document {
    address: String,
    api: Value,
    /// The same document, in which objects have no other fields than the described ones.
    strict: Value,
    validators: RefCell<HashMap<String, Rc<Validator>>>,
}

/// An operation of a document.
pub(super) struct Operation<'d> {
    document: &'d Document,
    path: &'d str,
    method: Method,
    spec: &'d Value,
}

impl Document {
    /// Fetches the document of a service.
    pub(super) async fn fetch(
        client: &Client,
        service: &str,
        address: &str,
    ) -> Result<Self, Failed> {
        let answer = client.get(format!("{address}/v3/api-docs")).send().await?;
        let api: Value = answer.error_for_status()?.json().await?;
        assert!(
            api["openapi"]
                .as_str()
                .is_some_and(|version| version.starts_with("3.1")),
            "{service}: only from version 3.1 on are the schemas JSON schemas"
        );
        let mut strict = api.clone();
        forbid_undescribed_fields(&mut strict["components"]);
        Ok(Self {
            address: address.to_owned(),
            api,
            strict,
            validators: RefCell::default(),
        })
    }

    /// Returns the operations in the order of the document.
    pub(super) fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        let paths = self.api["paths"].as_object().into_iter().flatten();
        paths.flat_map(move |(path, verbs)| {
            let verbs = verbs.as_object().into_iter().flatten();
            verbs.map(move |(verb, spec)| Operation {
                document: self,
                path,
                method: verb.to_uppercase().parse().unwrap(),
                spec,
            })
        })
    }

    /// Returns the target of a reference, or the schema itself.
    pub(super) fn resolve<'v>(&'v self, schema: &'v Value) -> &'v Value {
        match schema["$ref"].as_str() {
            Some(reference) => {
                let found = self.api.pointer(reference.trim_start_matches('#'));
                self.resolve(found.unwrap_or_else(|| panic!("{reference} has no target")))
            }
            None => schema,
        }
    }

    fn validator(&self, name: &str, schema: &Value) -> Rc<Validator> {
        let mut validators = self.validators.borrow_mut();
        let make = || {
            let whole = json!({"allOf": [schema], "components": self.strict["components"]});
            let options = jsonschema::options().should_validate_formats(true);
            Rc::new(options.build(&whole).unwrap())
        };
        Rc::clone(validators.entry(name.to_owned()).or_insert_with(make))
    }
}

/// Forbids fields that are not described: a client that is generated from the document cannot
/// represent them.
fn forbid_undescribed_fields(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(forbid_undescribed_fields);
            if fields.get("properties").is_some_and(Value::is_object)
                && fields.get("type").is_some_and(|kind| *kind == "object")
            {
                fields
                    .entry("additionalProperties")
                    .or_insert(Value::Bool(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(forbid_undescribed_fields),
        _ => {}
    }
}

impl fmt::Display for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl Operation<'_> {
    /// Returns the address of the service.
    pub(super) fn address(&self) -> &str {
        &self.document.address
    }

    /// Returns the HTTP method.
    pub(super) fn method(&self) -> Method {
        self.method.clone()
    }

    /// Returns whether the operation requires authentication.
    pub(super) fn requires_authentication(&self) -> bool {
        !self.spec["security"].is_null()
            || self
                .parameters("header")
                .any(|header| header["name"] == "x-user-id")
    }

    /// Returns whether the operation returns JSON on success.
    pub(super) fn is_json(&self) -> bool {
        self.spec["responses"].as_object().is_some_and(|responses| {
            responses.iter().any(|(status, response)| {
                status.starts_with('2') && response["content"]["application/json"].is_object()
            })
        })
    }

    /// Returns the described statuses.
    pub(super) fn statuses(&self) -> impl Iterator<Item = u16> {
        let responses = self.spec["responses"].as_object().into_iter().flatten();
        responses.map(|(status, _)| status.parse().unwrap())
    }

    /// Returns whether an answer with this status and content type is described.
    pub(super) fn describes(&self, status: u16, kind: Option<&str>) -> bool {
        let response = &self.spec["responses"][status.to_string()];
        match response["content"].as_object() {
            Some(kinds) => kind.is_some_and(|kind| kinds.contains_key(kind)),
            None => response.is_object(),
        }
    }

    /// Returns the differences between a body and its schema.
    pub(super) fn validation_errors(&self, status: u16, body: &Value) -> Vec<String> {
        let response = &self.spec["responses"][status.to_string()];
        let schema = &response["content"]["application/json"]["schema"];
        let validator = self.document.validator(&format!("{self} {status}"), schema);
        validator
            .iter_errors(body)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect()
    }

    /// Returns the path, filled with known ids or with random ones.
    pub(super) fn path(&self, values: &mut ValueGenerator, known: &KnownIds) -> String {
        let segments: Vec<&str> = self.path.split('/').collect();
        let filled: Vec<String> = segments
            .iter()
            .enumerate()
            .map(|(at, segment)| {
                let name = segment
                    .strip_prefix('{')
                    .and_then(|rest| rest.strip_suffix('}'));
                let Some(name) = name else {
                    return (*segment).to_owned();
                };
                // In `/shipments/{id}`, the id is a shipment id.
                let field = if name == "id" {
                    format!("{}Id", segments[at - 1].trim_end_matches('s'))
                } else {
                    name.to_owned()
                };
                let text = values.id(known, &field);
                url::form_urlencoded::byte_serialize(text.as_bytes())
                    .collect::<String>()
                    .replace('+', "%20")
            })
            .collect();
        filled.join("/")
    }

    /// Returns some of the query parameters, with valid or corrupted values.
    pub(super) fn query(
        &self,
        values: &mut ValueGenerator,
        known: &KnownIds,
    ) -> Vec<(String, String)> {
        self.parameters("query")
            .filter_map(|parameter| {
                let name = parameter["name"].as_str().unwrap_or_default();
                let is_included = parameter["required"] == true || values.one_in(3);
                let mut value = values.valid(self.document, &parameter["schema"], name, known);
                if values.one_in(4) {
                    values.corrupt(&mut value);
                }
                is_included.then(|| (name.to_owned(), query_text(&value)))
            })
            .collect()
    }

    /// Returns the headers except the one for authentication.
    pub(super) fn headers(&self, values: &mut ValueGenerator) -> Vec<(String, String)> {
        self.parameters("header")
            .filter_map(|parameter| {
                let name = parameter["name"].as_str().unwrap_or_default();
                let is_omitted = name == "x-user-id" || values.one_in(4);
                (!is_omitted).then(|| (name.to_owned(), values.header_value()))
            })
            .collect()
    }

    /// Returns a valid or a corrupted body, or `None` if the operation takes no body.
    pub(super) fn body(&self, values: &mut ValueGenerator, known: &KnownIds) -> Option<String> {
        let schema = &self.spec["requestBody"]["content"]["application/json"]["schema"];
        if !schema.is_object() {
            return None;
        }
        let mut body = values.valid(self.document, schema, "", known);
        if values.one_in(3) {
            values.corrupt(&mut body);
        }
        Some(body.to_string())
    }

    fn parameters(&self, place: &'static str) -> impl Iterator<Item = &Value> {
        let parameters = self.spec["parameters"].as_array().into_iter().flatten();
        parameters.filter(move |parameter| parameter["in"] == place)
    }
}

/// Returns a value in the form of a query parameter.
fn query_text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
