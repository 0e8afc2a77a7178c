//! The API reference: the OpenAPI document of the gateway as a page, which is rendered once, when
//! the gateway starts. It has no scripts, and no resources of other origins: the stack also runs
//! without a network.

mod fields;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use dm_kit::http::OpenApiRouter;
use http::{HeaderValue, header};
use serde_json::Value;
use utoipa::openapi::OpenApi;

use self::fields::Field;
use super::openapi::ROLES;
use crate::Gateway;
use crate::html::escape;

/// The path of the page.
const PATH: &str = "/api";

/// The page has an inline style and nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

const STYLE: &str = ":root{color-scheme:light dark;--text:#1c1c1c;--soft:#595959;--back:#fff;--line:#d0d0d0;\
--code:#f3f3f3;--link:#0550ae;--focus:#b35900}\
@media(prefers-color-scheme:dark){:root{--text:#ececec;--soft:#b4b4b4;--back:#161616;--line:#444;\
--code:#262626;--link:#79b8ff;--focus:#ffb454}}\
*{box-sizing:border-box}\
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:64rem;padding:1rem;\
color:var(--text);background:var(--back)}\
a{color:var(--link)}a:focus-visible,summary:focus-visible,[tabindex]:focus-visible{\
outline:3px solid var(--focus);outline-offset:2px}\
.skip{position:absolute;left:-99rem}.skip:focus{position:static}\
code{font:.9em ui-monospace,monospace;background:var(--code);padding:.1em .3em;border-radius:.2em;\
overflow-wrap:anywhere}\
nav ul{list-style:none;padding:0}nav li{margin:.2rem 0}\
article{border-top:1px solid var(--line);padding:.5rem 0 1rem}\
h2{margin-top:2.5rem}h3{margin:.8rem 0 .3rem;font-size:1.05rem}h4{margin:.9rem 0 .2rem}\
p{margin:.3rem 0}.soft{color:var(--soft)}\
.table{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.92rem}\
th,td{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;\
border-bottom:1px solid var(--line)}summary{cursor:pointer;margin:.4rem 0}";

/// The errors that are the same for every operation, and therefore not in the tables of responses.
const COMMON_ERRORS: &str = "<h2 id=\"errors\">Errors of every operation</h2>\
<p>An error of the API has a JSON body with <code>error.code</code>, <code>error.message</code> and \
<code>error.traceId</code>; some services add <code>error.details</code> with the fields at fault. \
Beside the responses of each operation:</p>\
<div class=\"table\" tabindex=\"0\" role=\"region\" aria-label=\"Errors of every operation\"><table>\
<thead><tr><th scope=\"col\">Status</th><th scope=\"col\">When</th></tr></thead><tbody>\
<tr><td>400</td><td>The body is not JSON, not an object, or has a field of another type.</td></tr>\
<tr><td>403</td><td>A script of a page of a foreign origin has sent the request.</td></tr>\
<tr><td>408</td><td>The body did not arrive within 20 s.</td></tr>\
<tr><td>413</td><td>The body is too large.</td></tr>\
<tr><td>421</td><td>The host name is not one of the gateway.</td></tr>\
<tr><td>500</td><td>A service is not reachable, or failed.</td></tr></tbody></table></div>";

/// Returns the route of the page of a document.
pub(super) fn routes(api: &OpenApi) -> OpenApiRouter<Arc<Gateway>> {
    let document = serde_json::to_value(api).unwrap_or_default();
    let page = Bytes::from(render(&document));
    OpenApiRouter::new().route(PATH, get(move || async move { respond(page) }))
}

fn respond(page: Bytes) -> Response {
    let mut response = Html(page).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(CONTENT_SECURITY_POLICY),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An operation of the document.
struct Operation<'a> {
    api: &'a Value,
    method: String,
    path: &'a str,
    spec: &'a Value,
}

/// Returns the operations of a document by tag.
fn operations_by_tag(api: &Value) -> BTreeMap<&str, Vec<Operation<'_>>> {
    let mut tags: BTreeMap<&str, Vec<Operation<'_>>> = BTreeMap::new();
    for (path, verbs) in api["paths"].as_object().into_iter().flatten() {
        for (verb, spec) in verbs.as_object().into_iter().flatten() {
            let tag = spec["tags"][0].as_str().unwrap_or("other");
            tags.entry(tag).or_default().push(Operation {
                api,
                method: verb.to_uppercase(),
                path,
                spec,
            });
        }
    }
    tags
}

fn render(api: &Value) -> String {
    let tags = operations_by_tag(api);
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>API reference</title><style>{STYLE}</style></head><body>\
         <a class=\"skip\" href=\"#operations\">Skip to the operations</a>\
         <header><h1>API reference</h1>\
         <p>The interface of the Dunder Mifflin gateway, from its OpenAPI document \
         <a href=\"/v3/api-docs\"><code>/v3/api-docs</code></a>. A request authenticates with the \
         cookie of a session, or with <code>Authorization: Bearer TOKEN</code>, where \
         <code>dm token USER</code> prints a token. Both open the same routes.</p></header>"
    );
    page.push_str("<nav aria-label=\"Operations\"><h2>Contents</h2>");
    for (tag, operations) in &tags {
        // Writing to a string can't fail.
        let _ = write!(page, "<h3>{}</h3><ul>", escape(tag));
        for operation in operations {
            let _ = write!(
                page,
                "<li><a href=\"#{}\"><code>{} {}</code></a> {}</li>",
                operation.anchor(),
                operation.method,
                escape(operation.path),
                escape(operation.summary())
            );
        }
        page.push_str("</ul>");
    }
    page.push_str("<p><a href=\"#errors\">Errors of every operation</a></p></nav>");
    page.push_str("<main id=\"operations\">");
    for (tag, operations) in &tags {
        let _ = write!(page, "<section><h2>{}</h2>", escape(tag));
        for operation in operations {
            operation.render(&mut page);
        }
        page.push_str("</section>");
    }
    page.push_str(COMMON_ERRORS);
    page.push_str("</main></body></html>");
    page
}

impl Operation<'_> {
    fn summary(&self) -> &str {
        let summary = self.spec["summary"].as_str().unwrap_or_default();
        summary.trim_end_matches('.')
    }

    /// Returns the id of the operation on the page.
    fn anchor(&self) -> String {
        let words = self
            .path
            .split(|character: char| !character.is_ascii_alphanumeric());
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        format!("{}-{}", self.method.to_lowercase(), words.join("-"))
    }

    fn render(&self, page: &mut String) {
        let _ = write!(
            page,
            "<article id=\"{}\"><h3><code>{} {}</code></h3><p>{}</p>",
            self.anchor(),
            self.method,
            escape(self.path),
            escape(self.summary())
        );
        if let Some(description) = self.spec["description"].as_str() {
            let _ = write!(page, "<p>{}</p>", escape(description));
        }
        let _ = write!(page, "<p class=\"soft\">Access: {}</p>", self.access());
        self.render_parameters(page);
        self.render_request_body(page);
        self.render_responses(page);
        page.push_str("</article>");
    }

    /// Returns who may call the operation, as markup.
    fn access(&self) -> String {
        let roles = self.spec[ROLES].as_array();
        let roles: Vec<_> = roles
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(|role| format!("<code>{}</code>", escape(role)))
            .collect();
        if !roles.is_empty() {
            format!("a user with the role {}", roles.join(" or "))
        } else if self.spec["security"].is_array() {
            "every signed-in user".to_owned()
        } else {
            "everyone".to_owned()
        }
    }

    fn render_parameters(&self, page: &mut String) {
        let parameters: Vec<_> = self.spec["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|parameter| {
                let name = parameter["name"].as_str().unwrap_or_default();
                let is_required = parameter["required"] == true;
                let mut field = fields::field(self.api, name, is_required, &parameter["schema"]);
                if let Some(description) = parameter["description"].as_str() {
                    field.description = description.to_owned();
                }
                let location = parameter["in"].as_str().unwrap_or_default();
                field.rules.insert(0, format!("in the {location}"));
                field
            })
            .collect();
        if !parameters.is_empty() {
            page.push_str("<h4>Parameters</h4>");
            self.render_fields(page, "Parameters", &parameters);
        }
    }

    fn render_request_body(&self, page: &mut String) {
        let contents = self.spec["requestBody"]["content"].as_object();
        for (kind, content) in contents.into_iter().flatten() {
            let _ = write!(page, "<h4>Body, <code>{}</code></h4>", escape(kind));
            let fields = fields::fields_of(self.api, &content["schema"]);
            if !fields.is_empty() {
                self.render_fields(page, "Body", &fields);
            }
        }
    }

    fn render_responses(&self, page: &mut String) {
        let label = escape(&format!("Responses of {} {}", self.method, self.path));
        let _ = write!(
            page,
            "<h4>Responses</h4><div class=\"table\" tabindex=\"0\" role=\"region\" \
             aria-label=\"{label}\"><table><thead><tr><th scope=\"col\">Status</th>\
             <th scope=\"col\">Meaning</th><th scope=\"col\">Content type</th></tr></thead><tbody>"
        );
        let responses = || self.spec["responses"].as_object().into_iter().flatten();
        for (status, response) in responses() {
            let kinds: Vec<_> = response["content"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(kind, _)| format!("<code>{}</code>", escape(kind)))
                .collect();
            let description = response["description"].as_str().unwrap_or_default();
            let _ = write!(
                page,
                "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(status),
                escape(description),
                kinds.join(", ")
            );
        }
        page.push_str("</tbody></table></div>");
        for (status, response) in responses().filter(|(status, _)| status.starts_with('2')) {
            let schema = &response["content"]["application/json"]["schema"];
            let fields = fields::fields_of(self.api, schema);
            if !fields.is_empty() {
                let _ = write!(
                    page,
                    "<details><summary>Fields of the response {}</summary>",
                    escape(status)
                );
                self.render_fields(page, "Fields of the response", &fields);
                page.push_str("</details>");
            }
        }
    }

    /// Renders a table of fields. `label` describes it for screen readers.
    fn render_fields(&self, page: &mut String, label: &str, fields: &[Field]) {
        let label = escape(&format!("{label} of {} {}", self.method, self.path));
        let _ = write!(
            page,
            "<div class=\"table\" tabindex=\"0\" role=\"region\" aria-label=\"{label}\"><table>\
             <thead><tr><th scope=\"col\">Name</th><th scope=\"col\">Type</th>\
             <th scope=\"col\">Required</th><th scope=\"col\">Rules</th>\
             <th scope=\"col\">Description</th></tr></thead><tbody>"
        );
        for field in fields {
            let _ = write!(
                page,
                "<tr><th scope=\"row\"><code>{}</code></th><td>{}</td><td>{}</td><td>{}</td>\
                 <td>{}</td></tr>",
                escape(&field.name),
                escape(&field.kind),
                if field.is_required { "yes" } else { "no" },
                escape(&field.rules.join("; ")),
                escape(&field.description)
            );
        }
        page.push_str("</tbody></table></div>");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        json!({
            "paths": {
                "/api/v1/orders/{orderId}": {
                    "get": {
                        "tags": ["order"],
                        "summary": "Returns an order",
                        "security": [{"session": []}],
                        "x-roles": ["sales-associate", "manager"],
                        "parameters": [{
                            "name": "orderId", "in": "path", "required": true,
                            "schema": {"type": "string", "maxLength": 64},
                        }],
                        "responses": {
                            "200": {
                                "description": "The <order>.",
                                "content": {"application/json": {"schema": {
                                    "type": "object", "properties": {"status": {"type": "string"}},
                                }}},
                            },
                            "404": {"description": "No record has this id."},
                        },
                    },
                    "post": {
                        "tags": ["order"],
                        "security": [{"session": []}],
                        "requestBody": {"content": {"application/json": {"schema": {
                            "type": "object", "required": ["notes"],
                            "properties": {"notes": {"type": "string", "maxLength": 4000}},
                        }}}},
                        "responses": {},
                    },
                },
                "/logout": {"get": {"tags": ["session"], "responses": {"302": {"description": ""}}}},
            },
        })
    }

    #[test]
    fn page_lists_access_parameters_bodies_and_responses() {
        let page = render(&document());
        for part in [
            "<code>GET /api/v1/orders/{orderId}</code>",
            "a user with the role <code>sales-associate</code> or <code>manager</code>",
            "every signed-in user",
            "everyone",
            "in the path; at most 64 characters",
            "at most 4000 characters",
            "<td>404</td><td>No record has this id.</td>",
            "The &lt;order&gt;.",
            "Fields of the response 200",
            "id=\"get-api-v1-orders-orderId\"",
            "href=\"#get-api-v1-orders-orderId\"",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }

    #[test]
    fn page_loads_nothing_and_is_structured() {
        let page = render(&document());
        for part in ["<script", "src=", "url(", "http:", "https:", "@import"] {
            assert!(!page.contains(part), "{part}");
        }
        for part in [
            "<html lang=\"en\">",
            "<main",
            "<nav aria-label=",
            "prefers-color-scheme:dark",
            "name=\"viewport\"",
            "class=\"skip\"",
        ] {
            assert!(page.contains(part), "{part}");
        }
        for tag in ["article", "section", "table", "details", "ul", "div", "tr"] {
            let opened = page.matches(&format!("<{tag}>")).count()
                + page.matches(&format!("<{tag} ")).count();
            let closed = page.matches(&format!("</{tag}>")).count();
            assert_eq!(opened, closed, "{tag}");
        }
    }
}
