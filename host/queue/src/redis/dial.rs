//! Opening connections: TCP, TLS or a Unix socket, then the login.
//!
//! Everything here ends within the connect timeout. A link knows when its server has hung
//! up, so that nothing is sent into a connection that is known to be dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, RedisResult, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::failure::{at, refused, unreachable};
use super::url::{Address, Login, RedisUrl, TlsFiles};

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// How servers of one deployment are connected to.
pub(super) struct Dial {
    tls: Option<TlsConnector>,
    login: RedisConnectionInfo,
    sentinel_login: RedisConnectionInfo,
    connect_timeout: Duration,
    response_timeout: Duration,
}

impl Dial {
    pub(super) fn new(
        url: &RedisUrl,
        connect_timeout: Duration,
        response_timeout: Duration,
    ) -> RedisResult<Self> {
        Ok(Self {
            tls: url.tls.as_ref().map(connector).transpose()?,
            login: info(&url.login).set_db(url.db.into()),
            sentinel_login: info(&url.sentinel_login),
            connect_timeout,
            response_timeout,
        })
    }

    /// A connection for commands.
    pub(super) async fn link(&self, address: &Address) -> RedisResult<Link> {
        self.open(address, &self.login, Some(self.response_timeout)).await
    }

    /// A connection for commands that block as long as they say themselves.
    pub(super) async fn waiting_link(&self, address: &Address) -> RedisResult<Link> {
        self.open(address, &self.login, None).await
    }

    /// A connection to a Sentinel.
    pub(super) async fn sentinel(&self, address: &Address) -> RedisResult<Link> {
        self.open(address, &self.sentinel_login, Some(self.connect_timeout)).await
    }

    /// A connection for subscriptions.
    pub(super) async fn subscription(&self, address: &Address) -> RedisResult<PubSub> {
        self.bounded(address, async { PubSub::new(&self.login, self.wire(address).await?).await })
            .await
    }

    async fn open(
        &self,
        address: &Address,
        login: &RedisConnectionInfo,
        response_timeout: Option<Duration>,
    ) -> RedisResult<Link> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(response_timeout);
        let (connection, driver) = self
            .bounded(address, async {
                let wire = self.wire(address).await?;
                MultiplexedConnection::new_with_config(login, wire, config).await
            })
            .await?;
        let over = Arc::new(AtomicBool::new(false));
        let ended = over.clone();
        let driver = tokio::spawn(async move {
            driver.await;
            ended.store(true, Ordering::Release);
        });
        let link = Link { connection, over, _driver: Arc::new(Driver(driver.abort_handle())) };
        // A connection alone proves nothing: the server may be silent, or refuse a client's
        // certificate only now.
        self.bounded(address, link.send(&redis::cmd("PING"))).await?;
        Ok(link)
    }

    async fn bounded<T>(
        &self,
        address: &Address,
        opening: impl Future<Output = RedisResult<T>>,
    ) -> RedisResult<T> {
        match tokio::time::timeout(self.connect_timeout, opening).await {
            Ok(opened) => opened.map_err(|error| at(address, error)),
            Err(_) => Err(unreachable(format!(
                "{address}: no connection within {:?}",
                self.connect_timeout
            ))),
        }
    }

    async fn wire(&self, address: &Address) -> RedisResult<Box<dyn Wire>> {
        let (host, port) = match address {
            Address::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
            Address::Tcp(host, port) => (host.as_str(), *port),
        };
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| refused("this host name cannot stand in a certificate".into()))?;
        let stream = tls.connect(name, stream).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => refused(format!("TLS failed: {error}")),
            _ => unreachable(format!("TLS failed: {error}")),
        })?;
        Ok(Box::new(stream))
    }
}

/// One connection. Clones share it; the last to go closes it.
#[derive(Clone)]
pub(super) struct Link {
    connection: MultiplexedConnection,
    over: Arc<AtomicBool>,
    _driver: Arc<Driver>,
}

struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Link {
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.over, &other.over)
    }

    pub(super) async fn send(&self, command: &Cmd) -> RedisResult<Value> {
        self.connection.clone().send_packed_command(command).await?.extract_error()
    }

    /// Send commands back to back, nothing of others between them.
    pub(super) async fn send_all(&self, commands: &Pipeline) -> RedisResult<Vec<Value>> {
        self.connection.clone().send_packed_commands(commands, 0, commands.len()).await
    }
}

fn info(login: &Login) -> RedisConnectionInfo {
    // No CLIENT SETINFO: servers before 7.2 have no right of that name to grant.
    let mut info = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(user) = &login.user {
        info = info.set_username(user);
    }
    if let Some(password) = &login.password {
        info = info.set_password(password);
    }
    info
}

fn connector(files: &TlsFiles) -> RedisResult<TlsConnector> {
    let mut roots = RootCertStore::empty();
    match &files.ca {
        Some(path) => {
            let unusable = |e| refused(format!("the CA in {} is unusable: {e}", path.display()));
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|e| unusable(e.to_string()))?;
            }
            if roots.is_empty() {
                return Err(unusable("it holds no certificate".into()));
            }
        }
        None => {
            let (_, _) =
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(refused(
                    "this system has no CA certificates; name one with `?ca=FILE`".into(),
                ));
            }
        }
    }
    let unusable = |e: tokio_rustls::rustls::Error| refused(format!("TLS cannot be set up: {e}"));
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots);
    let config = match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => {
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|e| refused(format!("cannot read the key in {}: {e}", key.display())))?;
            builder.with_client_auth_cert(certificates(cert)?, key).map_err(unusable)?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificates(path: &std::path::Path) -> RedisResult<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|e| refused(format!("cannot read the certificates in {}: {e}", path.display())))
}
