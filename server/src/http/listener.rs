//! The accept loop: connections within a number, TLS within a time, a graceful end.
//!
//! Invariant: no descriptor is spent on a connection we have no place for; a connection that says
//! nothing loses its place; after `stop` no connection is accepted and those open end their request. Refuses to know routes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use super::opening::Opening;
use super::tls::Certificate;
use crate::app::App;

/// Open connections: those of requests in flight, of 1 000 streams and of idle keep-alives.
const CONNECTIONS_MAX: usize = 4_096;
/// A client that needs longer for its handshake or its request line holds a place others need.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// An HTTP/2 connection has no end of its own: that a peer is gone is found out by a ping.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A living peer answers a ping within a few round trips.
const PING_TIME: Duration = Duration::from_secs(10);
/// Time for open connections to end at the end.
const DRAIN_TIME: Duration = Duration::from_secs(10);
/// Out of descriptors: accepting again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// One line about it is enough.
const ACCEPT_LOG_EVERY: Duration = Duration::from_secs(60);

/// Accepts until `stop`, then lets the open connections end.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    app: Arc<App>,
    tls: Option<Arc<Certificate>>,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut logged: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                let connection = Connection {
                    router: router.clone(),
                    app: app.clone(),
                    tls: tls.clone(),
                    watcher: graceful.watcher(),
                    peer,
                    _place: place,
                };
                tokio::spawn(connection.serve(stream));
            }
            Err(e) => {
                if logged.is_none_or(|at| at.elapsed() > ACCEPT_LOG_EVERY) {
                    tracing::warn!(error = %e, "cannot accept connections at this moment");
                    logged = Some(Instant::now());
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // The port is free for a successor from here on.
    drop(listener);
    if tokio::time::timeout(DRAIN_TIME, graceful.shutdown()).await.is_err() {
        tracing::warn!("connections were still open after 10 s and are cut");
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
    let (stream, peer) = listener.accept().await?;
    // Small answers must not wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    Ok((stream, peer, place))
}

struct Connection {
    router: Router,
    app: Arc<App>,
    tls: Option<Arc<Certificate>>,
    watcher: Watcher,
    peer: SocketAddr,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        let app = self.app.clone();
        app.metrics.connections.inc();
        match &self.tls {
            None => self.http(stream).await,
            Some(certificate) => {
                let handshake = certificate.acceptor().accept(stream);
                match tokio::time::timeout(HANDSHAKE_TIME, handshake).await {
                    Ok(Ok(stream)) => self.http(stream).await,
                    Ok(Err(e)) => tracing::debug!(peer = %self.peer, error = %e, "TLS handshake"),
                    Err(_) => tracing::debug!(peer = %self.peer, "TLS handshake took too long"),
                }
            }
        }
        app.metrics.connections.dec();
    }

    async fn http<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (router, peer) = (self.router, self.peer);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            let mut router = router.clone();
            async move { Ok::<_, Infallible>(router.call(request).await.unwrap_or_else(|e| match e {})) }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE_TIME);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIME);
        let stream = TokioIo::new(Opening::new(stream, HANDSHAKE_TIME));
        let connection = builder.serve_connection(stream, service);
        if let Err(e) = self.watcher.watch(connection.into_owned()).await {
            tracing::debug!(%peer, error = %e, "connection");
        }
    }
}
