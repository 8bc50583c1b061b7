//! The guard in front of the API, over real connections: tokens, loopback, rates, TLS.

#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bulkhead_api::auth::{Anonymous, Guard, GuardOptions, NewToken, Scope, Tokens};
use bulkhead_api::v1::{self, Api, ApiOptions};
use bulkhead_api::{Listener, Tls, TlsFiles};
use bulkhead_queue::{Broker, EmbeddedBroker, JournalRange, SubmitLimits};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A served API.
struct Served {
    broker: Arc<dyn Broker>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Served {
    async fn with(options: GuardOptions, tls: Option<Tls>, connections: usize) -> Self {
        let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::in_memory());
        let api = Api::new(broker.clone(), SubmitLimits::default(), ApiOptions::default());
        let router = Guard::new(broker.clone(), options).layer(v1::router(api));
        let any = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind(any, tls, connections).await.unwrap();
        let address = listener.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            listener.serve(router, async { drop(stopped.await) }).await;
        });
        Self { broker, address, stop: Some(stop), serving }
    }

    async fn plain(options: GuardOptions) -> Self {
        Self::with(options, None, 100).await
    }

    async fn token(&self, scopes: &[Scope]) -> String {
        let new =
            NewToken { name: "test".into(), scopes: scopes.to_vec(), tenant: None, ttl_ms: None };
        let now = 1_700_000_000_000;
        Tokens::new(self.broker.clone()).create(new, "me", now).await.unwrap().1.to_string()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The status and the whole answer to a request with these header lines.
    async fn ask(&self, method: &str, path: &str, headers: &str) -> (u16, String) {
        ask(self.connect().await, method, path, headers).await
    }
}

async fn ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    method: &str,
    path: &str,
    headers: &str,
) -> (u16, String) {
    let host =
        if headers.to_ascii_lowercase().contains("host:") { "" } else { "host: localhost\r\n" };
    let head = format!("{method} {path} HTTP/1.1\r\n{host}{headers}connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A peer that closes without notice has answered all the same.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer)
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

#[tokio::test]
async fn a_token_opens_and_a_wrong_one_does_not() {
    let served = Served::plain(GuardOptions::default()).await;
    let token = served.token(&[Scope::Read]).await;
    assert_eq!(served.ask("GET", "/v1/queues", &bearer(&token)).await.0, 200);
    let (status, answer) = served.ask("GET", "/v1/whoami", &bearer(&token)).await;
    assert_eq!(status, 200);
    assert!(answer.contains(r#""scopes":["read"]"#), "{answer}");
    for headers in [
        String::new(),
        bearer("bulkhead_0000000000000000_x"),
        bearer(&token[..token.len() - 1]),
        "authorization: Basic YTpi\r\n".into(),
        "authorization: Bearer\r\n".into(),
    ] {
        let (status, answer) = served.ask("GET", "/v1/queues", &headers).await;
        assert_eq!(status, 401, "{headers}");
        assert!(answer.contains("www-authenticate: Bearer"), "{answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
}

#[tokio::test]
async fn a_revoked_token_is_worth_nothing_after_a_few_seconds() {
    let served = Served::plain(GuardOptions::default()).await;
    let token = served.token(&[Scope::Read]).await;
    let admin = served.token(&[Scope::Admin]).await;
    assert_eq!(served.ask("GET", "/v1/queues", &bearer(&token)).await.0, 200);
    let id = token.split('_').nth(1).unwrap();
    let path = format!("/v1/tokens/{id}");
    assert_eq!(served.ask("DELETE", &path, &bearer(&token)).await.0, 403);
    assert_eq!(served.ask("DELETE", &path, &bearer(&admin)).await.0, 204);
    assert_eq!(served.ask("DELETE", &path, &bearer(&admin)).await.0, 404);
    let gone = async {
        while served.ask("GET", "/v1/queues", &bearer(&token)).await.0 != 401 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), gone).await.unwrap();
}

#[tokio::test]
async fn loopback_is_let_in_only_where_that_is_said_and_from_no_web_page() {
    let scopes = vec![Scope::Read];
    let options = GuardOptions { anonymous: Anonymous::OnLoopback(scopes), rate: None };
    let served = Served::plain(options).await;
    assert_eq!(served.ask("GET", "/v1/queues", "").await.0, 200);
    assert_eq!(served.ask("POST", "/v1/queues/q/pause", "").await.0, 403);
    let own = format!("host: {0}\r\norigin: http://{0}\r\n", served.address);
    assert_eq!(served.ask("GET", "/v1/queues", &own).await.0, 200);
    for headers in [
        "host: evil.example\r\n",
        "host: evil.example:80\r\n",
        "origin: https://evil.example\r\n",
        "origin: null\r\n",
        "sec-fetch-site: cross-site\r\n",
        "sec-fetch-site: same-site\r\n",
    ] {
        let (status, answer) = served.ask("GET", "/v1/queues", headers).await;
        assert_eq!(status, 403, "{headers}: {answer}");
    }
}

#[tokio::test]
async fn each_caller_may_ask_so_often() {
    let options = GuardOptions { rate: Some("1/h burst 2".parse().unwrap()), ..Default::default() };
    let served = Served::plain(options).await;
    let (one, other) = (served.token(&[Scope::Read]).await, served.token(&[Scope::Read]).await);
    for _ in 0..2 {
        assert_eq!(served.ask("GET", "/v1/queues", &bearer(&one)).await.0, 200);
    }
    let (status, answer) = served.ask("GET", "/v1/queues", &bearer(&one)).await;
    assert_eq!(status, 429);
    assert!(answer.contains("retry-after: "), "{answer}");
    assert_eq!(served.ask("GET", "/v1/queues", &bearer(&other)).await.0, 200);
    // Who guesses tokens is slowed down too.
    let guesses = [
        served.ask("GET", "/v1/queues", &bearer("a")).await.0,
        served.ask("GET", "/v1/queues", &bearer("b")).await.0,
        served.ask("GET", "/v1/queues", &bearer("c")).await.0,
    ];
    assert_eq!(guesses, [401, 401, 429]);
}

#[tokio::test]
async fn changes_are_written_down_with_who_made_them() {
    let served = Served::plain(GuardOptions::default()).await;
    let token = served.token(&[Scope::Admin]).await;
    let rescan = served.ask("POST", "/v1/hosts/rescan?why=test", &bearer(&token)).await;
    assert_eq!(rescan.0, 200);
    // Looks, failures and submissions are not.
    assert_eq!(served.ask("GET", "/v1/queues", &bearer(&token)).await.0, 200);
    assert_eq!(served.ask("POST", "/v1/queues/none/pause", &bearer(&token)).await.0, 404);
    let lines = served.broker.archive().journal_entries(&JournalRange::newest(10)).await.unwrap();
    let lines: Vec<_> = lines.iter().map(|entry| &entry.line).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0].action, "token.create");
    assert_eq!(lines[1].action, "POST /v1/hosts/rescan");
    assert_eq!(lines[1].object, "/v1/hosts/rescan?why=test");
    assert!(lines[1].actor.starts_with("token:") && lines[1].actor.contains("(test)"));
    let (status, answer) = served.ask("GET", "/v1/journal", &bearer(&token)).await;
    assert_eq!(status, 200);
    assert!(answer.contains("POST /v1/hosts/rescan"), "{answer}");
}

#[tokio::test]
async fn connections_are_bounded_and_come_free_again() {
    let served = Served::with(GuardOptions::default(), None, 1).await;
    let held = served.connect().await;
    // The one that is held takes the only place once it is accepted.
    let turned_away = async { while served.ask("GET", "/v1/queues", "").await.0 != 0 {} };
    tokio::time::timeout(std::time::Duration::from_secs(20), turned_away).await.unwrap();
    drop(held);
    let let_in = async { while served.ask("GET", "/v1/queues", "").await.0 != 401 {} };
    tokio::time::timeout(std::time::Duration::from_secs(20), let_in).await.unwrap();
}

#[tokio::test]
async fn stopping_lets_requests_finish_and_takes_no_more() {
    let mut served = Served::plain(GuardOptions::default()).await;
    assert_eq!(served.ask("GET", "/v1/queues", "").await.0, 401);
    served.stop.take().unwrap().send(()).unwrap();
    served.serving.await.unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}

/// An authority, and a certificate of it for `name`, as PEM files in a folder.
fn certify(folder: &Path, name: &str) -> (PathBuf, TlsFiles) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(params, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let write = |file: &str, text: String| {
        let path = folder.join(format!("{name}-{file}"));
        std::fs::write(&path, text).unwrap();
        path
    };
    let root = write("ca.pem", authority.pem());
    let files = TlsFiles {
        certificate: write("cert.pem", certificate.pem()),
        key: write("key.pem", key.serialize_pem()),
        client_ca: None,
    };
    (root, files)
}

fn client(root: &Path, own: Option<&TlsFiles>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(root).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(files) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_file(&files.certificate).unwrap()],
                PrivateKeyDer::from_pem_file(&files.key).unwrap(),
            )
            .unwrap(),
    };
    TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn tls_keeps_others_out_and_mtls_those_without_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let (root, files) = certify(folder.path(), "localhost");
    let (client_root, own) = certify(folder.path(), "client");
    let name = || ServerName::try_from("localhost").unwrap();
    let served =
        Served::with(GuardOptions::default(), Some(Tls::load(files.clone()).unwrap()), 10).await;
    let stream = client(&root, None).connect(name(), served.connect().await).await.unwrap();
    assert_eq!(ask(stream, "GET", "/v1/queues", "").await.0, 401);
    assert!(client(&client_root, None).connect(name(), served.connect().await).await.is_err());
    assert_eq!(served.ask("GET", "/v1/queues", "").await.0, 0, "no answer without TLS");

    let mutual = TlsFiles { client_ca: Some(client_root), ..files };
    let served = Served::with(GuardOptions::default(), Some(Tls::load(mutual).unwrap()), 10).await;
    let stream = client(&root, Some(&own)).connect(name(), served.connect().await).await.unwrap();
    assert_eq!(ask(stream, "GET", "/v1/queues", "").await.0, 401);
    // With TLS 1.3 the client hears of it when it reads.
    let without = client(&root, None).connect(name(), served.connect().await).await;
    let status = match without {
        Ok(stream) => ask(stream, "GET", "/v1/queues", "").await.0,
        Err(_) => 0,
    };
    assert_eq!(status, 0);
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (_, files) = certify(folder.path(), "localhost");
    let (_, other) = certify(folder.path(), "other");
    let missing = folder.path().join("none.pem");
    for (files, says) in [
        (TlsFiles { certificate: missing.clone(), ..files.clone() }, "none.pem"),
        (TlsFiles { key: files.certificate.clone(), ..files.clone() }, "a private key"),
        (TlsFiles { certificate: files.key.clone(), ..files.clone() }, "no certificate"),
        (TlsFiles { key: other.key, ..files.clone() }, "do not go together"),
        (TlsFiles { client_ca: Some(missing), ..files.clone() }, "none.pem"),
    ] {
        let error = Tls::load(files).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
