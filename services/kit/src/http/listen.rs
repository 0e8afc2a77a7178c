//! Accepts connections, and limits their number, sizes and times.

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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use tracing::{debug, info};

use super::connection_limit::{ConnectionLimiter, ConnectionSlot, RequestGuard};

/// Maximum number of open connections.
const MAX_CONNECTIONS: usize = 512;

/// Maximum time to receive the head of a request, from the end of the request before it.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(20);

/// Maximum size of the head of a request, in bytes.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// Maximum time for which a client may not acknowledge data that was sent to it.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum time for running requests to end after a stop signal.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// Delay after a failed `accept`, which means that the process is out of a resource.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Serves until the service stops, and waits for running requests.
///
/// # Errors
/// Returns [`std::io::Error`] if the address is not available.
pub(crate) async fn serve(
    router: Router,
    address: SocketAddr,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    info!(
        server.address = %address.ip(),
        server.port = address.port(),
        "listening for requests"
    );
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
    limiter: ConnectionLimiter,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match limiter.acquire() {
                Some(slot) => {
                    configure_socket(&stream);
                    connections.spawn(serve_connection(stream, router.clone(), slot, stop.clone()));
                }
                None => debug!(
                    network.peer.address = %peer.ip(),
                    network.peer.port = peer.port(),
                    "connection closed: all other connections are busy"
                ),
            },
            Err(error) => {
                debug!(error.message = %error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
    drop(listener);
    connections.close();
    // Streams do not end by themselves.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, connections.wait()).await;
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    router: Router,
    slot: Arc<ConnectionSlot>,
    stop: CancellationToken,
) {
    let service = service_fn(|request: Request<Incoming>| {
        let request_guard = slot.begin_request();
        let response = router.clone().oneshot(request.map(Body::new));
        async move {
            let response = response.await?;
            Ok::<Response<TrackedBody>, Infallible>(response.map(|body| TrackedBody {
                body,
                _request_guard: request_guard,
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
    let mut is_shutting_down = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    debug!(error.message = %error, "connection failed");
                }
                return;
            }
            () = stop.cancelled(), if !is_shutting_down => {
                is_shutting_down = true;
                connection.as_mut().graceful_shutdown();
            }
            () = slot.evicted() => return,
        }
    }
}

fn configure_socket(stream: &TcpStream) {
    // Responses and events are small, and a client waits for each.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(error.message = %error, "could not set TCP_NODELAY");
    }
    let timeout = u32::try_from(TCP_USER_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(stream, timeout) {
        debug!(error.message = %error, "could not set TCP_USER_TIMEOUT");
    }
}

/// A response body that keeps its connection busy until it is sent.
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::sync::Notify;

    use super::*;

    /// Starts a server with this number of connections. Returns its address, its stop token, and
    /// a notification of requests to the route that never responds.
    async fn server(capacity: usize) -> (SocketAddr, CancellationToken, Arc<Notify>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let slow_request = Arc::new(Notify::new());
        let notify = Arc::clone(&slow_request);
        let slow = move || {
            notify.notify_one();
            std::future::pending::<&str>()
        };
        let router = Router::new()
            .route("/quick", get(|| async { "quick" }))
            .route("/slow", get(slow));
        let stop = CancellationToken::new();
        tokio::spawn(accept_connections(
            listener,
            router,
            ConnectionLimiter::new(capacity),
            stop.clone(),
        ));
        (address, stop, slow_request)
    }

    /// Serves a connection in memory. Returns the client's end of it.
    fn memory_connection() -> DuplexStream {
        let (client, stream) = tokio::io::duplex(1024);
        let router = Router::new().route("/quick", get(|| async { "quick" }));
        let slot = ConnectionLimiter::new(1).acquire().unwrap();
        tokio::spawn(serve_connection(
            stream,
            router,
            slot,
            CancellationToken::new(),
        ));
        client
    }

    /// Sends a text and returns everything that is received until the connection ends.
    async fn send(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), text: &str) -> String {
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut received = Vec::new();
        let _ = stream.read_to_end(&mut received).await;
        String::from_utf8(received).unwrap()
    }

    const QUICK: &str = "GET /quick HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn idle_connections_do_not_keep_others_out() {
        let (address, _stop, _) = server(2).await;
        let mut idle = Vec::new();
        for _ in 0..20 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /quick HTTP/1.1\r\n").await.unwrap();
            idle.push(stream);
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        let response = send(&mut stream, QUICK).await;
        assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
        assert!(response.ends_with("quick"), "{response}");
        // The first ones were evicted.
        let mut received = Vec::new();
        assert!(matches!(
            idle[0].read_to_end(&mut received).await,
            Ok(0) | Err(_)
        ));
    }

    #[tokio::test]
    async fn busy_connection_is_not_closed_for_a_new_one() {
        let (address, _stop, slow_request) = server(1).await;
        let mut busy = TcpStream::connect(address).await.unwrap();
        busy.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        slow_request.notified().await;
        let mut other = TcpStream::connect(address).await.unwrap();
        assert_eq!(send(&mut other, "").await, "");
        let mut byte = [0];
        let open = tokio::time::timeout(Duration::from_millis(50), busy.read(&mut byte)).await;
        assert!(open.is_err(), "{open:?}");
    }

    #[tokio::test]
    async fn too_large_head_is_rejected() {
        let (address, _stop, _) = server(4).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let text = format!(
            "GET /{} HTTP/1.1\r\nhost: x\r\n\r\n",
            "a".repeat(MAX_HEADER_BYTES)
        );
        let response = send(&mut stream, &text).await;
        let rejections = ["HTTP/1.1 431", "HTTP/1.1 414"];
        assert!(
            rejections.iter().any(|start| response.starts_with(start)),
            "{response:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn connection_is_closed_unless_a_head_arrives_within_the_timeout() {
        let second = Duration::from_secs(1);
        let mut in_time = memory_connection();
        in_time.write_all(b"GET /quick HTTP/1.1\r\n").await.unwrap();
        tokio::time::sleep(HEADER_READ_TIMEOUT - second).await;
        let response = send(&mut in_time, "host: x\r\nconnection: close\r\n\r\n").await;
        assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");

        let mut late = memory_connection();
        late.write_all(b"GET /quick HTTP/1.1\r\n").await.unwrap();
        // A further part of the head does not restart the timeout.
        tokio::time::sleep(HEADER_READ_TIMEOUT - second).await;
        let closing = send(&mut late, "host: x\r\n");
        let received = tokio::time::timeout(2 * second, closing).await;
        assert_eq!(received, Ok(String::new()));
    }

    #[tokio::test]
    async fn idle_connection_is_closed_when_the_service_stops() {
        let (address, stop, _) = server(4).await;
        let mut idle = TcpStream::connect(address).await.unwrap();
        stop.cancel();
        assert_eq!(send(&mut idle, "").await, "");
    }
}
