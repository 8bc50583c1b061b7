//! Listening on an address: how many connections there may be, how long they may dawdle, and
//! TLS. Which routes there are is not known here.

mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt;

pub use tls::{Tls, TlsError, TlsFiles};

use crate::auth::Peer;

/// How long a client may take for its handshake, and for the head of each request.
const HEAD_WITHIN: Duration = Duration::from_secs(15);
/// How long requests may go on when the host stops.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// After the system gave no connection, for example for want of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; name a free address of this machine")]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// Why.
    pub source: std::io::Error,
}

/// An address that is listened on.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    places: Arc<Semaphore>,
}

impl Listener {
    /// Listen on an address, with at most so many connections; port 0 is any free one.
    pub async fn bind(
        address: SocketAddr,
        tls: Option<Tls>,
        connections: usize,
    ) -> Result<Self, ListenError> {
        let refused = |source| ListenError { address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let places = Arc::new(Semaphore::new(connections));
        Ok(Self { listener, address, tls: tls.map(Arc::new), places })
    }

    /// The address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answer requests until `stop` ends; those that are being answered then have five seconds.
    /// Each request carries its [`Peer`].
    pub async fn serve(self, router: Router, stop: impl Future<Output = ()> + Send) {
        let graceful = GracefulShutdown::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let (stream, from) = tokio::select! {
                () = &mut stop => break,
                accepted = self.listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_AGAIN).await;
                        continue;
                    }
                },
            };
            // Whoever is over the bound is turned away at once, and waits for nothing.
            let Ok(place) = self.places.clone().try_acquire_owned() else {
                tracing::warn!(%from, "as many connections as may; another one is closed");
                continue;
            };
            let (router, tls, watcher) = (router.clone(), self.tls.clone(), graceful.watcher());
            tokio::spawn(async move {
                if let Err(error) = connection(stream, from, router, tls, watcher).await {
                    tracing::debug!(%from, %error, "a connection ended");
                }
                drop(place);
            });
        }
        drop(self.listener);
        if tokio::time::timeout(LAST_ANSWERS, graceful.shutdown()).await.is_err() {
            tracing::debug!("some connections did not end in time");
        }
    }
}

type Trouble = Box<dyn std::error::Error + Send + Sync>;

async fn connection(
    stream: TcpStream,
    from: SocketAddr,
    router: Router,
    tls: Option<Arc<Tls>>,
    watcher: hyper_util::server::graceful::Watcher,
) -> Result<(), Trouble> {
    stream.set_nodelay(true)?;
    match tls {
        None => answer(stream, from, router, watcher).await,
        Some(tls) => {
            let handshake = tls.acceptor().accept(stream);
            let stream = tokio::time::timeout(HEAD_WITHIN, handshake).await??;
            answer(stream, from, router, watcher).await
        }
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    from: SocketAddr,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) -> Result<(), Trouble> {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer::Address(from));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    Ok(watcher.watch(connection).await?)
}
