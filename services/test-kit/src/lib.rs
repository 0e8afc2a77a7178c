//! What the tests of services share: a service on a database of its own, without an HTTP server
//! and without a consumer.
//!
//! The database needs a server, so the modules of such tests are called `server_tests`.

use std::fmt::Display;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use dm_contracts::Envelope;
use dm_contracts::headers::USER_ID;
use dm_kit::http::{ApiError, CursorPaging, OpenApiRouter, TableList, fetch_list};
use dm_kit::inbox::{EventHandler, HandlerError};
use dm_kit::{Database, ServiceSchema, Trace};
use http::{Method, Request};
use serde_json::Value;
use sqlx::postgres::PgPool;
use sqlx::types::Json;
use tower::ServiceExt as _;

/// The user who sends all requests.
pub const USER: &str = "jhalpert";

/// The maximum number of pages of a list in a test.
const MAX_PAGES: usize = 100;

/// A service that gets requests and events from a test.
#[derive(Debug)]
pub struct TestService {
    /// Connections to the database of the service.
    pub pool: PgPool,
    database: Database,
    routes: Router,
}

#[expect(clippy::expect_used, reason = "helpers of tests")]
impl TestService {
    /// Returns a service with these routes and a new database with its schema.
    ///
    /// # Panics
    /// Panics if there is no engine or image, with the command that provides it.
    pub async fn start(
        schema: &ServiceSchema,
        routes: impl FnOnce(Database) -> OpenApiRouter,
    ) -> Self {
        let pool = dm_test_servers::create_database(schema.name, schema.migrations).await;
        let database = Database::from_pool(pool.clone());
        let (routes, _) = routes(database.clone()).split_for_parts();
        Self {
            pool,
            database,
            routes,
        }
    }

    /// Sends a request of [`USER`], without a body if `body` is null. Returns the body of the
    /// response, which is null if the response has none, or the code of its error.
    ///
    /// # Errors
    /// Returns the code of an [`ApiError`].
    ///
    /// # Panics
    /// Panics if no route accepts the request, if the body of the response is not JSON, and after
    /// an internal error.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Value, &'static str> {
        let request = Request::builder().method(method).uri(path);
        let mut request = request.header(USER_ID, USER);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if body.is_null() {
            Body::empty()
        } else {
            Body::from(body.to_string())
        };
        let request = request.body(body).expect("the request is not valid");
        let Ok(response) = self.routes.clone().oneshot(request).await;
        if let Some(error) = response.extensions().get::<Arc<ApiError>>() {
            assert_eq!(error.cause, None, "{path}");
            return Err(error.code);
        }
        let status = response.status();
        assert!(status.is_success(), "{path}: {status}");
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        let body = body.expect("the body could not be read");
        if body.is_empty() {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_slice(&body).expect("the body is not JSON"))
    }

    /// Sends a `GET` request, like [`TestService::send`].
    ///
    /// # Errors
    /// Returns the code of an [`ApiError`].
    pub async fn get(&self, path: &str) -> Result<Value, &'static str> {
        self.send(Method::GET, path, &[], &Value::Null).await
    }

    /// Sends a `POST` request, like [`TestService::send`].
    ///
    /// # Errors
    /// Returns the code of an [`ApiError`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, &'static str> {
        self.send(Method::POST, path, &[], body).await
    }

    /// Reads a list to its end and returns one field of its items, page by page. The list may not
    /// change once it was read, since its total is counted every two seconds only.
    ///
    /// # Panics
    /// Panics if a response is not a list, if the total of a page is not the number of items on
    /// all pages, and after 100 pages.
    pub async fn read_pages(&self, path: &str, field: &str) -> Vec<Vec<String>> {
        let (mut pages, mut totals) = (Vec::new(), Vec::new());
        let mut next = Some(path.to_owned());
        while let Some(path_of_page) = next {
            assert!(pages.len() < MAX_PAGES, "{path} does not end");
            let page = self.get(&path_of_page).await;
            let page = page.expect("the list could not be read");
            pages.push(field_texts(&page, field));
            totals.push(page["total"].as_u64());
            let cursor = page["nextCursor"].as_str();
            next = cursor.map(|cursor| with_parameter(path, "cursor", cursor));
        }
        let length: usize = pages.iter().map(Vec::len).sum();
        let expected = vec![u64::try_from(length).ok(); pages.len()];
        assert_eq!(totals, expected, "{path}: {pages:?}");
        pages
    }

    /// Asserts that a list has items with these ids in their order, on pages of any size, from one
    /// item to one more than the list has. `path` has no limit, and `field` contains the id of an
    /// item.
    ///
    /// # Panics
    /// Panics if a page has other items, and like [`TestService::read_pages`].
    pub async fn assert_pages(&self, path: &str, field: &str, ids: &[&str]) {
        for size in 1..=ids.len() + 1 {
            let path = with_parameter(path, "limit", size);
            let expected: Vec<_> = ids.chunks(size).collect();
            assert_eq!(self.read_pages(&path, field).await, expected, "{path}");
        }
    }

    /// Like [`TestService::assert_pages`], for a list whose first page has its last items.
    ///
    /// # Panics
    /// Like [`TestService::assert_pages`].
    pub async fn assert_pages_from_end(&self, path: &str, field: &str, ids: &[&str]) {
        for size in 1..=ids.len() + 1 {
            let path = with_parameter(path, "limit", size);
            let expected: Vec<_> = ids.rchunks(size).collect();
            assert_eq!(self.read_pages(&path, field).await, expected, "{path}");
        }
    }

    /// Like [`TestService::assert_pages`], for pages that are requested by their number. Empty
    /// pages follow the last one.
    ///
    /// # Panics
    /// Panics if a response is not the page with the requested number, or has other items.
    pub async fn assert_numbered_pages(&self, path: &str, field: &str, ids: &[&str]) {
        let none: &[&str] = &[];
        for size in 1..=ids.len() + 1 {
            let pages = ids.chunks(size).chain([none, none]);
            for (number, expected) in pages.enumerate() {
                let path = with_parameter(path, "page", number);
                let path = with_parameter(&path, "size", size);
                let page = self.get(&path).await.expect("the page could not be read");
                assert_eq!(field_texts(&page, field), expected, "{path}");
                assert_eq!(page["page"], number, "{path}");
                assert_eq!(page["total"], ids.len(), "{path}");
            }
        }
    }

    /// Processes an event as a consumer does, in a transaction that is rolled back after an
    /// error. It has no inbox: an event is processed as often as it is delivered.
    ///
    /// # Errors
    /// Returns the error of the handler.
    pub async fn process<H: EventHandler>(
        &self,
        handler: &H,
        event: &Envelope,
    ) -> Result<(), HandlerError> {
        let mut transaction = self.database.begin().await?;
        let trace = Trace::new_root();
        handler.handle(&mut transaction, event, &trace).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Returns the events of the outbox, in their order.
    ///
    /// # Panics
    /// Panics if the query fails.
    pub async fn outbox(&self) -> Vec<Envelope> {
        let events: Vec<Json<Envelope>> =
            sqlx::query_scalar("SELECT payload FROM outbox_events ORDER BY sequence")
                .fetch_all(&self.pool)
                .await
                .expect("the outbox could not be read");
        events.into_iter().map(|Json(event)| event).collect()
    }
}

/// Returns a path with one more parameter in its query.
fn with_parameter(path: &str, name: &str, value: impl Display) -> String {
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}{name}={value}")
}

/// Returns one field of the items of a response.
///
/// # Panics
/// Panics if the response is not a list, and if the field of an item is not a text.
#[expect(clippy::expect_used, reason = "a helper of tests")]
#[must_use]
pub fn field_texts(list: &Value, field: &str) -> Vec<String> {
    let items = list["items"].as_array();
    let items = items.expect("the response is not a list").iter();
    let texts = items.map(|item| item[field].as_str().expect("the field is not a text"));
    texts.map(str::to_owned).collect()
}

/// Returns the types of events.
#[must_use]
pub fn event_types(events: &[Envelope]) -> Vec<&str> {
    let types = events.iter().map(|event| event.event_type.as_str());
    types.collect()
}

/// Returns the items of a list without paging, at most 1,000.
///
/// # Panics
/// Panics if a query fails.
#[expect(clippy::expect_used, reason = "a helper of tests")]
pub async fn read_list<L: TableList>(pool: &PgPool, list: L) -> Vec<L::Item> {
    let database = Database::from_pool(pool.clone());
    let read = fetch_list(&database, list, &CursorPaging::default()).await;
    read.expect("the list could not be read").items
}
