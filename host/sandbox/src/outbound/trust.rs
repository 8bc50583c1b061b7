//! Whose certificates are believed: the system's roots, or those of a file.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Sources that are remembered; there are as many as operators name files. A host forgets what
/// it told a worker process when it has told of as many, and the process what was told before.
pub(crate) const KEPT: usize = 64;

/// Largest file of certificates, in bytes.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// What was read so far, by file; none is the system's.
#[derive(Default)]
pub(super) struct Trust {
    read: Mutex<HashMap<Option<PathBuf>, Known>>,
    /// What the host told of, in a worker process.
    told: Mutex<Told>,
    next: AtomicU64,
}

/// What the host believes to be known here, and what it told of before, which a connection may
/// still be secured by.
#[derive(Default)]
struct Told {
    now: HashMap<u64, Arc<ClientConfig>>,
    before: HashMap<u64, Arc<ClientConfig>>,
}

struct Known {
    written: Option<SystemTime>,
    config: Arc<ClientConfig>,
    roots: Arc<Roots>,
}

/// Certificates that are believed, as worker processes are told of them.
pub(crate) struct Roots {
    /// A number that no others have.
    pub(crate) id: u64,
    /// In DER.
    pub(crate) certificates: Vec<Vec<u8>>,
}

impl Trust {
    /// How TLS is spoken with the system's roots or those of a file, which is read again when
    /// it changed.
    pub(super) async fn config(&self, file: Option<&Path>) -> io::Result<Arc<ClientConfig>> {
        self.known(file, |known| Arc::clone(&known.config)).await
    }

    /// The certificates themselves.
    pub(super) async fn roots(&self, file: Option<&Path>) -> io::Result<Arc<Roots>> {
        self.known(file, |known| Arc::clone(&known.roots)).await
    }

    /// How TLS is spoken with roots that the host told of.
    pub(super) fn config_of(&self, roots: u64) -> io::Result<Arc<ClientConfig>> {
        let told = self.told.lock();
        let config = told.now.get(&roots).or_else(|| told.before.get(&roots)).cloned();
        config.ok_or_else(|| io::Error::other("the host did not name them"))
    }

    /// The host names roots.
    pub(super) fn told(&self, roots: u64, certificates: impl Iterator<Item = Vec<u8>>) {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(certificates.map(CertificateDer::from));
        if let Ok(config) = speaking(store) {
            let mut told = self.told.lock();
            if told.now.len() >= KEPT {
                told.before = std::mem::take(&mut told.now);
            }
            told.now.insert(roots, Arc::new(config));
        }
    }

    async fn known<T>(&self, file: Option<&Path>, take: impl Fn(&Known) -> T) -> io::Result<T> {
        let file = file.map(Path::to_owned);
        let written = match &file {
            None => None,
            Some(file) => Some(tokio::fs::metadata(file).await?.modified()?),
        };
        if let Some(known) = self.read.lock().get(&file)
            && known.written == written
        {
            return Ok(take(known));
        }
        let source = file.clone();
        let read = tokio::task::spawn_blocking(move || match source {
            None => system_roots(),
            Some(file) => roots_of(&file),
        });
        let (store, certificates) = read.await.map_err(io::Error::other)??;
        let config = Arc::new(speaking(store)?);
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let known = Known { written, config, roots: Arc::new(Roots { id, certificates }) };
        let taken = take(&known);
        let mut read = self.read.lock();
        if read.len() >= KEPT {
            read.clear();
        }
        read.insert(file, known);
        Ok(taken)
    }
}

/// What TLS believes, and the same in DER.
type Store = (RootCertStore, Vec<Vec<u8>>);

fn system_roots() -> io::Result<Store> {
    let found = rustls_native_certs::load_native_certs();
    let certificates = found.certs.iter().map(|certificate| certificate.to_vec()).collect();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(io::Error::other("the system has no root certificates; grant a `ca_file`"));
    }
    Ok((roots, certificates))
}

fn roots_of(file: &Path) -> io::Result<Store> {
    if std::fs::metadata(file)?.len() > MAX_FILE_BYTES {
        return Err(io::Error::other("a file of certificates has at most 4 MiB"));
    }
    let text = std::fs::read(file)?;
    let (mut roots, mut certificates) = (RootCertStore::empty(), Vec::new());
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(io::Error::other)?;
        certificates.push(certificate.to_vec());
        roots.add(certificate).map_err(io::Error::other)?;
    }
    if roots.is_empty() {
        return Err(io::Error::other("there is no certificate in it"));
    }
    Ok((roots, certificates))
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
