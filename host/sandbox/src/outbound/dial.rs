//! A connection to an address that was checked.
//!
//! The name is resolved here, once. No address that was not granted is dialled, whatever the
//! resolver answers now or later, and TLS is held to the name that the rule allowed.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use bulkhead_core::outbound::{Host, Reach, Scheme, Target};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use wasmtime_wasi_http::Error;

use super::places::{Line, Place};
use super::{By, HttpAccess, trouble};
use crate::worker::Lent;

/// What a request is written to and its answer read from.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Where a connection goes and how.
pub(super) struct Dial<'a> {
    pub(super) access: &'a HttpAccess,
    pub(super) target: &'a Target,
    pub(super) reach: Reach,
    pub(super) ca_file: Option<&'a Path>,
    /// For all of it: resolving, connecting, TLS.
    pub(super) within: Duration,
}

/// What keeps a connection's place, until it is dropped.
pub(super) enum Held {
    Place(#[allow(dead_code, reason = "kept for its end")] Place),
    Lent(#[allow(dead_code, reason = "kept for its end")] Lent),
}

/// A request failed, and what the operator may know of it.
pub(super) struct Failed {
    pub(super) error: Error,
    pub(super) why: String,
}

impl Failed {
    pub(super) fn new(error: Error, why: impl ToString) -> Self {
        Self { error, why: why.to_string() }
    }
}

impl Dial<'_> {
    /// A connection, and what keeps its place in the line of the tenant's.
    pub(super) async fn connect(self, connections: u32) -> Result<(Box<dyn Stream>, Held), Failed> {
        let (until, stream, roots, held) = match &self.access.by {
            By::Own { line, .. } => {
                let place = line.enter(connections).await;
                let until = Instant::now() + self.within;
                (until, self.dial_until(line, until).await?, None, Held::Place(place))
            }
            By::Host(host) => {
                let (stream, roots, lent) = host
                    .connect(self.target, self.within)
                    .await
                    .map_err(|(reason, why)| Failed::new(trouble::of_host(reason), why))?;
                (Instant::now() + self.within, stream, roots, Held::Lent(lent))
            }
        };
        if self.target.scheme == Scheme::Http {
            return Ok((Box::new(stream), held));
        }
        let secured = timeout_at(until, self.secure(stream, roots)).await;
        let late = || Err(Failed::new(Error::ConnectionTimeout, "TLS took too long"));
        Ok((secured.unwrap_or_else(|_| late())?, held))
    }

    /// A connection without TLS.
    pub(super) async fn dial(&self, line: &Line) -> Result<TcpStream, Failed> {
        self.dial_until(line, Instant::now() + self.within).await
    }

    async fn dial_until(&self, line: &Line, until: Instant) -> Result<TcpStream, Failed> {
        let resolved = timeout_at(until, self.addresses(line)).await;
        let addresses = resolved
            .unwrap_or_else(|_| Err(Failed::new(Error::DnsTimeout, "its name took too long")))?;
        let vetted = vetted(&addresses, self.reach)?;
        self.reach_one(&vetted, until).await
    }

    async fn addresses(&self, line: &Line) -> Result<Vec<IpAddr>, Failed> {
        let name = match &self.target.host {
            Host::Address(address) => return Ok(vec![*address]),
            Host::Name(name) => name,
        };
        let unknown = |why: String| {
            let error = Error::DnsError { rcode: None, info_code: None };
            Failed::new(error, format!("its name has no address: {why}"))
        };
        let lookups = &self.access.outbound.lookups;
        match lookups.resolve(line, name).await {
            Ok(addresses) if addresses.is_empty() => Err(unknown("none was found".to_owned())),
            Ok(addresses) => Ok(addresses),
            Err(error) => Err(unknown(error.to_string())),
        }
    }

    /// The first address that answers. Those before it get no more than their share of the
    /// time.
    async fn reach_one(&self, addresses: &[IpAddr], until: Instant) -> Result<TcpStream, Failed> {
        let mut failed = Failed::new(Error::DestinationUnavailable, "it has no address");
        for (at, address) in addresses.iter().enumerate() {
            let left = until.saturating_duration_since(Instant::now());
            let others = u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
            let address = SocketAddr::new(*address, self.target.port);
            failed = match timeout(left / others, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Without it a small request may wait for an acknowledgement.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => {
                    Failed::new(trouble::connecting(&error), format!("{address}: {error}"))
                }
                Err(_) => {
                    Failed::new(Error::ConnectionTimeout, format!("{address}: it took too long"))
                }
            };
        }
        Err(failed)
    }

    async fn secure(
        &self,
        stream: TcpStream,
        roots: Option<u64>,
    ) -> Result<Box<dyn Stream>, Failed> {
        let trust = &self.access.outbound.trust;
        let config = match roots {
            Some(roots) => trust.config_of(roots),
            None => trust.config(self.ca_file).await,
        };
        let config = config.map_err(|error| {
            Failed::new(Error::ConfigurationError, format!("no certificates: {error}"))
        })?;
        let name = match &self.target.host {
            Host::Address(address) => ServerName::from(*address),
            Host::Name(name) => ServerName::try_from(name.clone()).map_err(|_| {
                Failed::new(Error::TlsCertificateError, "no certificate can have its name")
            })?,
        };
        match TlsConnector::from(config).connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(Failed::new(trouble::securing(&error), format!("TLS: {error}"))),
        }
    }
}

/// The addresses that were granted, if there is one.
fn vetted(addresses: &[IpAddr], reach: Reach) -> Result<Vec<IpAddr>, Failed> {
    let mut refused = None;
    let mut vetted = Vec::with_capacity(addresses.len());
    for address in addresses {
        match reach.check(*address) {
            Ok(()) => vetted.push(*address),
            Err(class) => refused = Some(class),
        }
    }
    match refused {
        Some(refused) if vetted.is_empty() => {
            Err(Failed::new(Error::DestinationIpProhibited, refused))
        }
        _ => Ok(vetted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn of_many_addresses_only_those_granted_are_left() {
        let mixed = addresses(&["10.0.0.1", "93.184.215.14", "169.254.169.254", "::1"]);
        let left = vetted(&mixed, Reach::default()).ok();
        assert_eq!(left, Some(addresses(&["93.184.215.14"])));
        let private = Reach { private: true, metadata: false };
        let left = vetted(&mixed, private).ok();
        assert_eq!(left, Some(addresses(&["10.0.0.1", "93.184.215.14", "::1"])));
    }

    #[test]
    fn with_none_left_the_reason_is_the_address() {
        for odd in ["127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a00:1", "fd00:ec2::254"] {
            let failed = vetted(&addresses(&[odd]), Reach::default()).err().unwrap();
            assert!(matches!(failed.error, Error::DestinationIpProhibited), "{odd}");
        }
    }
}
