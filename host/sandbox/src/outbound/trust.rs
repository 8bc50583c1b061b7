//! Whose certificates are believed: the system's roots, or those of a file.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Sources that are remembered; there are as many as operators name files.
const KEPT: usize = 64;

/// Largest file of certificates, in bytes.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// What was read so far, by file; none is the system's.
#[derive(Default)]
pub(super) struct Trust(Mutex<HashMap<Option<PathBuf>, Known>>);

struct Known {
    written: Option<SystemTime>,
    config: Arc<ClientConfig>,
}

impl Trust {
    /// How TLS is spoken with the system's roots or those of a file, which is read again when
    /// it changed.
    pub(super) async fn config(&self, file: Option<&Path>) -> io::Result<Arc<ClientConfig>> {
        let file = file.map(Path::to_owned);
        let written = match &file {
            None => None,
            Some(file) => Some(tokio::fs::metadata(file).await?.modified()?),
        };
        if let Some(known) = self.0.lock().get(&file)
            && known.written == written
        {
            return Ok(Arc::clone(&known.config));
        }
        let source = file.clone();
        let read = tokio::task::spawn_blocking(move || match source {
            None => system_roots(),
            Some(file) => roots_of(&file),
        });
        let config = Arc::new(speaking(read.await.map_err(io::Error::other)??)?);
        let mut known = self.0.lock();
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(file, Known { written, config: Arc::clone(&config) });
        Ok(config)
    }
}

fn system_roots() -> io::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(io::Error::other("the system has no root certificates; grant a `ca_file`"));
    }
    Ok(roots)
}

fn roots_of(file: &Path) -> io::Result<RootCertStore> {
    if std::fs::metadata(file)?.len() > MAX_FILE_BYTES {
        return Err(io::Error::other("a file of certificates has at most 4 MiB"));
    }
    let text = std::fs::read(file)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(io::Error::other)?;
        roots.add(certificate).map_err(io::Error::other)?;
    }
    if roots.is_empty() {
        return Err(io::Error::other("there is no certificate in it"));
    }
    Ok(roots)
}

fn speaking(roots: RootCertStore) -> io::Result<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A ticket would let a server tell that two tenants share a host.
    config.resumption = Resumption::disabled();
    Ok(config)
}
