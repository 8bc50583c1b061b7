//! Hosts as they stand in URLs: a name, or an address in its one usual form.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;

/// Longest name, in bytes.
const MAX_NAME_BYTES: usize = 253;

/// Longest label of a name, in bytes.
const MAX_LABEL_BYTES: usize = 63;

/// A host: a name in small letters without a final dot, or an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name that is to be resolved.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// Why a text is no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// There is nothing.
    #[error("there is no host")]
    Empty,
    /// Something stands before an `@`.
    #[error("a user name has no place in it")]
    UserInfo,
    /// It ends in a number and is no IPv4 address of four decimal parts.
    #[error("an address must have its usual form: four decimal numbers, or IPv6 in brackets")]
    OddNumber,
    /// What stands in brackets is no IPv6 address.
    #[error("what stands in brackets is no IPv6 address; zones are not taken")]
    BadBrackets,
    /// It has other characters than names have.
    #[error("a name has only letters, digits, `-`, `_` and `.`; write others in their `xn--` form")]
    BadCharacter,
    /// A part of it is empty or over 63 bytes, or all of it over 253.
    #[error("a name's parts have 1 to 63 bytes each and at most 253 in all")]
    BadLength,
    /// What follows the colon is no port.
    #[error("a port is a number from 1 to 65535")]
    BadPort,
}

impl Host {
    /// Read a host without a port.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        if text.contains('@') {
            return Err(HostError::UserInfo);
        }
        if let Some(rest) = text.strip_prefix('[') {
            let address = rest.strip_suffix(']').ok_or(HostError::BadBrackets)?;
            let address = address.parse::<Ipv6Addr>().map_err(|_| HostError::BadBrackets)?;
            return Ok(Self::Address(IpAddr::V6(address)));
        }
        // One final dot means the same name to every resolver.
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        check_name(&name)?;
        if !ends_in_number(&name) {
            return Ok(Self::Name(name));
        }
        // Resolvers read `127.1`, `0x7f000001` and `2130706433` as addresses too.
        match name.parse::<Ipv4Addr>() {
            Ok(address) if name.len() == text.len() => Ok(Self::Address(IpAddr::V4(address))),
            _ => Err(HostError::OddNumber),
        }
    }

    /// Read `host[:port]`.
    pub fn with_port(text: &str) -> Result<(Self, Option<u16>), HostError> {
        if text.contains('@') {
            return Err(HostError::UserInfo);
        }
        let after = match text.strip_prefix('[') {
            Some(rest) => rest.find(']').ok_or(HostError::BadBrackets)? + 1,
            None => 0,
        };
        match text[after..].find(':') {
            None => Ok((Self::parse(text)?, None)),
            Some(at) => {
                let (host, port) = text.split_at(after + at);
                Ok((Self::parse(host)?, Some(parse_port(&port[1..])?)))
            }
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

fn parse_port(text: &str) -> Result<u16, HostError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => Err(HostError::BadPort),
    }
}

fn check_name(name: &str) -> Result<(), HostError> {
    if name.len() > MAX_NAME_BYTES {
        return Err(HostError::BadLength);
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > MAX_LABEL_BYTES {
            return Err(HostError::BadLength);
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !label.bytes().all(plain) {
            return Err(HostError::BadCharacter);
        }
    }
    Ok(())
}

/// Whether the last part of a name is a number, decimal or hexadecimal.
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal =
        last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit())
}
