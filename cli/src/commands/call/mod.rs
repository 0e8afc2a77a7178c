//! `dm call`.

mod error;
mod pages;
mod render;

use clap::{Args, ValueEnum};
use dm_components::keycloak;
use dm_components::keycloak::sign_in::sign_in;
use dm_components::service::{GATEWAY, base_url};
use dm_core::error::{ExitStatus, Result};
use dm_gateway_client::{ApiClient, ApiPath, ApiRequest, ApiResponse, RequestFailure};
use dm_operations::session::existing_ports;
use tokio::io::AsyncReadExt as _;

use self::error::{CallError, Refusal};
use crate::context::Context;

/// The value of --data that stands for standard input.
const STDIN: &str = "-";

/// Call a route of the gateway as a user.
///
/// Signs the user in, sends the request with an access token, and prints the body of the response
/// to stdout. All routes are on the page /api of the gateway.
///
/// Exit code 1 if the gateway refuses the request, 4 if it fails.
#[derive(Debug, Clone, Args)]
#[command(
    allow_missing_positional = true,
    after_long_help = "Examples:
  dm call /orders --all
  dm call /orders --user jhalpert --data @order.json
  dm call POST /orders/ord_9001/cancel --include"
)]
pub(crate) struct Arguments {
    /// Method [default: POST with --data, otherwise GET].
    #[arg(value_enum, ignore_case = true, value_name = "METHOD")]
    method: Option<CallMethod>,
    /// Path of the route with its query, with or without `/api/v1`.
    #[arg(value_name = "PATH")]
    path: String,
    /// User who calls; the default may call every route.
    #[arg(long, visible_alias = "as", default_value = "mscott")]
    user: String,
    /// Password of the user.
    #[arg(
        long,
        env = "DM_TOKEN_PASSWORD",
        default_value = "password",
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    password: String,
    /// Body: JSON, `@FILE` to read a file, or `-` to read standard input.
    #[arg(
        long,
        short,
        value_name = "JSON",
        allow_hyphen_values = true,
        conflicts_with = "all"
    )]
    data: Option<String>,
    /// Header of the request, e.g. `Idempotency-Key: k1`; may be repeated.
    #[arg(
        long,
        short = 'H',
        value_name = "NAME: VALUE",
        allow_hyphen_values = true
    )]
    header: Vec<String>,
    /// Read the whole list page by page, and print its items as one JSON array.
    #[arg(long)]
    all: bool,
    /// Print the status and the headers of the response to stderr.
    #[arg(long, short)]
    include: bool,
}

/// The methods of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
enum CallMethod {
    Get,
    Post,
    Put,
    Delete,
}

impl CallMethod {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

impl Arguments {
    /// Returns the path and the request. Reads the body.
    async fn to_request(&self) -> Result<(ApiPath, ApiRequest), CallError> {
        let invalid = |what: &'static str| move |reason| CallError::Invalid { what, reason };
        let path = ApiPath::parse(&self.path).map_err(invalid("path"))?;
        let method = match (self.method, &self.data) {
            (Some(method), _) => method,
            (None, Some(_)) => CallMethod::Post,
            (None, None) => CallMethod::Get,
        };
        if self.all && method != CallMethod::Get {
            let reason = "--all reads a list, and needs GET".to_owned();
            return Err(invalid("method")(reason));
        }
        let mut request = ApiRequest::new(method.as_str()).map_err(invalid("method"))?;
        for line in &self.header {
            request.add_header(line).map_err(invalid("header"))?;
        }
        if let Some(data) = &self.data {
            request.set_body(read_data(data).await?);
        }
        Ok((path, request))
    }
}

/// Reads the body that a value of --data stands for.
async fn read_data(data: &str) -> Result<Vec<u8>, CallError> {
    if data == STDIN {
        let mut body = Vec::new();
        return match tokio::io::stdin().read_to_end(&mut body).await {
            Ok(_) => Ok(body),
            Err(source) => Err(CallError::Data {
                file: "standard input".to_owned(),
                source,
            }),
        };
    }
    match data.strip_prefix('@') {
        Some(file) => tokio::fs::read(file)
            .await
            .map_err(|source| CallError::Data {
                file: file.to_owned(),
                source,
            }),
        None => Ok(data.as_bytes().to_vec()),
    }
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<ExitStatus> {
    let (path, request) = arguments.to_request().await?;
    let project = context.session.project()?;
    let engine = context.session.engine(project.config()).await?;
    let ports = existing_ports(&project, &engine).await?;
    let tokens = sign_in(
        &keycloak::base_url(&ports),
        project.config().keycloak.realm.as_str(),
        &arguments.user,
        &arguments.password,
    )
    .await?;
    let gateway_url = base_url(GATEWAY, &ports);
    let client = ApiClient::new(&gateway_url, &tokens.access_token)
        .map_err(|failure| CallError::no_response(&request, &path, failure))?;
    let call = Call {
        context,
        client,
        request,
        gateway_url,
        include: arguments.include,
    };
    if arguments.all {
        pages::print_list(&call, &path).await
    } else {
        call.print(&path).await
    }
}

/// A prepared call.
struct Call<'a> {
    context: &'a Context,
    client: ApiClient,
    request: ApiRequest,
    gateway_url: String,
    /// Whether the status and the headers are printed.
    include: bool,
}

impl Call<'_> {
    /// Sends the request to a path.
    async fn send(&self, path: &ApiPath) -> Result<ApiResponse, CallError> {
        let response = self
            .client
            .send(&self.request, path)
            .await
            .map_err(|failure| CallError::no_response(&self.request, path, failure))?;
        if self.include {
            let head = render::head(&response);
            self.context.printer.write_stderr(&head);
        }
        Ok(response)
    }

    /// Sends the request and prints the response.
    async fn print(&self, path: &ApiPath) -> Result<ExitStatus> {
        let response = self.send(path).await?;
        if response.is_success() && !self.context.printer.is_json() {
            self.print_body(path, response).await?;
            return Ok(ExitStatus::Success);
        }
        self.print_whole(path, response).await
    }

    /// Prints a body as it arrives: a list can be long, and a stream need not end.
    async fn print_body(&self, path: &ApiPath, mut response: ApiResponse) -> Result<()> {
        let printer = &self.context.printer;
        let is_text = response.is_text();
        let mut last = None;
        while let Some(chunk) = self.read(path, response.next_chunk().await)? {
            printer.write_stdout_bytes(&chunk)?;
            last = chunk.last().copied().or(last);
        }
        if is_text && last.is_some_and(|last| last != b'\n') {
            printer.write_stdout_bytes(b"\n")?;
        }
        Ok(())
    }

    /// Prints a whole response: one that is a document with --json, or a refusal, whose body is
    /// part of the error as well.
    async fn print_whole(&self, path: &ApiPath, mut response: ApiResponse) -> Result<ExitStatus> {
        let printer = &self.context.printer;
        let body = self.read(path, response.read_body().await)?;
        let text = String::from_utf8_lossy(&body);
        let refusal = (!response.is_success()).then(|| self.refusal(path, &response, &text));
        if printer.is_json() {
            let document = render::document(&self.request, path, &response, &text);
            printer.print_document(&dm_core::document::CALL, &document)?;
            return Ok(refusal.map_or(ExitStatus::Success, |refusal| {
                printer.warn(&refusal.to_string());
                refusal.exit_status()
            }));
        }
        printer.write_stdout(&text)?;
        match refusal {
            Some(refusal) => Err(CallError::Refused(Box::new(refusal)).into()),
            None => Ok(ExitStatus::Success),
        }
    }

    fn refusal(&self, path: &ApiPath, response: &ApiResponse, body: &str) -> Refusal {
        Refusal::new(
            format!("{} {}", self.request.method(), path.as_str()),
            response,
            body,
            &self.gateway_url,
        )
    }

    /// Returns a part of the body, or the error of a connection that ended before the body.
    fn read<T>(&self, path: &ApiPath, part: Result<T, RequestFailure>) -> Result<T, CallError> {
        part.map_err(|failure| CallError::no_response(&self.request, path, failure))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct CommandLine {
        #[command(flatten)]
        arguments: Arguments,
    }

    async fn request(words: &[&str]) -> Result<(String, String), CallError> {
        let words = std::iter::once("call").chain(words.iter().copied());
        let arguments = CommandLine::try_parse_from(words).unwrap().arguments;
        let (path, request) = arguments.to_request().await?;
        Ok((request.method().to_owned(), path.as_str().to_owned()))
    }

    #[tokio::test]
    async fn method_is_optional_and_depends_on_the_data() {
        for (words, method) in [
            (&["/orders"][..], "GET"),
            (&["get", "/orders"], "GET"),
            (&["/orders", "--all"], "GET"),
            (&["--user", "jhalpert", "/orders"], "GET"),
            (&["/orders", "--data", "{}"], "POST"),
            (&["PUT", "orders", "-d", "{}"], "PUT"),
            (&["DELETE", "/orders", "-H", "X-A: b"], "DELETE"),
        ] {
            let (found, path) = request(words).await.unwrap();
            assert_eq!(found, method, "{words:?}");
            assert_eq!(path, "/api/v1/orders", "{words:?}");
        }
    }

    #[tokio::test]
    async fn invalid_call_is_refused_before_the_stack_is_needed() {
        for words in [
            &["http://localhost:8081/api/v1/orders"][..],
            &["/orders", "--header", "no header"],
            &["POST", "/orders", "--all"],
            &["/orders", "--data", "@/no/such/file"],
        ] {
            assert!(request(words).await.is_err(), "{words:?}");
        }
    }

    #[tokio::test]
    async fn data_is_a_text_or_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{\"a\": 1}").unwrap();
        let path = format!("@{}", file.path().display());
        assert_eq!(read_data(&path).await.unwrap(), b"{\"a\": 1}");
        assert_eq!(read_data("{}").await.unwrap(), b"{}");
    }
}
