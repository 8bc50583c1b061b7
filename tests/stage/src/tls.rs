//! A Redis server behind TLS, with a certificate authority made for one test.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use crate::process::free_port;
use crate::{Persistence, Program, RedisServer};

/// A server that speaks TLS on a port of its own.
pub struct TlsServer {
    server: RedisServer,
    port: u16,
    folder: TempDir,
}

impl TlsServer {
    /// Start a server whose certificate names `127.0.0.1` and `localhost`. With
    /// `asks_clients` it answers only clients that show a certificate of the same authority.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(asks_clients: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let authority = authority();
        write(folder.path(), "ca.pem", &authority.pem());
        write(folder.path(), "other-ca.pem", &self::authority().pem());
        for name in ["server", "client"] {
            let key = KeyPair::generate().expect("a key");
            let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
            let params = CertificateParams::new(names).expect("names");
            let certificate = params.signed_by(&key, &authority).expect("a certificate");
            write(folder.path(), &format!("{name}.pem"), &certificate.pem());
            write(folder.path(), &format!("{name}.key"), &key.serialize_pem());
        }
        let file = |name: &str| folder.path().join(name).display().to_string();
        let port = free_port();
        let server = RedisServer::start_as(
            Program::Redis,
            Persistence::None,
            &[
                "--tls-port",
                &port.to_string(),
                "--tls-cert-file",
                &file("server.pem"),
                "--tls-key-file",
                &file("server.key"),
                "--tls-ca-cert-file",
                &file("ca.pem"),
                "--tls-auth-clients",
                if asks_clients { "yes" } else { "no" },
            ],
        );
        Self { server, port, folder }
    }

    /// Where TLS is spoken, as `host:port`.
    #[must_use]
    pub fn place(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A file of the authority: `ca.pem`, `other-ca.pem` (of a stranger), `client.pem`,
    /// `client.key`.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same server without TLS.
    #[must_use]
    pub fn plain(&self) -> &RedisServer {
        &self.server
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // A certificate of its issuer's own name counts as self-signed.
    params.distinguished_name.push(DnType::CommonName, "an authority for one test");
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("a file");
}
