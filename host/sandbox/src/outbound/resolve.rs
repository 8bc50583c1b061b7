//! Names to addresses, a bounded number at a time.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::places::Line;

/// Look-ups of a host at one time. Each may hold a thread until the system gives up.
const LOOKUPS: usize = 64;

/// Addresses of one name that are looked at.
const ADDRESSES: usize = 16;

/// A way of resolving names. What it answers is not trusted: every address is checked.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// The addresses of a name, best first.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's way: what `getaddrinfo` says.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((name, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

pub(super) struct Lookups {
    resolver: Arc<dyn Resolver>,
    permits: Arc<Semaphore>,
}

impl Lookups {
    pub(super) fn by(resolver: Arc<dyn Resolver>) -> Self {
        Self { resolver, permits: Arc::new(Semaphore::new(LOOKUPS)) }
    }

    /// Some addresses of a name. If nobody waits for it any more, a look-up goes on and keeps
    /// its permits, because the thread that it holds is not free either.
    pub(super) async fn resolve(&self, line: &Line, name: &str) -> io::Result<Vec<IpAddr>> {
        let tenants = Arc::clone(&line.lookups).acquire_owned().await;
        let hosts = Arc::clone(&self.permits).acquire_owned().await;
        let (resolver, name) = (Arc::clone(&self.resolver), name.to_owned());
        let lookup = tokio::spawn(async move {
            let _held = (tenants, hosts);
            resolver.resolve(&name).await
        });
        let mut addresses = lookup.await.map_err(io::Error::other)??;
        addresses.truncate(ADDRESSES);
        Ok(addresses)
    }
}
