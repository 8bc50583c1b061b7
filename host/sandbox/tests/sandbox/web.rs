//! Servers on this machine that answer as they are asked to, and names that lead to them.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bulkhead_sandbox::Resolver;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A server. Its answer depends on the path's first part.
pub(crate) struct Server {
    pub(crate) port: u16,
    state: Arc<State>,
}

struct State {
    /// What was asked: the heads, and the bytes after each.
    heard: Mutex<Vec<(String, usize)>>,
    open: AtomicUsize,
    most_open: AtomicUsize,
    gate: Semaphore,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::listen(None).await
    }

    /// One that speaks TLS.
    pub(crate) async fn secure(identity: &Identity) -> Self {
        Self::listen(Some(identity.acceptor())).await
    }

    async fn listen(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            heard: Mutex::default(),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            gate: Semaphore::new(0),
        });
        let all = Arc::clone(&state);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (state, tls) = (Arc::clone(&all), tls.clone());
                tokio::spawn(async move {
                    let open = state.open.fetch_add(1, Ordering::SeqCst) + 1;
                    state.most_open.fetch_max(open, Ordering::SeqCst);
                    // Clients that go away are what is tested.
                    let _ = match tls {
                        None => serve(&state, stream).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(&state, stream).await,
                            Err(error) => Err(error),
                        },
                    };
                    state.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, state }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// What was asked so far: each head, and how many bytes came after it.
    pub(crate) fn heard(&self) -> Vec<(String, usize)> {
        self.state.heard.lock().clone()
    }

    pub(crate) fn most_open(&self) -> usize {
        self.state.most_open.load(Ordering::SeqCst)
    }

    /// Let so many requests to `/gate` be answered.
    pub(crate) fn let_pass(&self, requests: usize) {
        self.state.gate.add_permits(requests);
    }

    /// Wait until so many connections are open.
    pub(crate) async fn has_open(&self, connections: usize) {
        eventually(|| self.state.open.load(Ordering::SeqCst) == connections).await;
    }
}

/// Wait for something that must come.
pub(crate) async fn eventually(mut seen: impl FnMut() -> bool) {
    let began = Instant::now();
    while !seen() {
        assert!(began.elapsed() < Duration::from_secs(30), "it never came");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn serve(state: &State, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let (head, mut rest) = head(&mut stream).await?;
    let at = state.heard.lock().len();
    state.heard.lock().push((head.clone(), rest.len()));
    let path = head.split(' ').nth(1).unwrap_or_default();
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let (what, with) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if head.starts_with("POST") {
        let wanted = header(&head, "content-length").map(|length| length.parse().unwrap());
        loop {
            let ended = match wanted {
                Some(wanted) => rest.len() >= wanted,
                None => rest.ends_with(b"0\r\n\r\n"),
            };
            state.heard.lock()[at].1 = rest.len();
            if ended {
                break;
            }
            if stream.read_buf(&mut rest).await? == 0 {
                return Ok(());
            }
        }
    }
    let number = || with.parse::<usize>().unwrap();
    match what {
        "echo" => answer(&mut stream, "", &format!("{} after {}", rest.len(), line(&head))).await,
        "bytes" => answer(&mut stream, "", &"y".repeat(number())).await,
        "redirect" => answer(&mut stream, &format!("location: {with}\r\n"), "").await,
        "headers" => answer(&mut stream, &format!("h: {}\r\n", "z".repeat(number())), "").await,
        "many" => answer(&mut stream, &"h: z\r\n".repeat(number()), "").await,
        "gate" => {
            state.gate.acquire().await.unwrap().forget();
            answer(&mut stream, "", "passed").await
        }
        "switch" => {
            stream
                .write_all(b"HTTP/1.1 101 S\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n")
                .await?;
            gone(&mut stream).await
        }
        "half" => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await,
        "drip" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await?;
            gone(&mut stream).await
        }
        "slow-head" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await?;
            gone(&mut stream).await
        }
        "endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            loop {
                stream.write_all(&[b'e'; 8 << 10]).await?;
            }
        }
        "endless-head" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await?;
            loop {
                stream.write_all(&[b'e'; 8 << 10]).await?;
            }
        }
        _ => gone(&mut stream).await,
    }
}

async fn answer(
    stream: &mut (impl AsyncWrite + Unpin),
    headers: &str,
    body: &str,
) -> io::Result<()> {
    let status = if headers.starts_with("location") { "302 Found" } else { "200 OK" };
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

/// Say nothing until the client has gone.
async fn gone(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    while stream.read(&mut [0; 1_024]).await? > 0 {}
    Ok(())
}

/// A request's head, and what came with it.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8(bytes).unwrap(), rest));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn line(head: &str) -> &str {
    head.lines().next().unwrap()
}

/// A header of a head, if it is there once.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut found = head.lines().filter_map(|line| line.split_once(": "));
    let mut found = found.by_ref().filter(|(key, _)| key.eq_ignore_ascii_case(name));
    let value = found.next().map(|(_, value)| value);
    assert!(found.next().is_none(), "`{name}` twice: {head}");
    value
}

/// Names whose addresses change: each look-up takes the next answer, and the last one stays.
pub(crate) struct Names {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Names {
    pub(crate) fn answering(answers: &[&[&str]]) -> Arc<Self> {
        let address = |text: &&str| text.parse().unwrap();
        let answers = answers.iter().map(|list| list.iter().map(address).collect()).collect();
        Arc::new(Self { answers: Mutex::new(answers), asked: AtomicUsize::new(0) })
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        assert!(name.parse::<SocketAddr>().is_err(), "{name} is no name");
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock();
        match answers.len() {
            0 => Err(io::Error::other("no such name")),
            1 => Ok(answers[0].clone()),
            _ => Ok(answers.pop_front().unwrap()),
        }
    }
}

/// A resolver that never answers.
pub(crate) struct Mute;

#[async_trait]
impl Resolver for Mute {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        std::future::pending().await
    }
}

/// A certificate for a name, by an authority made for one test.
pub(crate) struct Identity {
    pub(crate) authority: String,
    certificate: String,
    key: String,
}

impl Identity {
    pub(crate) fn of(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority for one test");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        Self {
            authority: authority.pem(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    fn acceptor(&self) -> TlsAcceptor {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}
