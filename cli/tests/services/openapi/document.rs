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
    /// The same document, in which objects have no other fields than the described ones. Responses
    /// have no others; of requests, others are ignored.
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

/// The schema of OpenAPI 3.1 documents, which the OpenAPI Initiative publishes under the Apache
/// License 2.0.
const SPECIFICATION: &str = include_str!("openapi-3.1.schema.json");

impl Document {
    /// Fetches the document of a service, which must follow the specification of OpenAPI.
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
        let specification: Value = serde_json::from_str(SPECIFICATION)?;
        let validator = jsonschema::validator_for(&specification)?;
        let violations: Vec<_> = validator
            .iter_errors(&api)
            .map(|error| format!("{service}{}: {error}", error.instance_path()))
            .collect();
        if !violations.is_empty() {
            return Err(violations.join("\n").into());
        }
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

    /// Returns the address of the service.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Returns the alternatives of a schema except `null`, or the schema itself if it has none.
    pub(super) fn alternatives<'v>(&'v self, schema: &'v Value) -> Vec<&'v Value> {
        let schema = self.resolve(schema);
        let alternatives = ["oneOf", "anyOf"]
            .iter()
            .find_map(|keyword| schema[*keyword].as_array());
        let Some(alternatives) = alternatives else {
            return vec![schema];
        };
        alternatives
            .iter()
            .filter(|alternative| alternative["type"] != "null")
            .flat_map(|alternative| self.alternatives(alternative))
            .collect()
    }

    /// Returns the constraint of a schema of a request that a value violates.
    pub(super) fn violation(&self, schema: &Value, value: &Value) -> Option<String> {
        let name = format!("request {schema}");
        let validator = self.validator(&name, schema, &self.api["components"]);
        let error = validator.iter_errors(value).next();
        error.map(|error| error.schema_path().to_string())
    }

    fn validator(&self, name: &str, schema: &Value, components: &Value) -> Rc<Validator> {
        let mut validators = self.validators.borrow_mut();
        let make = || {
            let whole = json!({"allOf": [schema], "components": components});
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
        self.document.address()
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

    /// Returns whether requests at the edges can be derived from the description: the operation is
    /// part of the API, and takes and returns no stream and no image.
    pub(super) fn is_probed(&self) -> bool {
        let is_api = ["/api/v1/", "/internal/"]
            .iter()
            .any(|prefix| self.path.starts_with(prefix));
        let responses = self.spec["responses"].as_object().into_iter().flatten();
        let is_stream = |response: &Value| response["content"]["text/event-stream"].is_object();
        let streams = responses.filter(|(_, response)| is_stream(response));
        let has_other_body = self.spec["requestBody"].is_object() && self.body_schema().is_none();
        is_api && streams.count() == 0 && !has_other_body
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
        let name = format!("{self} {status}");
        let components = &self.document.strict["components"];
        let validator = self.document.validator(&name, schema, components);
        validator
            .iter_errors(body)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect()
    }

    /// Returns the document.
    pub(super) fn document(&self) -> &Document {
        self.document
    }

    /// Returns the path with its parameters in braces.
    pub(super) fn path_template(&self) -> &str {
        self.path
    }

    /// Returns the description of the operation.
    pub(super) fn spec(&self) -> &Value {
        self.spec
    }

    /// Returns the schema of a JSON body, if the operation takes one.
    pub(super) fn body_schema(&self) -> Option<&Value> {
        let schema = &self.spec["requestBody"]["content"]["application/json"]["schema"];
        schema.is_object().then_some(schema)
    }

    /// Returns the path, filled with known ids or with random ones.
    pub(super) fn path(&self, values: &mut ValueGenerator, known: &KnownIds) -> String {
        self.fill_path(|name, field| {
            self.path_word(name, values, known)
                .unwrap_or_else(|| values.id(known, field))
        })
    }

    /// Returns the path, filled with a text for the name of each parameter and the name of the field
    /// that contains such ids.
    pub(super) fn fill_path(&self, mut text_of: impl FnMut(&str, &str) -> String) -> String {
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
                let text = text_of(name, &field);
                url::form_urlencoded::byte_serialize(text.as_bytes())
                    .collect::<String>()
                    .replace('+', "%20")
            })
            .collect();
        filled.join("/")
    }

    /// Returns one of the words that a parameter of the path can be, or `None` if it can be any
    /// text, and now and then.
    fn path_word(
        &self,
        name: &str,
        values: &mut ValueGenerator,
        known: &KnownIds,
    ) -> Option<String> {
        let parameter = self
            .parameters("path")
            .find(|parameter| parameter["name"] == name)?;
        let schema = self.document.resolve(&parameter["schema"]);
        if !schema["enum"].is_array() || values.one_in(8) {
            return None;
        }
        let word = values.valid(self.document, schema, name, known);
        word.as_str().map(str::to_owned)
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
        let schema = self.body_schema()?;
        let mut body = values.valid(self.document, schema, "", known);
        if values.one_in(3) {
            values.corrupt(&mut body);
        }
        Some(body.to_string())
    }

    /// Returns the parameters in a place: `path`, `query` or `header`.
    pub(super) fn parameters(&self, place: &'static str) -> impl Iterator<Item = &Value> {
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
