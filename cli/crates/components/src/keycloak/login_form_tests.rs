//! Tests of the login form with a server that sends scripted responses.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// The request with the login form.
const FORM_REQUEST: &str = "POST /submit username=jim&password=secret&credentialId=";
/// The request for the login page after a redirect to it.
const PAGE_REQUEST: &str =
    "GET /realms/r/login-actions/authenticate?client_id=c&tab_id=t&client_data=d";
/// The redirect to the login page.
const RESTART: Response = Response::Redirect(
    "SERVER/realms/r/login-actions/authenticate?client_id=c&tab_id=t&client_data=d",
);
/// The address of the signed-in user.
const CALLBACK: &str = "http://localhost:3004/auth/callback?state=s&code=c";

/// A response of the server.
#[derive(Clone, Copy)]
enum Response {
    /// The login page without a message.
    LoginPage,
    /// The login page with this message.
    Message(&'static str),
    /// An error without a page.
    Error,
    /// A redirect to this address, in which `SERVER` is the address of the server.
    Redirect(&'static str),
}

impl Response {
    fn to_http(self, server: &str) -> String {
        let (head, body) = match self {
            Self::LoginPage => ("200 OK".to_owned(), login_page(server)),
            Self::Message(text) => {
                let message = format!(r#"<span class="kc-feedback-text">{text}</span>"#);
                ("200 OK".to_owned(), message + &login_page(server))
            }
            Self::Error => (
                "500 Internal Server Error".to_owned(),
                r#"{"error":"unknown_error"}"#.to_owned(),
            ),
            Self::Redirect(location) => {
                let location = location.replace("SERVER", server);
                (format!("302 Found\r\nLocation: {location}"), String::new())
            }
        };
        let length = body.len();
        format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
    }
}

fn login_page(server: &str) -> String {
    format!(r#"<form id="kc-form-login" action="{server}/submit"></form>"#)
}

/// Returns the length of the body of a request with this head.
fn content_length(head: &str) -> usize {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, length)| length.parse().unwrap())
}

/// Returns the method, the address and the body of the next request.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() >= content_length(head)
        {
            let (request, _) = head.split_once(" HTTP/1.1").unwrap();
            return format!("{request} {body}").trim_end().to_owned();
        }
    }
}

/// Sends the login form to a server with these responses. Returns the result and the requests.
async fn submit(responses: &[Response]) -> (Result<String, SignInError>, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let client = crate::http_client().redirect(Policy::none());
    let client = client.build().unwrap();
    let page = login_page(&server);
    let mut requests = Vec::new();
    let serve = async {
        for response in responses {
            let (mut stream, _) = listener.accept().await.unwrap();
            requests.push(read_request(&mut stream).await);
            let response = response.to_http(&server);
            stream.write_all(response.as_bytes()).await.unwrap();
        }
        drop(listener.accept().await);
    };
    let result = tokio::select! {
        result = submit_login_form(&client, &page, "jim", "secret") => result,
        () = serve => panic!("a request after the last response"),
    };
    (result, requests)
}

#[tokio::test]
async fn form_is_sent_again_if_another_sign_in_imports_the_user() {
    let responses = [
        Response::Message(IMPORTED_MEANWHILE),
        Response::Redirect(CALLBACK),
    ];
    let (result, requests) = submit(&responses).await;
    assert_eq!(result.unwrap(), CALLBACK);
    assert_eq!(requests, [FORM_REQUEST; 2]);
}

#[tokio::test]
async fn form_is_sent_again_after_a_redirect_to_the_login_page() {
    let responses = [RESTART, Response::LoginPage, Response::Redirect(CALLBACK)];
    let (result, requests) = submit(&responses).await;
    assert_eq!(result.unwrap(), CALLBACK);
    assert_eq!(requests, [FORM_REQUEST, PAGE_REQUEST, FORM_REQUEST]);
}

#[tokio::test]
async fn form_is_sent_again_after_an_error_of_keycloak() {
    let responses = [Response::Error, Response::Redirect(CALLBACK)];
    let (result, requests) = submit(&responses).await;
    assert_eq!(result.unwrap(), CALLBACK);
    assert_eq!(requests, [FORM_REQUEST; 2]);
}

#[tokio::test]
async fn error_of_keycloak_after_every_attempt_is_reported_with_its_status() {
    let (result, requests) = submit(&[Response::Error; 4]).await;
    assert_eq!(
        result.unwrap_err().to_string(),
        "could not read the login page of Keycloak: \
         500 Internal Server Error: {\"error\":\"unknown_error\"}"
    );
    assert_eq!(requests, [FORM_REQUEST; 4]);
}

#[tokio::test]
async fn wrong_password_is_sent_once() {
    let responses = [Response::Message("Invalid username or password.")];
    let (result, requests) = submit(&responses).await;
    let error = result.unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not sign in `jim`: Invalid username or password."
    );
    assert_eq!(requests, [FORM_REQUEST]);
}

#[tokio::test]
async fn attempts_are_limited_if_the_user_exists_already_each_time() {
    let responses = [Response::Message(IMPORTED_MEANWHILE); 4];
    let (result, requests) = submit(&responses).await;
    let error = result.unwrap_err();
    assert!(
        matches!(&error, SignInError::Rejected { reason, .. } if reason == IMPORTED_MEANWHILE),
        "{error:?}"
    );
    assert_eq!(requests, [FORM_REQUEST; 4]);
}

#[tokio::test]
async fn login_page_after_every_attempt_is_no_rejection_of_the_password() {
    let responses = [RESTART, Response::LoginPage].repeat(4);
    let (result, requests) = submit(&responses).await;
    let error = result.unwrap_err();
    assert!(matches!(error, SignInError::Protocol { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "could not read the login page of Keycloak: Keycloak shows it again after every attempt"
    );
    assert_eq!(requests, [FORM_REQUEST, PAGE_REQUEST].repeat(4));
}

#[tokio::test]
async fn redirect_to_the_page_of_an_action_is_not_followed() {
    let responses = [Response::Redirect(
        "SERVER/realms/r/login-actions/required-action?execution=UPDATE_PASSWORD",
    )];
    let (result, requests) = submit(&responses).await;
    let error = result.unwrap_err();
    assert!(
        matches!(error, SignInError::ActionRequired { .. }),
        "{error:?}"
    );
    assert_eq!(requests, [FORM_REQUEST]);
}
