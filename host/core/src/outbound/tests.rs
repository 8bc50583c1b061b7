//! Rules, paths, hosts and addresses: the plain cases, every trick that is known, and what
//! must hold for any text.

use core::net::IpAddr;

use proptest::prelude::*;

use super::*;

fn permits(rule: &str, method: &str, url: &str) -> bool {
    let rule: Rule = rule.parse().unwrap();
    target(method, url).is_ok_and(|target| AllowList::new(vec![rule]).permits(&target))
}

/// A request to a URL, taken apart at its first slash as clients do.
fn target(method: &str, url: &str) -> Result<Target, TargetError> {
    let (scheme, rest) = url.split_once("://").unwrap();
    let slash = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(slash);
    Target::of(method, scheme, authority, path)
}

#[test]
fn rules_permit_what_they_say() {
    for (rule, method, url) in [
        ("https://api.example.com/v1/", "GET", "https://api.example.com/v1/a?b=/../c"),
        ("https://api.example.com/v1/", "DELETE", "https://API.Example.COM:443/v1/"),
        ("https://api.example.com/v1", "GET", "https://api.example.com/v1"),
        ("https://api.example.com/v1", "GET", "https://api.example.com/v1/a"),
        ("https://api.example.com/", "GET", "https://api.example.com"),
        ("https://api.example.com/", "GET", "https://api.example.com./x"),
        ("GET,HEAD https://a.example/", "HEAD", "https://a.example/x"),
        ("GET https://*.example.org/", "GET", "https://a.example.org/"),
        ("GET https://*.example.org/", "GET", "https://a.b.example.org/"),
        ("http://a.example:8080/", "GET", "http://a.example:8080/x"),
        ("http://a.example:*/", "GET", "http://a.example:9/x"),
        ("http://*.a.example:*/", "GET", "http://x.a.example/x"),
        ("http://10.0.0.1/", "GET", "http://10.0.0.1/"),
        ("http://[::1]:8080/", "GET", "http://[0:0:0:0:0:0:0:1]:8080/"),
        ("HTTPS://A.Example./a", "GET", "https://a.example/a/%2e/b"),
        ("https://a.example/%7euser/", "GET", "https://a.example/~user/x"),
        ("https://a.example/p/", "GET", "https://a.example/p/group%2Fname"),
    ] {
        assert!(permits(rule, method, url), "{rule} {method} {url}");
    }
}

#[test]
fn rules_permit_nothing_else() {
    for (rule, method, url) in [
        ("https://api.example.com/v1/", "GET", "http://api.example.com/v1/a"),
        ("https://api.example.com/v1/", "GET", "https://api.example.com:8443/v1/a"),
        ("https://api.example.com/v1/", "GET", "https://api.example.com/v1"),
        ("https://api.example.com/v1", "GET", "https://api.example.com/v10"),
        ("https://api.example.com/v1/", "GET", "https://api.example.com/V1/a"),
        ("https://api.example.com/", "GET", "https://api.example.com.evil.example/"),
        ("https://api.example.com/", "GET", "https://evil.example/?https://api.example.com/"),
        ("https://api.example.com/", "GET", "https://api.example.com@evil.example/"),
        ("https://api.example.com/", "GET", "https://user@api.example.com/"),
        ("https://api.example.com/", "GET", "https://api.example.com:443:80/"),
        ("https://api.example.com/", "GET", "https://api.example.com:/"),
        ("https://api.example.com/", "GET", "https://api.example.com../"),
        ("https://api.example.com/", "GET", "https://api.example.com%00.evil.example/"),
        ("https://api.example.com/", "GET", "https://api%2eexample.com/"),
        ("https://*.example.org/", "GET", "https://example.org/"),
        ("https://*.example.org/", "GET", "https://.example.org/"),
        ("https://*.example.org/", "GET", "https://badexample.org/"),
        ("https://*.example.org/", "GET", "https://a.example.org.evil.example/"),
        ("GET https://a.example/", "POST", "https://a.example/"),
        ("GET https://a.example/", "get", "https://a.example/"),
        ("GET https://a.example/", "GET ", "https://a.example/"),
        ("http://10.0.0.1/", "GET", "http://10.0.1/"),
        ("http://10.0.0.1/", "GET", "http://167772161/"),
        ("http://10.0.0.1/", "GET", "http://0xa000001/"),
        ("http://10.0.0.1/", "GET", "http://012.0.0.1/"),
        ("http://10.0.0.1/", "GET", "http://10.0.0.1./"),
        ("http://10.0.0.1/", "GET", "http://[::ffff:10.0.0.1]/"),
        ("http://[fe80::1]/", "GET", "http://[fe80::1%25eth0]/"),
        ("https://a.example/", "GET", "https://a.example\\@evil.example/"),
        ("https://a.example/", "GET", "https://a.example/#x"),
        ("https://a.example/", "GET", "https://a.example/a\\b"),
        ("https://a.example/", "GET", "https://a.example/\u{e9}"),
        ("https://a.example/", "GET", "https://a.example/a b"),
        ("https://a.example/", "GET", "https://a.example/a%2"),
        ("https://a.example/", "GET", "https://a.example/a%zz"),
    ] {
        assert!(!permits(rule, method, url), "{rule} {method} {url}");
    }
}

#[test]
fn no_path_climbs_however_it_is_written() {
    for path in [
        "/v1/../admin",
        "/v1/..",
        "/..",
        "/v1/%2e%2e/admin",
        "/v1/.%2E/admin",
        "/v1/%2e./admin",
        "/v1/..%2fadmin",
        "/v1/x%2F..%2f..%2fadmin",
        "/v1/%5c..%5cadmin",
        "/v1/..%5cadmin",
        "/v1/..;/admin",
        "/v1/..;a=b/admin",
        "/v1/%252e%252e/admin",
        "/v1/%25252e%25252e%25252fadmin",
        "/v1/%2525252525252e",
        "/v1/..%00/admin",
    ] {
        assert_eq!(normalised_path(path), Err(PathError::Climbs), "{path}");
    }
    for (path, normal) in [
        ("", "/"),
        ("/", "/"),
        ("/.", "/"),
        ("/a/.", "/a/"),
        ("/./a/./b", "/a/b"),
        ("/a//b/", "/a//b/"),
        ("/...", "/..."),
        ("/a..b/..c", "/a..b/..c"),
        ("/%41%2d%7E", "/A-~"),
        ("/%2f%3a", "/%2F%3A"),
        ("/%e9", "/%E9"),
        ("/100%25", "/100%25"),
    ] {
        assert_eq!(normalised_path(path).as_deref(), Ok(normal), "{path}");
    }
    assert_eq!(normalised_path(&format!("/{}", "a".repeat(9_000))), Err(PathError::TooLong));
    assert_eq!(normalised_path("*"), Err(PathError::Relative));
}

#[test]
fn what_is_no_rule_says_why() {
    for (text, says) in [
        ("", "has no `https://`"),
        ("api.example.com/v1/", "has no `https://`"),
        ("ftp://a.example/", "scheme"),
        ("https://a.example", "has no path"),
        ("https:///", "no host"),
        ("https://*/", "only letters"),
        ("https://a.*.example/", "only letters"),
        ("https://*.10.0.0.1/", "usual form"),
        ("https://*a.example/", "only letters"),
        ("https://user@a.example/", "user name"),
        ("https://a.example:0/", "port"),
        ("https://a.example:70000/", "port"),
        ("https://a.example:1:*/", "port"),
        ("https://[::1/", "brackets"),
        ("https://a.example/v1/*", "no `?`, `#` or `*`"),
        ("https://a.example/v1?x", "no `?`, `#` or `*`"),
        ("https://a.example/v1/../v2/", "`..`"),
        ("get https://a.example/", "no method"),
        ("GET, POST https://a.example/", "no method"),
        ("https://127.1/", "usual form"),
        ("https://b\u{fc}cher.example/", "xn--"),
    ] {
        let error = text.parse::<Rule>().unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    let shown = "https://a.example/\u{1b}[31m".parse::<Rule>().unwrap_err().to_string();
    assert!(!shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn rules_are_shown_as_they_are_written() {
    for text in
        ["https://api.example.com/v1/", "GET,POST http://*.example.org:8080/a", "http://[::1]:*/"]
    {
        let rule: Rule = text.parse().unwrap();
        assert_eq!(rule.to_string(), text);
        assert_eq!(rule.to_string().parse::<Rule>().unwrap(), rule);
    }
}

#[test]
fn every_class_of_address_is_known() {
    use AddressClass::*;
    for (address, class) in [
        ("93.184.216.34", None),
        ("1.1.1.1", None),
        ("172.15.0.1", None),
        ("172.32.0.1", None),
        ("100.63.255.255", None),
        ("198.20.0.1", None),
        ("223.255.255.255", None),
        ("0.0.0.0", Some(Unspecified)),
        ("0.1.2.3", Some(Unspecified)),
        ("127.0.0.1", Some(Loopback)),
        ("127.255.255.254", Some(Loopback)),
        ("10.1.2.3", Some(Private)),
        ("172.16.0.1", Some(Private)),
        ("172.31.255.255", Some(Private)),
        ("192.168.0.1", Some(Private)),
        ("169.254.0.1", Some(LinkLocal)),
        ("169.254.169.254", Some(Metadata)),
        ("169.254.170.2", Some(Metadata)),
        ("100.100.100.200", Some(Metadata)),
        ("168.63.129.16", Some(Metadata)),
        ("100.64.0.1", Some(Shared)),
        ("100.127.255.255", Some(Shared)),
        ("192.0.0.8", Some(Reserved)),
        ("192.0.2.1", Some(Documentation)),
        ("198.51.100.1", Some(Documentation)),
        ("203.0.113.1", Some(Documentation)),
        ("198.18.0.1", Some(Benchmarking)),
        ("198.19.255.255", Some(Benchmarking)),
        ("224.0.0.1", Some(Multicast)),
        ("239.255.255.255", Some(Multicast)),
        ("240.0.0.1", Some(Reserved)),
        ("255.255.255.255", Some(Broadcast)),
        ("2606:4700::1111", None),
        ("2a00:1450::1", None),
        ("::", Some(Unspecified)),
        ("::1", Some(Loopback)),
        ("fe80::1", Some(LinkLocal)),
        ("fec0::1", Some(Private)),
        ("fc00::1", Some(UniqueLocal)),
        ("fd12:3456::1", Some(UniqueLocal)),
        ("fd00:ec2::254", Some(Metadata)),
        ("ff02::1", Some(Multicast)),
        ("2001:db8::1", Some(Documentation)),
        ("3fff::1", Some(Documentation)),
        ("2001:2::1", Some(Benchmarking)),
        ("2001:10::1", Some(Reserved)),
        ("100::1", Some(Reserved)),
        ("5f00::1", Some(Reserved)),
        ("4000::1", Some(Reserved)),
        // The same inside others.
        ("::ffff:127.0.0.1", Some(Loopback)),
        ("::ffff:169.254.169.254", Some(Metadata)),
        ("::ffff:93.184.216.34", None),
        ("::127.0.0.1", Some(Loopback)),
        ("::ffff:0:10.0.0.1", Some(Private)),
        ("64:ff9b::10.0.0.1", Some(Private)),
        ("64:ff9b::93.184.216.34", None),
        ("64:ff9b:1::1", Some(Private)),
        ("2002:7f00:1::1", Some(Loopback)),
        ("2002:5db8:d822::1", None),
        // Teredo: a private server, and a private client behind a public server.
        ("2001:0:a00:1::1", Some(Private)),
        ("2001:0:5db8:d822:0:0:f5ff:fffe", Some(Private)),
        ("2001:0:5db8:d822:0:0:a247:27dd", None),
        ("2a00:1450::5efe:10.0.0.1", Some(Private)),
    ] {
        let parsed: IpAddr = address.parse().unwrap();
        assert_eq!(AddressClass::of(parsed), class, "{address}");
    }
}

#[test]
fn metadata_is_refused_unless_it_was_granted_by_name() {
    let internal = Reach { private: true, metadata: false };
    let metadata = "169.254.169.254".parse().unwrap();
    let loopback = "127.0.0.1".parse().unwrap();
    let public = "1.1.1.1".parse().unwrap();
    assert!(internal.check(loopback).is_ok() && internal.check(public).is_ok());
    let refused = internal.check(metadata).unwrap_err();
    assert_eq!(refused.class, AddressClass::Metadata);
    let only = Reach { private: false, metadata: true };
    assert!(only.check(metadata).is_ok());
    assert!(only.check(loopback).unwrap_err().to_string().contains("127.0.0.1 is loopback"));
    assert!(Reach::default().check(loopback).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in any::<String>(), more in any::<String>()) {
        let _ = text.parse::<Rule>();
        let _ = Host::with_port(&text);
        let _ = normalised_path(&text);
        let _ = Target::of(&more, "https", &text, &more);
    }

    #[test]
    fn a_normal_path_is_normal(path in "(/([a-zA-Z0-9._~;:@%/-]|%[0-9a-fA-F]{2}){0,24}){0,4}") {
        if let Ok(normal) = normalised_path(&path) {
            prop_assert_eq!(normalised_path(&normal), Ok(normal.clone()));
            prop_assert!(normal.starts_with('/'));
            prop_assert!(!normal.split('/').any(|part| part == ".." || part == "."));
        }
    }

    #[test]
    fn a_rule_with_a_prefix_permits_only_what_lies_beneath(
        path in "/(v1|v10|V1|admin|\\.|\\.\\.|%2e%2e|%2f|\\.\\.%5c|a){0,3}(/(v1|admin|\\.\\.|%2e|a)){0,4}"
    ) {
        if permits("https://a.example/v1/", "GET", &format!("https://a.example{path}")) {
            // Whoever decodes it, as often as they like, stays beneath.
            let decoded = path.replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
            let mut depth = Vec::new();
            for part in decoded.split('/').filter(|part| !part.is_empty() && *part != ".") {
                if part == ".." { depth.pop(); } else { depth.push(part); }
            }
            prop_assert_eq!(depth.first(), Some(&"v1"), "{}", path);
        }
    }

    #[test]
    fn a_wildcard_permits_only_names_beneath(name in "[a-z.-]{0,12}(example\\.org|example|org)?\\.?") {
        if permits("https://*.example.org/", "GET", &format!("https://{name}/")) {
            let name = name.strip_suffix('.').unwrap_or(&name);
            prop_assert!(name.ends_with(".example.org") && name.len() > ".example.org".len());
        }
    }

    #[test]
    fn an_address_inside_another_is_judged_by_what_it_is(bits in any::<u32>()) {
        let inner = core::net::Ipv4Addr::from(bits);
        let class = AddressClass::of(IpAddr::V4(inner));
        let mapped = AddressClass::of(IpAddr::V6(inner.to_ipv6_mapped()));
        prop_assert_eq!(mapped, class);
        let nat64 = core::net::Ipv6Addr::from(0x64_ff9b_u128 << 96 | u128::from(bits));
        prop_assert_eq!(AddressClass::of(IpAddr::V6(nat64)), class);
        let six_to_four = core::net::Ipv6Addr::from(0x2002_u128 << 112 | u128::from(bits) << 80);
        prop_assert_eq!(AddressClass::of(IpAddr::V6(six_to_four)), class);
    }
}
