//! Tests of the services against their OpenAPI documents.
//!
//! A client that knows only these documents calls every operation with valid and with corrupted
//! requests. The document must describe each answer: its status, its content type and its body. The
//! client continues until it has received every described status at least once. Then it sends
//! requests at the edges of what the document permits: all valid ones must be accepted, and all
//! others refused.
//!
//! ```text
//! document   an OpenAPI document: its operations, and what their answers must be
//! value      generates values for a schema, and corrupts them
//! edges      requests at the edges of what a document permits
//! agreement  compares the document of the gateway with those of the services
//! ```

mod agreement;
mod document;
mod edges;
mod value;

use std::cell::Cell;
use std::collections::BTreeSet;

use dm_gateway_client::{BrowserSession, describe_failure};
use libtest_mimic::Failed;
use reqwest::header::{CONTENT_TYPE, COOKIE, HeaderValue, ORIGIN};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use self::document::{Document, Operation};
use self::edges::{Expected, Probe};
use self::value::{KnownIds, ValueGenerator};
use super::flow::{place_reserved_orders, shipment_of};
use super::stack::{self, block_on};

/// The minimum number of calls of each operation.
const MIN_ROUNDS: usize = 20;
/// The maximum number of calls while a status is missing.
const MAX_ROUNDS: usize = 400;
/// A fixed seed, so that a failure can be reproduced.
const SEED: u64 = 501;
/// The maximum number of probes of each operation.
const MAX_PROBES: usize = 600;
/// The maximum number of failed probes that are reported.
const MAX_REPORTED: usize = 20;
/// The product of the orders whose shipments are scanned and dispatched.
const SKU: &str = "PPR-A4-WHT-500";

/// The authentication of a call.
enum Authentication {
    /// The user id in a header, as the gateway sends it.
    UserHeader,
    /// A session of the gateway.
    Session(String),
    /// No authentication.
    Anonymous,
}

/// Records for the operations whose answers depend on the state of a record.
struct Records {
    /// An order that can be cancelled.
    order: String,
    /// A shipment that is scanned.
    scanned: String,
    /// A shipment that is dispatched.
    dispatched: String,
}

impl Records {
    /// Places orders, and waits for their shipments.
    async fn create() -> Result<Self, Failed> {
        let mut orders = place_reserved_orders(SKU, 1, 3).await?;
        Ok(Self {
            scanned: shipment_of(&orders[0]),
            dispatched: shipment_of(&orders[1]),
            order: orders.swap_remove(2),
        })
    }

    /// Returns the id of an existing record for an operation and the name of a field.
    fn id(&self, operation: &Operation<'_>, field: &str, known: &KnownIds) -> String {
        let is_dispatch = operation.path_template().ends_with("/dispatch");
        let id: &str = match field {
            "orderId" => &self.order,
            "shipmentId" if is_dispatch => &self.dispatched,
            "shipmentId" => &self.scanned,
            _ => known.newest(field).unwrap_or("unknown"),
        };
        id.to_owned()
    }
}

/// Calls each service behind the gateway directly.
pub(crate) fn services_answer_as_their_openapi_documents_describe() -> Result<(), Failed> {
    block_on(async {
        let client = stack::client();
        let documents = fetch_documents(&client).await?;
        let mut run = ContractRun::new(&client);
        run.call_until_covered(&documents, |_| vec![Authentication::UserHeader])
            .await?;
        // After the random calls, which dispatch and cancel.
        let records = Records::create().await?;
        run.probe_edges(&documents, &Authentication::UserHeader, &records)
            .await
    })
}

/// Fetches the documents of the services behind the gateway.
async fn fetch_documents(client: &Client) -> Result<Vec<Document>, Failed> {
    let mut documents = Vec::new();
    for service in stack::SERVICES {
        let address = stack::address(service);
        documents.push(Document::fetch(client, service, address).await?);
    }
    Ok(documents)
}

/// Calls the gateway as users with and without permissions, and without authentication.
pub(crate) fn gateway_answers_as_its_openapi_document_describes() -> Result<(), Failed> {
    block_on(async {
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let endpoints = stack::endpoints();
        let mut cookies = Vec::new();
        for user in ["mscott", "dphilbin", "amartin"] {
            let failed = |failure| Failed::from(describe_failure(&failure));
            let session = BrowserSession::sign_in(&endpoints, user).await;
            let session = session.map_err(failed)?;
            cookies.push(session.session_cookie().map_err(failed)?);
        }
        let document = Document::fetch(&client, "gateway", stack::address("gateway")).await?;
        let services = fetch_documents(&client).await?;
        let differences = agreement::differences(&document, &services);
        if !differences.is_empty() {
            return Err(differences.join("\n").into());
        }
        let documents = [document];
        let mut run = ContractRun::new(&client);
        // Signing in and out is called without a session, so that no session is ended.
        run.call_until_covered(&documents, |operation| {
            if !operation.requires_authentication() {
                return vec![Authentication::Anonymous];
            }
            cookies
                .iter()
                .cloned()
                .map(Authentication::Session)
                .collect()
        })
        .await?;
        // After the random calls, which dispatch and cancel.
        let records = Records::create().await?;
        // The first user is a manager, who may do everything.
        let manager = Authentication::Session(cookies.swap_remove(0));
        run.probe_edges(&documents, &manager, &records).await
    })
}

/// Calls operations until all described statuses were received.
struct ContractRun<'c> {
    client: &'c Client,
    values: ValueGenerator,
    known: KnownIds,
    /// The received statuses, as operation and status.
    received: BTreeSet<(String, u16)>,
}

impl<'c> ContractRun<'c> {
    fn new(client: &'c Client) -> Self {
        Self {
            client,
            values: ValueGenerator::new(SEED),
            known: KnownIds::default(),
            received: BTreeSet::new(),
        }
    }

    async fn call_until_covered(
        &mut self,
        documents: &[Document],
        authentications: impl Fn(&Operation) -> Vec<Authentication>,
    ) -> Result<(), Failed> {
        let operations: Vec<_> = documents.iter().flat_map(Document::operations).collect();
        assert!(!operations.is_empty());
        let mut missing = Vec::new();
        for round in 0..MAX_ROUNDS {
            for operation in &operations {
                let authentications = authentications(operation);
                let authentication = &authentications[self.values.below(authentications.len())];
                self.call(operation, authentication).await?;
            }
            missing = self.missing(&operations);
            if round + 1 >= MIN_ROUNDS && missing.is_empty() {
                return Ok(());
            }
        }
        Err(format!("described and never received:\n{}", missing.join("\n")).into())
    }

    /// Returns the described statuses that were not received.
    fn missing(&self, operations: &[Operation]) -> Vec<String> {
        let mut missing = Vec::new();
        for operation in operations.iter().filter(|operation| operation.is_json()) {
            for status in operation.statuses() {
                // Internal errors cannot be provoked, slow bodies and foreign hosts are tested
                // elsewhere, and a body that is too large may close the connection before the
                // answer is read.
                let is_exempt = [
                    StatusCode::REQUEST_TIMEOUT,
                    StatusCode::PAYLOAD_TOO_LARGE,
                    StatusCode::MISDIRECTED_REQUEST,
                ]
                .contains(&StatusCode::from_u16(status).unwrap());
                if status >= 500 || is_exempt {
                    continue;
                }
                if !self.received.contains(&(operation.to_string(), status)) {
                    missing.push(format!("{operation} {status}"));
                }
            }
        }
        missing
    }

    async fn call(
        &mut self,
        operation: &Operation<'_>,
        authentication: &Authentication,
    ) -> Result<(), Failed> {
        let is_anonymous = self.values.one_in(8);
        let path = operation.path(&mut self.values, &self.known);
        let url = format!("{}{path}", operation.address());
        let mut request = self.client.request(operation.method(), url);
        request = request.query(&operation.query(&mut self.values, &self.known));
        if matches!(authentication, Authentication::UserHeader) {
            request = request.header("x-gateway-secret", stack::gateway_secret());
        }
        if !is_anonymous {
            request = match authentication {
                Authentication::UserHeader => request.header("x-user-id", "jhalpert"),
                Authentication::Session(cookie) => request.header(COOKIE, cookie),
                Authentication::Anonymous => request,
            };
            if matches!(authentication, Authentication::Session(_)) && self.values.one_in(16) {
                request = request.header(ORIGIN, "http://foreign.example");
            }
        }
        for (name, value) in operation.headers(&mut self.values) {
            request = request.header(name, value);
        }
        let body = operation.body(&mut self.values, &self.known);
        let what = format!(
            "{operation}: {path} {}",
            body.as_deref().unwrap_or_default()
        );
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let status = self.check(operation, &what, request).await?;
        if is_anonymous && operation.requires_authentication() {
            assert_eq!(status, 401, "{what}: an unauthenticated call was accepted");
        }
        self.received.insert((operation.to_string(), status));
        Ok(())
    }

    /// Sends requests at the edges of what the documents permit.
    async fn probe_edges(
        &mut self,
        documents: &[Document],
        authentication: &Authentication,
        records: &Records,
    ) -> Result<(), Failed> {
        let run = match authentication {
            Authentication::UserHeader => "services",
            Authentication::Session(_) | Authentication::Anonymous => "gateway",
        };
        let keys = Cell::new(0);
        let header_of = |name: &str| {
            if name.eq_ignore_ascii_case("x-user-id") {
                return "jhalpert".to_owned();
            }
            keys.set(keys.get() + 1);
            format!("edges-{run}-{}", keys.get())
        };
        let mut failures = Vec::new();
        for document in documents {
            failures.extend(
                self.probe_methods(document, authentication, records)
                    .await?,
            );
            let mut operations: Vec<_> = document
                .operations()
                .filter(|operation| operation.is_probed())
                .collect();
            // Nothing else is accepted for a shipment that is dispatched.
            operations.sort_by_key(|operation| operation.path_template().ends_with("/dispatch"));
            for operation in &operations {
                let known = &self.known;
                let id_of = |field: &str| records.id(operation, field, known);
                let probes = edges::probes(operation, id_of, header_of);
                assert!(probes.len() <= MAX_PROBES, "{operation}: {}", probes.len());
                failures.extend(self.probe(operation, authentication, &probes).await?);
            }
        }
        if failures.is_empty() {
            return Ok(());
        }
        let number = failures.len();
        failures.truncate(MAX_REPORTED);
        Err(format!("{number} failed, e.g.\n{}", failures.join("\n")).into())
    }

    /// Sends the probes of an operation, and returns the failures.
    async fn probe(
        &mut self,
        operation: &Operation<'_>,
        authentication: &Authentication,
        probes: &[Probe],
    ) -> Result<Vec<String>, Failed> {
        let mut failures = Vec::new();
        let (mut accepted, mut found) = (0, 0);
        for probe in probes {
            let send = || self.probe_request(operation, authentication, probe).send();
            let mut sent = send().await;
            if sent.is_err() && !probe.is_too_large() {
                // The connection was closed after a body that was too large.
                sent = send().await;
            }
            let answer = match sent {
                Ok(answer) => answer,
                // The connection was closed before the answer was read.
                Err(_) if probe.is_too_large() => continue,
                Err(error) => return Err(error.into()),
            };
            let status = answer.status().as_u16();
            let failure = self.probe_failure(operation, probe, answer).await?;
            if let Some(failure) = failure {
                let body = probe.body.as_deref().unwrap_or_default();
                failures.push(format!(
                    "{operation}: {failure}\n  {}: {:?}\n  {} {:?} {:?}\n  {}",
                    probe.change,
                    probe.expected,
                    probe.path,
                    probe.query,
                    probe.headers,
                    edges::shorten(body)
                ));
            }
            if probe.expected == Expected::Accepted && operation.body_schema().is_some() {
                accepted += 1;
                found += usize::from(status != 404);
            }
        }
        // Otherwise, the constraints were not reached.
        if accepted > 0 && found == 0 {
            failures.push(format!("{operation}: no record was found"));
        }
        Ok(failures)
    }

    fn probe_request(
        &self,
        operation: &Operation<'_>,
        authentication: &Authentication,
        probe: &Probe,
    ) -> RequestBuilder {
        let url = format!("{}{}", operation.address(), probe.path);
        let request = self.client.request(operation.method(), url);
        let mut request = authenticate(request, authentication).query(&probe.query);
        for (name, value) in &probe.headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            request = request.header(name, value);
        }
        match &probe.body {
            Some(body) => request
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone()),
            None => request,
        }
    }

    /// Returns how the answer to a probe differs from the expected one.
    async fn probe_failure(
        &mut self,
        operation: &Operation<'_>,
        probe: &Probe,
        answer: Response,
    ) -> Result<Option<String>, Failed> {
        let status = answer.status().as_u16();
        let kind = content_type(&answer);
        let bytes = match answer.bytes().await {
            Err(_) if probe.is_too_large() => return Ok(None),
            bytes => bytes?,
        };
        let is_json = kind.as_deref() == Some("application/json");
        let body: Value = if is_json {
            serde_json::from_slice(&bytes)?
        } else {
            Value::Null
        };
        let text = edges::shorten(&String::from_utf8_lossy(&bytes));
        if !operation.describes(status, kind.as_deref()) {
            return Ok(Some(format!("{status} {kind:?} is not described: {text}")));
        }
        if is_json {
            let errors = operation.validation_errors(status, &body);
            if !errors.is_empty() {
                return Ok(Some(format!("{status} {text}: {}", errors.join("; "))));
            }
        }
        let is_as_expected = match &probe.expected {
            // Another state of the record can forbid the request.
            Expected::Accepted => status < 400 || [404, 409].contains(&status),
            Expected::Refused(_) => (400..500).contains(&status) && is_envelope(&body),
            Expected::Described => status < 500,
        };
        if is_as_expected {
            self.known.collect(&body);
            return Ok(None);
        }
        Ok(Some(format!("{status} {text}")))
    }

    /// Calls each path with a method that the document does not have, and one path that it does not
    /// have. Returns the failures.
    async fn probe_methods(
        &self,
        document: &Document,
        authentication: &Authentication,
        records: &Records,
    ) -> Result<Vec<String>, Failed> {
        let mut failures = Vec::new();
        let operations: Vec<_> = document.operations().collect();
        let mut calls = vec![(
            Method::GET,
            format!("{}/internal/none", document.address()),
            404,
        )];
        for operation in &operations {
            let is_described = |method: &Method| {
                let mut others = operations.iter();
                others.any(|other| {
                    other.path_template() == operation.path_template() && other.method() == *method
                })
            };
            let mut methods = [Method::PATCH, Method::PUT, Method::POST].into_iter();
            let Some(method) = methods.find(|method| !is_described(method)) else {
                continue;
            };
            let path = operation.fill_path(|_, field| records.id(operation, field, &self.known));
            calls.push((method, format!("{}{path}", operation.address()), 405));
        }
        for (method, url, expected) in calls {
            let request = self.client.request(method.clone(), &url);
            let request = authenticate(request, authentication);
            // The services require a user before a path.
            let answer = request.header("x-user-id", "jhalpert").send().await?;
            let status = answer.status().as_u16();
            let text = answer.text().await?;
            let body = serde_json::from_str(&text).unwrap_or_default();
            if status != expected || !is_envelope(&body) {
                failures.push(format!("{method} {url}: {status} {text}, not {expected}"));
            }
        }
        Ok(failures)
    }

    /// Sends a request and compares the answer with the document. Returns its status.
    async fn check(
        &mut self,
        operation: &Operation<'_>,
        what: &str,
        request: RequestBuilder,
    ) -> Result<u16, Failed> {
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        assert!(status < 500, "{what}: {status} {}", answer.text().await?);
        let kind = content_type(&answer);
        if !operation.describes(status, kind.as_deref()) {
            let text = answer.text().await?;
            return Err(format!("{what}: {status} {kind:?} is not described\n{text}").into());
        }
        if kind.as_deref() == Some("application/json") {
            let body = answer.json().await?;
            let errors = operation.validation_errors(status, &body);
            if !errors.is_empty() {
                let errors = errors.join("\n");
                return Err(format!("{what}: {status} {body}\n{errors}").into());
            }
            self.known.collect(&body);
        }
        Ok(status)
    }
}

/// Adds the proof of who sends a request. The user of [`Authentication::UserHeader`] is a header of
/// its own.
fn authenticate(request: RequestBuilder, authentication: &Authentication) -> RequestBuilder {
    match authentication {
        Authentication::UserHeader => request.header("x-gateway-secret", stack::gateway_secret()),
        Authentication::Session(cookie) => request.header(COOKIE, cookie),
        Authentication::Anonymous => request,
    }
}

/// Returns the content type of an answer without its parameters.
fn content_type(answer: &Response) -> Option<String> {
    let kind = answer.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    Some(kind.split(';').next().unwrap_or_default().to_owned())
}

/// Returns whether a body is the error envelope.
fn is_envelope(body: &Value) -> bool {
    let error = &body["error"];
    ["code", "message", "traceId"]
        .iter()
        .all(|field| error[*field].is_string())
}
