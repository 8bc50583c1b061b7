//! Rules such as `GET https://*.example.org/v1/`, and requests held against them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::host::{Host, HostError};
use super::path::{PathError, normalised_path};

/// Longest method, in bytes.
const MAX_METHOD_BYTES: usize = 32;

/// How a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Plain.
    Http,
    /// By TLS.
    Https,
}

impl Scheme {
    /// Read a scheme, in letters of either size.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("https") {
            Some(Self::Https)
        } else if text.eq_ignore_ascii_case("http") {
            Some(Self::Http)
        } else {
            None
        }
    }

    /// The port where none is named.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

/// A request as rules see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The method as it is sent.
    pub method: String,
    /// How it is sent.
    pub scheme: Scheme,
    /// To whom.
    pub host: Host,
    /// The port, the scheme's own where the request named none.
    pub port: u16,
    /// The path in its one form, without the query.
    pub path: String,
}

/// Why a request cannot be held against any rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The method is no word of letters.
    #[error("the method is none")]
    Method,
    /// Neither `http` nor `https`.
    #[error("the scheme must be http or https")]
    Scheme,
    /// The authority is none.
    #[error("the authority is none: {0}")]
    Host(#[from] HostError),
    /// The path is none.
    #[error("the path is none: {0}")]
    Path(#[from] PathError),
}

impl Target {
    /// The parts of a request: what `wasi:http` calls method, scheme, authority and
    /// path with query.
    pub fn of(
        method: &str,
        scheme: &str,
        authority: &str,
        path_with_query: &str,
    ) -> Result<Self, TargetError> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let sized = (1..=MAX_METHOD_BYTES).contains(&method.len());
        if !sized || !method.bytes().all(token) {
            return Err(TargetError::Method);
        }
        let scheme = Scheme::parse(scheme).ok_or(TargetError::Scheme)?;
        let (host, port) = Host::with_port(authority)?;
        let path = path_with_query.split('?').next().unwrap_or_default();
        Ok(Self {
            method: method.to_owned(),
            scheme,
            host,
            port: port.unwrap_or(scheme.default_port()),
            path: normalised_path(path)?,
        })
    }
}

/// What a rule says of hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    /// This one.
    One(Host),
    /// Every name that ends in this one and has more in front.
    Beneath(String),
}

/// What a rule says of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ports {
    One(u16),
    Any,
}

/// One line of an allow-list: `[METHOD[,METHOD…] ]SCHEME://HOST[:PORT]/PATH-PREFIX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// None means every method.
    methods: Vec<String>,
    scheme: Scheme,
    hosts: Hosts,
    ports: Ports,
    prefix: String,
}

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{rule}` is no rule: {why}; write it like `GET,POST https://*.example.org/v1/`")]
pub struct RuleError {
    /// The text, control characters escaped.
    pub rule: String,
    /// What is wrong with it.
    pub why: String,
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let refused = |why: String| RuleError { rule: text.escape_debug().to_string(), why };
        let (methods, url) = match text.trim().split_once(' ') {
            None => (Vec::new(), text.trim()),
            Some((methods, url)) => (parse_methods(methods).map_err(refused)?, url.trim_start()),
        };
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| refused("it has no `https://` or `http://`".into()))?;
        let scheme = Scheme::parse(scheme)
            .ok_or_else(|| refused("its scheme must be https or http".into()))?;
        let slash = rest.find('/').ok_or_else(|| {
            refused("it has no path; end it with `/` if every path is meant".into())
        })?;
        let (authority, prefix) = rest.split_at(slash);
        let (hosts, ports) =
            parse_authority(authority, scheme).map_err(|why| refused(why.to_string()))?;
        if prefix.contains(['?', '#', '*']) {
            return Err(refused("a path prefix has no `?`, `#` or `*`".into()));
        }
        let prefix = normalised_path(prefix).map_err(|why| refused(why.to_string()))?;
        Ok(Self { methods, scheme, hosts, ports, prefix })
    }
}

fn parse_methods(text: &str) -> Result<Vec<String>, String> {
    let methods: Vec<String> = text.split(',').map(str::to_owned).collect();
    let plain = |method: &String| {
        (1..=MAX_METHOD_BYTES).contains(&method.len())
            && method.bytes().all(|byte| byte.is_ascii_uppercase())
    };
    match methods.iter().find(|method| !plain(method)) {
        None => Ok(methods),
        Some(odd) => Err(format!("`{}` is no method in capitals", odd.escape_debug())),
    }
}

fn parse_authority(text: &str, scheme: Scheme) -> Result<(Hosts, Ports), HostError> {
    let (text, any_port) = match text.strip_suffix(":*") {
        Some(host) => (host, true),
        None => (text, false),
    };
    let (hosts, port) = match text.strip_prefix("*.") {
        None => {
            let (host, port) = Host::with_port(text)?;
            (Hosts::One(host), port)
        }
        Some(rest) => match Host::with_port(rest)? {
            (Host::Name(name), port) => (Hosts::Beneath(name), port),
            (Host::Address(_), _) => return Err(HostError::OddNumber),
        },
    };
    match (any_port, port) {
        (true, Some(_)) => Err(HostError::BadPort),
        (true, None) => Ok((hosts, Ports::Any)),
        (false, port) => Ok((hosts, Ports::One(port.unwrap_or(scheme.default_port())))),
    }
}

impl Rule {
    /// Whether the rule allows a request.
    #[must_use]
    pub fn permits(&self, target: &Target) -> bool {
        let method = self.methods.is_empty() || self.methods.contains(&target.method);
        let host = match (&self.hosts, &target.host) {
            (Hosts::One(one), host) => one == host,
            (Hosts::Beneath(parent), Host::Name(name)) => name
                .strip_suffix(parent.as_str())
                .and_then(|labels| labels.strip_suffix('.'))
                .is_some_and(|labels| !labels.is_empty()),
            (Hosts::Beneath(_), Host::Address(_)) => false,
        };
        let port = match self.ports {
            Ports::One(port) => port == target.port,
            Ports::Any => true,
        };
        method && self.scheme == target.scheme && host && port && self.covers(&target.path)
    }

    /// Whether a path lies beneath the prefix: a prefix ends where a part of the path does.
    fn covers(&self, path: &str) -> bool {
        path.strip_prefix(self.prefix.as_str()).is_some_and(|rest| {
            rest.is_empty() || self.prefix.ends_with('/') || rest.starts_with('/')
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.methods.is_empty() {
            write!(f, "{} ", self.methods.join(","))?;
        }
        write!(f, "{}://", self.scheme)?;
        match &self.hosts {
            Hosts::One(host) => host.fmt(f)?,
            Hosts::Beneath(name) => write!(f, "*.{name}")?,
        }
        match self.ports {
            Ports::Any => f.write_str(":*")?,
            Ports::One(port) if port == self.scheme.default_port() => {}
            Ports::One(port) => write!(f, ":{port}")?,
        }
        f.write_str(&self.prefix)
    }
}

/// The requests that are allowed: those that any of its rules permits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct AllowList(Vec<Rule>);

impl TryFrom<Vec<String>> for AllowList {
    type Error = RuleError;
    fn try_from(rules: Vec<String>) -> Result<Self, RuleError> {
        rules.iter().map(|rule| rule.parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl From<AllowList> for Vec<String> {
    fn from(list: AllowList) -> Self {
        list.0.iter().map(Rule::to_string).collect()
    }
}

impl AllowList {
    /// These rules.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// Whether any rule permits a request. An empty list permits none.
    #[must_use]
    pub fn permits(&self, target: &Target) -> bool {
        self.0.iter().any(|rule| rule.permits(target))
    }

    /// Its rules.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.0
    }
}
