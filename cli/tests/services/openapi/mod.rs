//! Tests of the services against their OpenAPI documents.
//!
//! A client that knows only these documents calls every operation with valid and with corrupted
//! requests. The document must describe each answer: its status, its content type and its body. The
//! client continues until it has received every described status at least once.
//!
//! ```text
//! document   an OpenAPI document: its operations, and what their answers must be
//! value      generates values for a schema, and corrupts them
//! ```

mod document;
mod value;

use std::collections::BTreeSet;

use dm_gateway_client::{BrowserSession, StackEndpoints, describe_failure};
use libtest_mimic::Failed;
use reqwest::header::{CONTENT_TYPE, COOKIE};
use reqwest::{Client, RequestBuilder, StatusCode};

use self::document::{Document, Operation};
use self::value::{KnownIds, ValueGenerator};
use super::stack::{self, block_on};

/// The minimum number of calls of each operation.
const MIN_ROUNDS: usize = 20;
/// The maximum number of calls while a status is missing.
const MAX_ROUNDS: usize = 400;
/// A fixed seed, so that a failure can be reproduced.
const SEED: u64 = 501;

/// The authentication of a call.
enum Authentication {
    /// The user id in a header, as the gateway sends it.
    UserHeader,
    /// A session of the gateway.
    Session(String),
    /// No authentication.
    Anonymous,
}

/// Calls each service behind the gateway directly.
pub(crate) fn services_answer_as_their_openapi_documents_describe() -> Result<(), Failed> {
    block_on(async {
        let client = stack::client();
        let mut run = ContractRun::new(&client);
        for service in stack::SERVICES {
            let address = stack::address(service);
            run.documents
                .push(Document::fetch(&client, service, address).await?);
        }
        run.call_until_covered(|_| vec![Authentication::UserHeader])
            .await
    })
}

/// Calls the gateway as users with and without permissions, and without authentication.
pub(crate) fn gateway_answers_as_its_openapi_document_describes() -> Result<(), Failed> {
    block_on(async {
        let (gateway, keycloak) = (stack::address("gateway"), stack::address("keycloak"));
        let site = StackEndpoints {
            gateway_url: gateway.to_owned(),
            keycloak_url: keycloak.to_owned(),
            realm: "dundermifflin".into(),
            password: "password".into(),
            service_urls: Vec::new(),
            gateway_secret: String::new(),
        };
        let mut cookies = Vec::new();
        for user in ["mscott", "dphilbin", "amartin"] {
            let failed = |fault| Failed::from(describe_failure(&fault));
            let person = BrowserSession::sign_in(&site, user).await.map_err(failed)?;
            cookies.push(person.session_cookie().map_err(failed)?);
        }
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let mut run = ContractRun::new(&client);
        run.documents
            .push(Document::fetch(&client, "gateway", gateway).await?);
        // Signing in and out is called without a session, so that no session is ended.
        run.call_until_covered(|operation| {
            if !operation.requires_authentication() {
                return vec![Authentication::Anonymous];
            }
            cookies
                .iter()
                .cloned()
                .map(Authentication::Session)
                .collect()
        })
        .await
    })
}

/// Calls operations until all described statuses were received.
struct ContractRun<'c> {
    client: &'c Client,
    documents: Vec<Document>,
    values: ValueGenerator,
    known: KnownIds,
    /// The received statuses, as operation and status.
    received: BTreeSet<(String, u16)>,
}

impl<'c> ContractRun<'c> {
    fn new(client: &'c Client) -> Self {
        Self {
            client,
            documents: Vec::new(),
            values: ValueGenerator::new(SEED),
            known: KnownIds::default(),
            received: BTreeSet::new(),
        }
    }

    async fn call_until_covered(
        &mut self,
        authentications: impl Fn(&Operation) -> Vec<Authentication>,
    ) -> Result<(), Failed> {
        let documents = std::mem::take(&mut self.documents);
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
                // Internal errors cannot be provoked, and a body that is too large may close the
                // connection before the answer is read.
                if status >= 500 || status == StatusCode::PAYLOAD_TOO_LARGE.as_u16() {
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
        let kind = answer
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .map(|kind| kind.split(';').next().unwrap_or_default().to_owned());
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
