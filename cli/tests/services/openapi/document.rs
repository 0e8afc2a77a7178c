//! A description, and what it says of an operation.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use jsonschema::Validator;
use libtest_mimic::Failed;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::value::{Known, Values};

/// A service's description.
pub(super) struct Document {
    address: String,
    api: Value,
    /// The same with objects that have no other fields than those that are described.
    strict: Value,
    validators: RefCell<HashMap<String, Rc<Validator>>>,
}

/// One operation of it.
pub(super) struct Operation<'d> {
    document: &'d Document,
    path: &'d str,
    method: Method,
    spec: &'d Value,
}

impl Document {
    /// Asks a service for it.
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
            "{service}: its schemas are JSON schemas from 3.1 on"
        );
        let mut strict = api.clone();
        close(&mut strict["components"]);
        Ok(Self {
            address: address.to_owned(),
            api,
            strict,
            validators: RefCell::default(),
        })
    }

    /// Its operations, in its order.
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

    /// What a reference leads to, or the schema itself.
    pub(super) fn resolve<'v>(&'v self, schema: &'v Value) -> &'v Value {
        match schema["$ref"].as_str() {
            Some(reference) => {
                let found = self.api.pointer(reference.trim_start_matches('#'));
                self.resolve(found.unwrap_or_else(|| panic!("{reference} leads nowhere")))
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

/// Lets no object have fields that are not described: a client that is made of a
/// description has no place for them.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(close);
            if fields.get("properties").is_some_and(Value::is_object)
                && fields.get("type").is_some_and(|kind| *kind == "object")
            {
                fields
                    .entry("additionalProperties")
                    .or_insert(Value::Bool(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

impl fmt::Display for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl Operation<'_> {
    /// Where it is.
    pub(super) fn address(&self) -> &str {
        &self.document.address
    }

    /// By which verb.
    pub(super) fn method(&self) -> Method {
        self.method.clone()
    }

    /// Whether it is described as one for somebody who is known.
    pub(super) fn wants_somebody(&self) -> bool {
        !self.spec["security"].is_null()
            || self
                .parameters("header")
                .any(|header| header["name"] == "x-user-id")
    }

    /// Whether it answers JSON where all is well.
    pub(super) fn is_json(&self) -> bool {
        self.spec["responses"].as_object().is_some_and(|responses| {
            responses.iter().any(|(status, response)| {
                status.starts_with('2') && response["content"]["application/json"].is_object()
            })
        })
    }

    /// The statuses that are described.
    pub(super) fn statuses(&self) -> impl Iterator<Item = u16> {
        let responses = self.spec["responses"].as_object().into_iter().flatten();
        responses.map(|(status, _)| status.parse().unwrap())
    }

    /// Whether such an answer is described.
    pub(super) fn describes(&self, status: u16, kind: Option<&str>) -> bool {
        let response = &self.spec["responses"][status.to_string()];
        match response["content"].as_object() {
            Some(kinds) => kind.is_some_and(|kind| kinds.contains_key(kind)),
            None => response.is_object(),
        }
    }

    /// In what a body differs from the description.
    pub(super) fn faults(&self, status: u16, body: &Value) -> Vec<String> {
        let response = &self.spec["responses"][status.to_string()];
        let schema = &response["content"]["application/json"]["schema"];
        let validator = self.document.validator(&format!("{self} {status}"), schema);
        validator
            .iter_errors(body)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect()
    }

    /// The path with ids that are known, or with one that nobody knows.
    pub(super) fn path(&self, values: &mut Values, known: &Known) -> String {
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
                // `/shipments/{id}` is a shipment's.
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

    /// Some of the parameters of the query, that fit or are spoilt.
    pub(super) fn query(&self, values: &mut Values, known: &Known) -> Vec<(String, String)> {
        self.parameters("query")
            .filter_map(|parameter| {
                let name = parameter["name"].as_str().unwrap_or_default();
                let wanted = parameter["required"] == true || values.one_in(3);
                let mut value = values.fitting(self.document, &parameter["schema"], name, known);
                if values.one_in(4) {
                    values.spoil(&mut value);
                }
                wanted.then(|| (name.to_owned(), plain(&value)))
            })
            .collect()
    }

    /// Its headers, beside the one that says who calls.
    pub(super) fn headers(&self, values: &mut Values) -> Vec<(String, String)> {
        self.parameters("header")
            .filter_map(|parameter| {
                let name = parameter["name"].as_str().unwrap_or_default();
                let left_out = name == "x-user-id" || values.one_in(4);
                (!left_out).then(|| (name.to_owned(), values.word()))
            })
            .collect()
    }

    /// A body that fits, or one that is spoilt. `None` where it takes none.
    pub(super) fn body(&self, values: &mut Values, known: &Known) -> Option<String> {
        let schema = &self.spec["requestBody"]["content"]["application/json"]["schema"];
        if !schema.is_object() {
            return None;
        }
        let mut body = values.fitting(self.document, schema, "", known);
        if values.one_in(3) {
            values.spoil(&mut body);
        }
        Some(body.to_string())
    }

    fn parameters(&self, place: &'static str) -> impl Iterator<Item = &Value> {
        let parameters = self.spec["parameters"].as_array().into_iter().flatten();
        parameters.filter(move |parameter| parameter["in"] == place)
    }
}

/// A value as it stands in a query.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
