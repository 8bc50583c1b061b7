//! The allow-list of outbound requests, held against a second opinion that is simple instead
//! of fast: everything is decoded until nothing changes any more.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bulkhead_core::outbound::{AddressClass, AllowList, Reach, Rule, Target};
use bulkhead_sandbox::fuzzing::asked;

use crate::texts;

/// Rules that every input is held against, besides its own.
const RULES: [&str; 4] = [
    "https://api.example.com/v1/",
    "https://*.example.org/",
    "GET,POST http://a.example:8080/a/b",
    "http://10.0.0.1:*/v1",
];

/// A rule, a method, an authority and a path: what is permitted is beneath what the rule says
/// for every reader, and what is plainly beneath it is permitted.
pub fn outbound(data: &[u8]) {
    let [rule, method, authority, path, scheme] = texts(data);
    addresses(data);
    let mut rules: Vec<Rule> = RULES.iter().map(|rule| rule.parse().unwrap()).collect();
    if let Ok(rule) = rule.parse::<Rule>() {
        assert_eq!(rule.to_string().parse::<Rule>().as_ref(), Ok(&rule), "{rule}");
        rules.push(rule);
    }
    for rule in rules {
        let written = rule.to_string();
        let list = AllowList::new(vec![rule]);
        for scheme in ["http", "https", &scheme] {
            let target = Target::of(&method, scheme, &authority, &path);
            let permitted = target.as_ref().is_ok_and(|target| list.permits(target));
            let naive = naive::permits(&written, &method, scheme, &authority, &path);
            assert!(!permitted || naive, "{written} {method} {scheme} {authority} {path}");
            if naive && naive::is_plain(&method, &authority, &path) {
                assert!(permitted, "{written} {method} {scheme} {authority} {path}");
            }
            let sent = asked(&method, Some(scheme), Some(&authority), Some(&path), &list);
            if let Some((_, sent, true)) = sent {
                assert!(!method.eq_ignore_ascii_case("connect"));
                assert!(naive::permits(&written, &method, scheme, &authority, &sent), "{sent}");
            }
        }
    }
}

/// The first bytes as an address: as it is and inside others it is of one class.
fn addresses(data: &[u8]) {
    let Some((four, rest)) = data.split_first_chunk::<4>() else { return };
    let inner = Ipv4Addr::from(*four);
    let class = AddressClass::of(IpAddr::V4(inner));
    if inner.is_loopback()
        || inner.is_private()
        || inner.is_link_local()
        || inner.is_multicast()
        || inner.is_broadcast()
        || inner.is_documentation()
        || inner.is_unspecified()
    {
        assert!(class.is_some(), "{inner}");
    }
    assert_eq!(AddressClass::of(IpAddr::V6(inner.to_ipv6_mapped())), class, "{inner}");
    let Some((tail, _)) = rest.split_first_chunk::<12>() else { return };
    let mut sixteen = [0; 16];
    sixteen[..4].copy_from_slice(four);
    sixteen[4..].copy_from_slice(tail);
    let outer = Ipv6Addr::from(sixteen);
    if outer.is_loopback()
        || outer.is_multicast()
        || outer.is_unspecified()
        || outer.is_unique_local()
        || outer.is_unicast_link_local()
    {
        assert!(Reach::default().check(IpAddr::V6(outer)).is_err(), "{outer}");
    }
    let internal = Reach { private: true, metadata: false };
    if AddressClass::of(IpAddr::V6(outer)) == Some(AddressClass::Metadata) {
        assert!(internal.check(IpAddr::V6(outer)).is_err());
    }
}

/// The second opinion.
mod naive {
    /// Whether a rule, as it is written out, says so for every reader of the path.
    pub(super) fn permits(
        rule: &str,
        method: &str,
        scheme: &str,
        authority: &str,
        path: &str,
    ) -> bool {
        let (methods, rest) = rule.split_once(' ').unwrap_or(("", rule));
        let (rule_scheme, rest) = rest.split_once("://").unwrap();
        let slash = rest.find('/').unwrap();
        let (place, prefix) = rest.split_at(slash);
        let said = methods.is_empty() || methods.split(',').any(|one| one == method);
        said && rule_scheme.eq_ignore_ascii_case(scheme)
            && place_permits(rule_scheme, place, authority)
            && path_permits(prefix, path)
    }

    fn split(place: &str, scheme: &str) -> (String, String) {
        let bracket = place.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match place[bracket..].rfind(':') {
            Some(at) => (&place[..bracket + at], &place[bracket + at + 1..]),
            None => (place, if scheme == "https" { "443" } else { "80" }),
        };
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        (host, port.trim_start_matches('0').to_owned())
    }

    fn place_permits(scheme: &str, rule: &str, authority: &str) -> bool {
        let ((rule_host, rule_port), (host, port)) =
            (split(rule, scheme), split(authority, scheme));
        if rule_port != "*" && rule_port != port {
            return false;
        }
        if host.contains(['@', '/', '\\', '?', '#', '%', ' ']) {
            return false;
        }
        if host.starts_with('[') {
            // Addresses have many forms; the standard library reads them all.
            let inside =
                |text: &str| text.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>().ok();
            return inside(&host).is_some() && inside(&host) == inside(&rule_host);
        }
        match rule_host.strip_prefix("*.") {
            Some(name) => {
                host.strip_suffix(name).is_some_and(|front| front.len() > 1 && front.ends_with('.'))
            }
            None => host == rule_host,
        }
    }

    /// Decoded until nothing changes.
    fn decoded(path: &str) -> Vec<u8> {
        let mut bytes = path.as_bytes().to_vec();
        loop {
            let mut next = Vec::new();
            let mut at = 0;
            while at < bytes.len() {
                let hex = bytes.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
                let hex = hex.filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()));
                match hex
                    .filter(|_| bytes[at] == b'%')
                    .and_then(|two| u8::from_str_radix(two, 16).ok())
                {
                    Some(byte) => {
                        next.push(byte);
                        at += 3;
                    }
                    None => {
                        next.push(bytes[at]);
                        at += 1;
                    }
                }
            }
            if next == bytes {
                return bytes;
            }
            bytes = next;
        }
    }

    fn path_permits(prefix: &str, path: &str) -> bool {
        let path = path.split('?').next().unwrap_or_default();
        let path = if path.is_empty() { "/" } else { path };
        let whole = decoded(path);
        if whole.split(|b| matches!(b, b'/' | b'\\' | b';' | 0)).any(|part| part == b"..") {
            return false;
        }
        if !path.starts_with('/') || path.contains(['#', '\\']) {
            return false;
        }
        // A reader that decodes before it takes the path apart, and one that does it after:
        // both are beneath what the prefix says to them.
        let parts = |text: &str| -> Vec<Vec<u8>> {
            let parts = text.split('/').map(decoded);
            parts.filter(|part| part != b".").collect()
        };
        let (want, have) = (parts(prefix), parts(path));
        // A prefix with a slash at its end has an empty part there, which only says "beneath".
        let (want, beneath) = match want.split_last() {
            Some((last, front)) if last.is_empty() => (front.to_vec(), true),
            _ => (want, false),
        };
        have.len() >= want.len() + usize::from(beneath) && have[..want.len()] == want[..]
            || beneath && path.split('/').next_back() == Some(".") && have[..] == want[..]
    }

    /// Whether nobody could read it in two ways.
    pub(super) fn is_plain(method: &str, authority: &str, path: &str) -> bool {
        let name = authority.split_once(':').map_or(authority, |(name, _)| name);
        let port = authority.split_once(':').map(|(_, port)| port);
        let labels = name.split('.');
        matches!(method, "GET" | "POST")
            && name.len() < 100
            && labels.clone().all(|label| !label.is_empty() && label.len() < 20)
            && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'.')
            && port.is_none_or(|port| {
                port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port)
            })
            && path.len() < 1_000
            && path.bytes().all(|b| b.is_ascii_lowercase() || b == b'/')
            && path.starts_with('/')
    }
}
