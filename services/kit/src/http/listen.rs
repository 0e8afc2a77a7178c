//! Connections, each with its limits.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use http::Request;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use tracing::{debug, info};

use super::connection_limit::{ConnectionLimiter, ConnectionSlot, RequestGuard};

/// How many connections there may be at once.
const MAX_CONNECTIONS: usize = 512;

/// How long a request's head may take, from the end of the request before it.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(20);

/// The largest head of a request, in bytes.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// How long a client may leave unread what was sent to it.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long requests may take to end after the service was asked to.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// How long to wait where a connection can't be had: the process is out of something.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Serves until it is asked to stop, and lets requests end.
///
/// # Errors
/// Where the address can't be had.
pub(crate) async fn serve(
    router: Router,
    address: SocketAddr,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    info!(%address, "listening");
    accept_connections(
        listener,
        router,
        ConnectionLimiter::new(MAX_CONNECTIONS),
        stop,
    )
    .await;
    Ok(())
}

async fn accept_connections(
    listener: TcpListener,
    router: Router,
    seats: ConnectionLimiter,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => match seats.acquire() {
                Some(seat) => {
                    connections.spawn(serve_connection(stream, router.clone(), seat, stop.clone()));
                }
                None => debug!("a connection is refused: there are too many"),
            },
            Err(cause) => {
                debug!(%cause, "no connection");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
    drop(listener);
    connections.close();
    // Streams have no end of their own.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, connections.wait()).await;
}

async fn serve_connection(
    stream: TcpStream,
    router: Router,
    seat: Arc<ConnectionSlot>,
    stop: CancellationToken,
) {
    configure_socket(&stream);
    let service = service_fn(|request: Request<Incoming>| {
        let busy = seat.begin_request();
        let answer = router.clone().oneshot(request.map(Body::new));
        async move {
            let answer = answer.await?;
            Ok::<Response<TrackedBody>, Infallible>(answer.map(|body| TrackedBody {
                body,
                _request_guard: busy,
            }))
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_READ_TIMEOUT)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut asked = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(cause) = ended {
                    debug!(%cause, "a connection broke");
                }
                return;
            }
            () = stop.cancelled(), if !asked => {
                asked = true;
                connection.as_mut().graceful_shutdown();
            }
            () = seat.evicted() => return,
        }
    }
}

fn configure_socket(stream: &TcpStream) {
    // Answers and events are small, and somebody waits for each.
    if let Err(cause) = stream.set_nodelay(true) {
        debug!(%cause, "a connection stays with Nagle's algorithm");
    }
    let unread = u32::try_from(TCP_USER_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    if let Err(cause) = rustix::net::sockopt::set_tcp_user_timeout(stream, unread) {
        debug!(%cause, "a connection may stay unread");
    }
}

/// A body that keeps its connection busy until it is sent.
struct TrackedBody {
    body: Body,
    _request_guard: RequestGuard,
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Notify;

    use super::*;

    /// A server with so many seats: where it is, what stops it, and what tells of a
    /// request that is never answered.
    async fn server(seats: usize) -> (SocketAddr, CancellationToken, Arc<Notify>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Notify::new());
        let told = Arc::clone(&asked);
        let slow = move || {
            told.notify_one();
            std::future::pending::<&str>()
        };
        let router = Router::new()
            .route("/quick", get(|| async { "quick" }))
            .route("/slow", get(slow));
        let stop = CancellationToken::new();
        tokio::spawn(accept_connections(
            listener,
            router,
            ConnectionLimiter::new(seats),
            stop.clone(),
        ));
        (address, stop, asked)
    }

    /// All that a connection is answered to what it sends, until it ends.
    async fn ask(stream: &mut TcpStream, text: &str) -> String {
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    const QUICK: &str = "GET /quick HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn who_says_nothing_keeps_nobody_out() {
        let (address, _stop, _) = server(2).await;
        let mut silent = Vec::new();
        for _ in 0..20 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /quick HTTP/1.1\r\n").await.unwrap();
            silent.push(stream);
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        let answer = ask(&mut stream, QUICK).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.ends_with("quick"), "{answer}");
        // The first ones are gone.
        let mut rest = Vec::new();
        assert!(matches!(
            silent[0].read_to_end(&mut rest).await,
            Ok(0) | Err(_)
        ));
    }

    #[tokio::test]
    async fn who_is_served_is_not_pushed_out() {
        let (address, _stop, asked) = server(1).await;
        let mut busy = TcpStream::connect(address).await.unwrap();
        busy.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        asked.notified().await;
        let mut other = TcpStream::connect(address).await.unwrap();
        assert_eq!(ask(&mut other, "").await, "");
        let mut byte = [0];
        let open = tokio::time::timeout(Duration::from_millis(50), busy.read(&mut byte)).await;
        assert!(open.is_err(), "{open:?}");
    }

    #[tokio::test]
    async fn a_head_that_is_too_large_is_refused() {
        let (address, _stop, _) = server(4).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let text = format!(
            "GET /{} HTTP/1.1\r\nhost: x\r\n\r\n",
            "a".repeat(MAX_HEADER_BYTES)
        );
        let answer = ask(&mut stream, &text).await;
        let refused = ["HTTP/1.1 431", "HTTP/1.1 414"];
        assert!(
            refused.iter().any(|start| answer.starts_with(start)),
            "{answer:?}"
        );
    }

    #[tokio::test]
    async fn idle_connections_end_with_the_service() {
        let (address, stop, _) = server(4).await;
        let mut idle = TcpStream::connect(address).await.unwrap();
        stop.cancel();
        assert_eq!(ask(&mut idle, "").await, "");
    }
}
