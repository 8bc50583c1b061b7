//! Classes of IP addresses: which of them a handler's request may be sent to.
//!
//! An address that carries an IPv4 address inside is judged by both. What no registry has
//! given to the public internet is refused, so that a new kind of address is refused too.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;

use serde::{Deserialize, Serialize};

/// A class of addresses that are not the public internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressClass {
    /// Where clouds tell a machine about itself, its credentials included.
    Metadata,
    /// The machine itself.
    Loopback,
    /// A private network (RFC 1918), deprecated site-local, or a local translator's.
    Private,
    /// The link, without a router.
    LinkLocal,
    /// A private network of IPv6.
    UniqueLocal,
    /// Between a provider and its customers (carrier-grade NAT).
    Shared,
    /// Many at once.
    Multicast,
    /// Everybody on the link.
    Broadcast,
    /// For examples.
    Documentation,
    /// For measuring equipment.
    Benchmarking,
    /// No address: `0.0.0.0/8` and `::`.
    Unspecified,
    /// For protocols, the future, or nobody.
    Reserved,
}

impl AddressClass {
    /// Its name, for messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::UniqueLocal => "unique-local",
            Self::Shared => "carrier-grade NAT",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Documentation => "documentation",
            Self::Benchmarking => "benchmarking",
            Self::Unspecified => "unspecified",
            Self::Reserved => "reserved",
        }
    }

    /// The class of an address; none for the public internet.
    #[must_use]
    pub fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which classes were granted beyond the public internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reach {
    /// Every class but metadata.
    pub private: bool,
    /// Metadata.
    pub metadata: bool,
}

/// Why nothing is sent to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address {address} is {class}, which was not granted")]
pub struct AddressRefused {
    /// The address.
    pub address: IpAddr,
    /// Its class.
    pub class: AddressClass,
}

impl Reach {
    /// Whether something may be sent to an address.
    pub fn check(self, address: IpAddr) -> Result<(), AddressRefused> {
        match AddressClass::of(address) {
            None => Ok(()),
            Some(AddressClass::Metadata) if self.metadata => Ok(()),
            Some(class) if class != AddressClass::Metadata && self.private => Ok(()),
            Some(class) => Err(AddressRefused { address, class }),
        }
    }
}

/// Where clouds answer: most of them, Alibaba, Azure, Oracle, and Amazon's containers.
const METADATA_V4: [Ipv4Addr; 6] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// The same on IPv6: Amazon, its containers, Google.
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

fn of_v4(address: Ipv4Addr) -> Option<AddressClass> {
    if METADATA_V4.contains(&address) {
        return Some(AddressClass::Metadata);
    }
    let class = match address.octets() {
        [0, ..] => AddressClass::Unspecified,
        [127, ..] => AddressClass::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => AddressClass::Private,
        [169, 254, ..] => AddressClass::LinkLocal,
        [100, 64..=127, ..] => AddressClass::Shared,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => AddressClass::Documentation,
        [198, 18..=19, ..] => AddressClass::Benchmarking,
        [192, 0, 0, _] | [192, 88, 99, _] => AddressClass::Reserved,
        [224..=239, ..] => AddressClass::Multicast,
        [255, 255, 255, 255] => AddressClass::Broadcast,
        [240..=255, ..] => AddressClass::Reserved,
        _ => return None,
    };
    Some(class)
}

fn of_v6(address: Ipv6Addr) -> Option<AddressClass> {
    if METADATA_V6.contains(&address) {
        return Some(AddressClass::Metadata);
    }
    if address.is_unspecified() {
        return Some(AddressClass::Unspecified);
    }
    if address.is_loopback() {
        return Some(AddressClass::Loopback);
    }
    let segments = address.segments();
    let inner = |high: u16, low: u16| of_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    let last = || inner(segments[6], segments[7]);
    match segments {
        // v4-mapped, v4-compatible, translated (SIIT) and NAT64.
        [0, 0, 0, 0, 0, 0xffff, ..]
        | [0, 0, 0, 0, 0, 0, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, ..] => last(),
        [0x64, 0xff9b, 1, ..] => Some(AddressClass::Private),
        // Teredo: the server's address, and the client's with its bits turned.
        [0x2001, 0, server_high, server_low, ..] => {
            inner(server_high, server_low).or_else(|| inner(!segments[6], !segments[7]))
        }
        [0x2001, 2, 0, ..] => Some(AddressClass::Benchmarking),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some(AddressClass::Documentation),
        [0x2001, 0..=0x1ff, ..] => Some(AddressClass::Reserved),
        // 6to4.
        [0x2002, high, low, ..] => inner(high, low),
        // ISATAP, beneath any prefix.
        [0x2000..=0x3fff, _, _, _, 0 | 0x200, 0x5efe, ..] => last(),
        [0x2000..=0x3fff, ..] => None,
        [0xfc00..=0xfdff, ..] => Some(AddressClass::UniqueLocal),
        [0xfe80..=0xfebf, ..] => Some(AddressClass::LinkLocal),
        [0xfec0..=0xfeff, ..] => Some(AddressClass::Private),
        [0xff00..=0xffff, ..] => Some(AddressClass::Multicast),
        _ => Some(AddressClass::Reserved),
    }
}
