//! TLS: who the host is, and whom it asks to say who they are.
//!
//! The files are looked at again while the host runs, so that a certificate can be renewed. One
//! that cannot be used is reported, and the one before goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// How often the files are looked at while connections come in.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The files of a host's TLS, all PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The host's certificate, and those between it and one that clients trust.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// If given, only clients with a certificate of one of these are spoken with.
    pub client_ca: Option<PathBuf>,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or has not what it should.
    #[error("`{}` cannot be used for TLS: {reason}; it has to be a PEM file with {wanted}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it has to have.
        wanted: &'static str,
        /// Why.
        reason: String,
    },
    /// The files do not go together.
    #[error("the files for TLS do not go together: {0}")]
    Mismatch(String),
}

/// TLS as the files say.
pub struct Tls {
    files: TlsFiles,
    current: Mutex<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    stamps: Vec<Option<SystemTime>>,
    looked: Instant,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Read the files.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let stamps = stamps(&files);
        let config = Arc::new(config(&files)?);
        let current = Mutex::new(Current { config, stamps, looked: Instant::now() });
        Ok(Self { files, current })
    }

    /// What the next connection is accepted with.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock();
        if current.looked.elapsed() >= LOOK_EVERY {
            self.look_again(&mut current);
        }
        TlsAcceptor::from(current.config.clone())
    }

    fn look_again(&self, current: &mut Current) {
        current.looked = Instant::now();
        let found = stamps(&self.files);
        if found == current.stamps {
            return;
        }
        match config(&self.files) {
            Ok(config) => {
                current.config = Arc::new(config);
                current.stamps = found;
                tracing::info!("the certificate has changed and is in use");
            }
            // Not remembered: a file may be half written.
            Err(error) => {
                tracing::warn!(%error, "the changed certificate cannot be used; the old one is");
            }
        }
    }
}

fn stamps(files: &TlsFiles) -> Vec<Option<SystemTime>> {
    let all = [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()];
    let modified = |path: &PathBuf| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    all.into_iter().flatten().map(modified).collect()
}

fn config(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let mismatch = |error: tokio_rustls::rustls::Error| TlsError::Mismatch(error.to_string());
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| file(&files.key, "a private key", &error))?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(mismatch)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| file(path, "certificates", &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| file(path, "certificates", &error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(mismatch)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let refused = |error: &dyn std::fmt::Display| file(path, "certificates", error);
    let read = CertificateDer::pem_file_iter(path).map_err(|error| refused(&error))?;
    let found: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| refused(&error))?;
    if found.is_empty() { Err(refused(&"there is no certificate in it")) } else { Ok(found) }
}

fn file(path: &Path, wanted: &'static str, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), wanted, reason: reason.to_string() }
}
