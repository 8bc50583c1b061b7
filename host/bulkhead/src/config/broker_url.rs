//! Where the broker is, with a password that does not leak.
//!
//! Everything that prints a broker URL goes through [`BrokerUrl`]'s `Display` or `Debug`,
//! which hide the password; only connecting asks for the whole text.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use bulkhead_queue::RedisUrl;

/// What stands in for a secret.
const HIDDEN: &str = "***";

/// How the URL of a broker in the host's own process begins; a folder may follow.
const EMBEDDED: &str = "embedded:";

/// What kind of broker a URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerPlace {
    /// A server, or several.
    Redis,
    /// This folder, opened by one host.
    Embedded(PathBuf),
    /// The memory of one host.
    Memory,
}

/// The URL of a broker.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl(String);

impl BrokerUrl {
    /// The URL with its password, for connecting.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What kind of broker it names.
    #[must_use]
    pub fn place(&self) -> BrokerPlace {
        match self.0.strip_prefix(EMBEDDED) {
            None => BrokerPlace::Redis,
            Some("") => BrokerPlace::Memory,
            Some(folder) => BrokerPlace::Embedded(folder.into()),
        }
    }
}

impl FromStr for BrokerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "embedded" {
            return Err("`embedded` names no broker; write `embedded:PATH` for one that keeps \
                        tasks in a folder, or `embedded:` for one in memory"
                .into());
        }
        if text.starts_with(EMBEDDED) {
            return Ok(Self(text.to_owned()));
        }
        match text.parse::<RedisUrl>() {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(reason) => Err(format!(
                "`{}` is no usable broker URL: {reason}; embedded:PATH needs no server",
                redact(text).escape_debug()
            )),
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
        .map(|line| {
            // A password may hold anything, so each URL is taken to end where the next begins.
            let starts = line.match_indices("://").map(|(at, _)| {
                let mut before = line[..at].char_indices().rev();
                let end = before.find(|(_, c)| !c.is_ascii_alphanumeric() && *c != '+');
                end.map_or(0, |(at, c)| at + c.len_utf8())
            });
            let mut shown = String::new();
            let mut from = 0;
            for start in starts.chain([line.len()]) {
                let start = start.max(from);
                let part = line.get(from..start).unwrap_or_default();
                let is_url = part.contains("://") && part.contains('@');
                shown.push_str(&if is_url { redact(part) } else { part.to_owned() });
                from = start;
            }
            shown
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
    fn each_url_of_a_line_is_quoted_by_itself() {
        for (line, shown) in [
            (
                "`http://x` is none; write redis://[user:password@]host",
                "`http://x` is none; write redis://[user:***@]host",
            ),
            ("redis://a:b@c and redis://d:e@f", "redis://a:***@c and redis://d:***@f"),
            ("redis://a:b c@d", "redis://a:***@d"),
            ("schlüssel redis://a:b@c", "schlüssel redis://a:***@c"),
            ("ü://a:b@c", "ü://a:***@c"),
            ("://://a:b@c", "://://a:***@c"),
        ] {
            assert_eq!(redact_within(line), shown);
        }
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
    fn an_embedded_broker_is_in_a_folder_or_in_memory() {
        let place = |url: &str| url.parse::<BrokerUrl>().unwrap().place();
        assert_eq!(place("embedded:"), BrokerPlace::Memory);
        assert_eq!(place("embedded:data/queue"), BrokerPlace::Embedded("data/queue".into()));
        assert_eq!(place("redis://h"), BrokerPlace::Redis);
        let error = "embedded".parse::<BrokerUrl>().unwrap_err();
        assert!(error.contains("embedded:PATH"), "{error}");
    }
}
