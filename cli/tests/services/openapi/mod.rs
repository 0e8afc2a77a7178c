//! What the services say of themselves, against what they do.
//!
//! A client that knows their descriptions and nothing else calls every operation, with
//! requests that fit and with requests that are spoilt. Each answer must be one that is
//! described: its status, its kind, and all that is in it. It goes on until every status
//! that is described was answered at least once.
//!
//! ```text
//! document   a description: its operations, and what their answers must be
//! value      what fits a schema, and how to spoil it
//! ```

mod document;
mod value;

use std::collections::BTreeSet;

use dm_gateway_client::{Person, Site, describe};
use libtest_mimic::Failed;
use reqwest::header::{CONTENT_TYPE, COOKIE};
use reqwest::{Client, RequestBuilder, StatusCode};

use self::document::{Document, Operation};
use self::value::{Known, Values};
use super::stack::{self, block_on};

/// How often each operation is called at least.
const ROUNDS: usize = 20;
/// How often it is called while a status was not answered yet.
const MOST_ROUNDS: usize = 400;
/// So that a failure can be had again.
const SEED: u64 = 501;

/// Who calls.
enum Caller {
    /// By a header, as the gateway says it.
    Named,
    /// By a session with the gateway.
    Session(String),
    /// Nobody.
    Nobody,
}

/// The services behind the gateway, each by itself.
pub(crate) fn services() -> Result<(), Failed> {
    block_on(async {
        let client = stack::client();
        let mut run = Run::new(&client);
        for service in stack::SERVICES {
            let address = stack::address(service);
            run.documents
                .push(Document::fetch(&client, service, address).await?);
        }
        run.until_all_was_seen(|_| vec![Caller::Named]).await
    })
}

/// The gateway, for somebody who may do everything, somebody who may not, and a stranger.
pub(crate) fn gateway() -> Result<(), Failed> {
    block_on(async {
        let (gateway, keycloak) = (stack::address("gateway"), stack::address("keycloak"));
        let site = Site {
            gateway: gateway.to_owned(),
            keycloak: keycloak.to_owned(),
            realm: "dundermifflin".into(),
            password: "password".into(),
            services: Vec::new(),
            gateway_secret: String::new(),
        };
        let mut cookies = Vec::new();
        for user in ["mscott", "dphilbin", "amartin"] {
            let told = |fault| Failed::from(describe(&fault));
            let person = Person::sign_in(&site, user).await.map_err(told)?;
            cookies.push(person.cookie().map_err(told)?);
        }
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let mut run = Run::new(&client);
        run.documents
            .push(Document::fetch(&client, "gateway", gateway).await?);
        // A stranger signs in and out: nobody's session is to end by that.
        run.until_all_was_seen(|operation| {
            if !operation.wants_somebody() {
                return vec![Caller::Nobody];
            }
            cookies.iter().cloned().map(Caller::Session).collect()
        })
        .await
    })
}

/// Calls until there is nothing left to be seen.
struct Run<'c> {
    client: &'c Client,
    documents: Vec<Document>,
    values: Values,
    known: Known,
    /// Operation and status.
    seen: BTreeSet<(String, u16)>,
}

impl<'c> Run<'c> {
    fn new(client: &'c Client) -> Self {
        Self {
            client,
            documents: Vec::new(),
            values: Values::new(SEED),
            known: Known::default(),
            seen: BTreeSet::new(),
        }
    }

    async fn until_all_was_seen(
        &mut self,
        callers: impl Fn(&Operation) -> Vec<Caller>,
    ) -> Result<(), Failed> {
        let documents = std::mem::take(&mut self.documents);
        let operations: Vec<_> = documents.iter().flat_map(Document::operations).collect();
        assert!(!operations.is_empty());
        let mut missing = Vec::new();
        for round in 0..MOST_ROUNDS {
            for operation in &operations {
                let callers = callers(operation);
                let caller = &callers[self.values.below(callers.len())];
                self.call(operation, caller).await?;
            }
            missing = self.missing(&operations);
            if round + 1 >= ROUNDS && missing.is_empty() {
                return Ok(());
            }
        }
        Err(format!("described and never answered:\n{}", missing.join("\n")).into())
    }

    /// What is described and was not seen.
    fn missing(&self, operations: &[Operation]) -> Vec<String> {
        let mut missing = Vec::new();
        for operation in operations.iter().filter(|operation| operation.is_json()) {
            for status in operation.statuses() {
                // A fault, and what hangs up before it is read: neither can be asked for.
                if status >= 500 || status == StatusCode::PAYLOAD_TOO_LARGE.as_u16() {
                    continue;
                }
                if !self.seen.contains(&(operation.to_string(), status)) {
                    missing.push(format!("{operation} {status}"));
                }
            }
        }
        missing
    }

    async fn call(&mut self, operation: &Operation<'_>, caller: &Caller) -> Result<(), Failed> {
        let nobody = self.values.one_in(8);
        let path = operation.path(&mut self.values, &self.known);
        let url = format!("{}{path}", operation.address());
        let mut request = self.client.request(operation.method(), url);
        request = request.query(&operation.query(&mut self.values, &self.known));
        if matches!(caller, Caller::Named) {
            request = request.header("x-gateway-secret", stack::gateway_secret());
        }
        if !nobody {
            request = match caller {
                Caller::Named => request.header("x-user-id", "jhalpert"),
                Caller::Session(cookie) => request.header(COOKIE, cookie),
                Caller::Nobody => request,
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
        if nobody && operation.wants_somebody() {
            assert_eq!(status, 401, "{what}: nobody was let in");
        }
        self.seen.insert((operation.to_string(), status));
        Ok(())
    }

    /// Sends a request and compares the answer with the description. Answers its status.
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
            let faults = operation.faults(status, &body);
            if !faults.is_empty() {
                let faults = faults.join("\n");
                return Err(format!("{what}: {status} {body}\n{faults}").into());
            }
            self.known.learn(&body);
        }
        Ok(status)
    }
}
