//! Where the broker is, with a password that does not leak.
//!
//! Everything that prints a broker URL goes through [`BrokerUrl`]'s `Display` or `Debug`,
//! which hide the password; only connecting asks for the whole text.

use std::fmt;
use std::str::FromStr;

use bulkhead_queue::RedisUrl;

/// What stands in for a secret.
const HIDDEN: &str = "***";

/// The URL of a broker.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl(String);

impl BrokerUrl {
    /// The URL with its password, for connecting.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for BrokerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "embedded" || text.starts_with("embedded:") {
            return Err("embedded brokers are not available in this version; use a Redis or \
                        Valkey server, such as redis://127.0.0.1:6379"
                .into());
        }
        match text.parse::<RedisUrl>() {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(reason) => {
                Err(format!("`{}` is no usable broker URL: {reason}", redact(text).escape_debug()))
            }
        }
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", redact(&self.0).escape_debug())
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `url` without its password. A text that is no URL may still hold one, so everything
/// between the scheme and the last `@` counts as credentials.
pub(super) fn redact(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let (credentials, place) = match rest.rsplit_once('@') {
        Some((credentials, place)) => (Some(credentials), place),
        None => (None, rest),
    };
    let credentials = credentials.map_or(String::new(), |text| match text.split_once(':') {
        Some((user, _)) => format!("{user}:{HIDDEN}@"),
        None => format!("{HIDDEN}@"),
    });
    let (place, query) = match place.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (place, None),
    };
    let query = query.map_or(String::new(), |query| {
        let shown: Vec<String> = query
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some((key, _)) if key.contains("pass") => format!("{key}={HIDDEN}"),
                _ => pair.to_owned(),
            })
            .collect();
        format!("?{}", shown.join("&"))
    });
    format!("{scheme}{credentials}{place}{query}")
}

/// `text` with the passwords of all URLs in it hidden, for messages that quote what was
/// written.
pub(super) fn redact_within(text: &str) -> String {
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| match line.find("://") {
            Some(at) if line[at..].contains('@') => {
                let start = line[..at].rfind(|c: char| !c.is_ascii_alphanumeric() && c != '+');
                let (before, url) = line.split_at(start.map_or(0, |start| start + 1));
                format!("{before}{}", redact(url))
            }
            _ => line.to_owned(),
        })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_never_show() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("redis://:secret@h:1/2", "redis://:***@h:1/2"),
            ("redis://ann:secret@h", "redis://ann:***@h"),
            ("redis://ann:se%2Fcr@et@h", "redis://ann:***@h"),
            ("redis://secret@h", "redis://***@h"),
            ("rediss+cluster://ann:secret@h,i:2?ca=/c", "rediss+cluster://ann:***@h,i:2?ca=/c"),
            (
                "redis+sentinel://:secret@h/main?sentinel_password=secret",
                "redis+sentinel://:***@h/main?sentinel_password=***",
            ),
            ("redis+unix:///s?db=1&pass=secret", "redis+unix:///s?db=1&pass=***"),
        ] {
            let broker: BrokerUrl = url.parse().unwrap();
            assert_eq!(broker.to_string(), shown);
            assert_eq!(format!("{broker:?}"), shown);
            assert_eq!(broker.expose(), url);
        }
    }

    #[test]
    fn passwords_do_not_show_in_quoted_lines() {
        let quoted = redact_within("line 1\n1 | broker = redis://ann:secret@h:1 oops\n  ^");
        assert_eq!(quoted, "line 1\n1 | broker = redis://ann:***@h:1 oops\n  ^");
    }

    #[test]
    fn other_schemes_are_refused_without_leaking() {
        for url in ["http://a:secret@h", "a:secret@h", "", "redis://", "localhost:6379"] {
            let error = url.parse::<BrokerUrl>().unwrap_err();
            assert!(error.contains("redis://") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_url_that_leads_nowhere_is_refused_without_leaking() {
        for url in
            ["redis://ann:sec/ret@h", "redis+sentinel://ann:secret@h", "redis://a:secret@h/x"]
        {
            let error = url.parse::<BrokerUrl>().unwrap_err();
            assert!(!error.contains("secret") && !error.contains("ret@"), "{error}");
        }
    }

    #[test]
    fn embedded_brokers_are_announced_as_missing() {
        for url in ["embedded:", "embedded:data.redb", "embedded"] {
            let error = url.parse::<BrokerUrl>().unwrap_err();
            assert!(error.contains("not available in this version"), "{error}");
        }
    }
}
