//! A client of the gateway for scripts: any method and path, and the response as it is.

use std::time::Duration;

use dm_components::http_client;
use dm_contracts::headers;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Url};

use super::list::PAGE_LIMIT;
use super::request::root_cause;
use super::{RequestFailure, new_trace_id};

/// The beginning of the paths of the API.
const API_PREFIX: &str = "/api/v1";

/// The maximum time without data. A stream sends a comment every 15 s.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A path of the API with its query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiPath(String);

impl ApiPath {
    /// Parses a path with or without `/api/v1`, e.g. `/orders?clientId=client_7001`.
    ///
    /// # Errors
    /// Returns the reason if the text is not a path of the API.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            return Err("expected a path such as /orders, not an address".to_owned());
        }
        let path = text.trim_start_matches('/');
        if path.is_empty() || text.contains('#') {
            return Err("expected a path such as /orders".to_owned());
        }
        let is_complete = path
            .strip_prefix(&API_PREFIX[1..])
            .is_some_and(|rest| rest.starts_with('/'));
        Ok(Self(if is_complete {
            format!("/{path}")
        } else {
            format!("{API_PREFIX}/{path}")
        }))
    }

    /// Returns the path and the query.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path of a page of a list. `cursor` is that of the page before. The query keeps
    /// its filters, limit and order. The defaults are the maximum limit and the order `newest`.
    #[must_use]
    pub fn page(&self, cursor: Option<&str>) -> Self {
        // The query is parsed with any base address.
        let Ok(mut url) = Url::parse(&format!("http://localhost{}", self.0)) else {
            return self.clone();
        };
        let given: Vec<(String, String)> = url
            .query_pairs()
            .into_owned()
            .filter(|(name, _)| name != "cursor" || cursor.is_none())
            .collect();
        let defaults = [("limit", PAGE_LIMIT), ("order", "newest")];
        url.query_pairs_mut()
            .clear()
            .extend_pairs(&given)
            .extend_pairs(
                defaults
                    .iter()
                    .filter(|(name, _)| given.iter().all(|(other, _)| other != name)),
            )
            .extend_pairs(cursor.map(|cursor| ("cursor", cursor)));
        let query = url.query().unwrap_or_default();
        Self(format!("{}?{query}", url.path()))
    }
}

/// A request of a script.
#[derive(Debug, Clone)]
pub struct ApiRequest {
    method: Method,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<Vec<u8>>,
}

impl ApiRequest {
    /// Creates a request without a body.
    ///
    /// # Errors
    /// Returns the reason if the method is not valid.
    pub fn new(method: &str) -> Result<Self, String> {
        let method = method.parse::<Method>();
        Ok(Self {
            method: method.map_err(|error| error.to_string())?,
            headers: Vec::new(),
            body: None,
        })
    }

    /// Adds a header, e.g. `Idempotency-Key: k1`.
    ///
    /// # Errors
    /// Returns the reason if the line is not a header.
    pub fn add_header(&mut self, line: &str) -> Result<(), String> {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| "expected `NAME: VALUE`".to_owned())?;
        let name: HeaderName = name
            .trim()
            .parse()
            .map_err(|_| format!("`{name}` is not the name of a header"))?;
        let value = HeaderValue::from_str(value.trim())
            .map_err(|_| format!("the value of `{name}` has a character that is not allowed"))?;
        self.headers.push((name, value));
        Ok(())
    }

    /// Sets the body. Its content type is JSON unless a header sets another one.
    pub fn set_body(&mut self, body: Vec<u8>) {
        self.body = Some(body);
    }

    /// Returns the method.
    #[must_use]
    pub fn method(&self) -> &str {
        self.method.as_str()
    }
}

/// A client with the access token of a user.
#[derive(Debug)]
pub struct ApiClient {
    client: Client,
    gateway_url: String,
    authorization: HeaderValue,
}

impl ApiClient {
    /// Creates a client of the gateway at this base URL.
    ///
    /// # Errors
    /// Returns [`RequestFailure`] if the token is not a header value, or the HTTP client cannot be
    /// created.
    pub fn new(gateway_url: &str, access_token: &str) -> Result<Self, RequestFailure> {
        let mut authorization = HeaderValue::from_str(&format!("Bearer {access_token}"))
            .map_err(|error| RequestFailure::new(error.to_string()))?;
        authorization.set_sensitive(true);
        let client = http_client()
            .redirect(Policy::none())
            .read_timeout(READ_TIMEOUT)
            .build()
            .map_err(|error| RequestFailure::new(error.to_string()))?;
        Ok(Self {
            client,
            gateway_url: gateway_url.to_owned(),
            authorization,
        })
    }

    /// Sends a request. Any status is a response.
    ///
    /// # Errors
    /// Returns [`RequestFailure`] if the gateway does not respond.
    pub async fn send(
        &self,
        request: &ApiRequest,
        path: &ApiPath,
    ) -> Result<ApiResponse, RequestFailure> {
        let trace_id = new_trace_id();
        let mut builder = self
            .client
            .request(
                request.method.clone(),
                format!("{}{}", self.gateway_url, path.as_str()),
            )
            .header(headers::TRACE_ID, &trace_id)
            .header(AUTHORIZATION, self.authorization.clone());
        if let Some(body) = &request.body {
            let is_typed = request.headers.iter().any(|(name, _)| name == CONTENT_TYPE);
            if !is_typed {
                builder = builder.header(CONTENT_TYPE, "application/json");
            }
            builder = builder.body(body.clone());
        }
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let request_line = format!("{} {}", request.method, path.as_str());
        match builder.send().await {
            Ok(response) => Ok(ApiResponse {
                response,
                request_line,
                trace_id,
            }),
            Err(error) => Err(no_response(&error, &request_line, &trace_id)),
        }
    }
}

/// A response, whose body is read in parts.
#[derive(Debug)]
pub struct ApiResponse {
    response: reqwest::Response,
    request_line: String,
    trace_id: String,
}

impl ApiResponse {
    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// Returns whether the status is a success.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.response.status().is_success()
    }

    /// Returns the status with its reason, e.g. `200 OK`.
    #[must_use]
    pub fn status_line(&self) -> String {
        self.response.status().to_string()
    }

    /// Returns the trace id of the request.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        &self.trace_id
    }

    /// Returns the headers as text.
    pub fn headers(&self) -> impl Iterator<Item = (&str, String)> {
        self.response.headers().iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str(), value)
        })
    }

    /// Returns whether the body is text, which a terminal can show.
    #[must_use]
    pub fn is_text(&self) -> bool {
        let kind = self.response.headers().get(CONTENT_TYPE);
        kind.and_then(|kind| kind.to_str().ok()).is_none_or(|kind| {
            kind.starts_with("text/") || kind.contains("json") || kind.contains("xml")
        })
    }

    /// Returns the next part of the body, or `None` at its end.
    ///
    /// # Errors
    /// Returns [`RequestFailure`] if the connection ends before the body.
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, RequestFailure> {
        match self.response.chunk().await {
            Ok(chunk) => Ok(chunk.map(Vec::from)),
            Err(error) => Err(no_response(&error, &self.request_line, &self.trace_id)),
        }
    }

    /// Returns the whole body.
    ///
    /// # Errors
    /// Returns [`RequestFailure`] if the connection ends before the body.
    pub async fn read_body(&mut self) -> Result<Vec<u8>, RequestFailure> {
        let mut body = Vec::new();
        while let Some(chunk) = self.next_chunk().await? {
            body.extend(chunk);
        }
        Ok(body)
    }
}

fn no_response(error: &reqwest::Error, request_line: &str, trace_id: &str) -> RequestFailure {
    RequestFailure {
        request: Some(request_line.to_owned()),
        trace_id: Some(trace_id.to_owned()),
        ..RequestFailure::new(root_cause(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        ApiPath::parse(text).unwrap().0
    }

    #[test]
    fn path_may_omit_the_prefix_of_the_api() {
        for text in ["/orders", "orders", "//orders", "/api/v1/orders"] {
            assert_eq!(parsed(text), "/api/v1/orders");
        }
        assert_eq!(parsed("/orders?a=b"), "/api/v1/orders?a=b");
        assert_eq!(parsed("/api/v1x"), "/api/v1/api/v1x");
        for text in ["", "/", "http://localhost:8081/orders", "/orders#x"] {
            assert!(ApiPath::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn page_keeps_filters_and_replaces_the_cursor() {
        let page = |text: &str, cursor| ApiPath::parse(text).unwrap().page(cursor).0;
        assert_eq!(
            page("/orders", None),
            "/api/v1/orders?limit=1000&order=newest"
        );
        assert_eq!(
            page("/orders?clientId=a%20b&limit=5", Some("x/y")),
            "/api/v1/orders?clientId=a+b&limit=5&order=newest&cursor=x%2Fy"
        );
        assert_eq!(
            page("/orders?cursor=old&order=oldest", Some("new")),
            "/api/v1/orders?order=oldest&limit=1000&cursor=new"
        );
        assert_eq!(
            page("/orders?cursor=begin", None),
            "/api/v1/orders?cursor=begin&limit=1000&order=newest"
        );
    }

    #[test]
    fn header_line_needs_a_name_and_a_value() {
        let mut request = ApiRequest::new("POST").unwrap();
        assert!(request.add_header("Idempotency-Key:  k1 ").is_ok());
        let (name, value) = &request.headers[0];
        assert_eq!(
            (name.as_str(), value.as_bytes()),
            ("idempotency-key", &b"k1"[..])
        );
        for line in ["", "k1", "bad name: x", "x: a\nb"] {
            assert!(request.add_header(line).is_err(), "{line:?}");
        }
        assert!(ApiRequest::new("NOT A METHOD").is_err());
    }
}
