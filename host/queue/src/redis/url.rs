//! Broker URLs: which servers, how they belong together, who asks and over what.
//!
//! The one grammar for the configuration, the command line and the library. What is wrong
//! with a URL is said without quoting any of it, for any part may hold a password. This
//! module opens no connection and reads no file.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

/// Where Redis listens unless a URL says otherwise.
const REDIS_PORT: u16 = 6379;
/// Where Sentinels listen unless a URL says otherwise.
const SENTINEL_PORT: u16 = 26379;
/// Servers that one URL names at most.
const MAX_SERVERS: usize = 64;

/// The forms of a URL, for messages.
const FORMS: &str = "write redis://[user:password@]host:port[/db], redis+unix:///path, \
                     redis+sentinel://host:port,host:port/primary-name[/db] or \
                     redis+cluster://host:port,host:port; rediss instead of redis is TLS";

/// A parsed URL of a Redis or Valkey deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisUrl {
    pub(super) servers: Servers,
    pub(super) tls: Option<TlsFiles>,
    pub(super) login: Login,
    pub(super) sentinel_login: Login,
    pub(super) db: u32,
    /// Replicas that must have a submission before it counts as accepted.
    pub(super) min_replicas: u32,
}

/// How servers belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Servers {
    One(Address),
    Sentinel { sentinels: Vec<Address>, primary: String },
    Cluster(Vec<Address>),
}

/// Where one server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Address {
    Tcp(String, u16),
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Files that TLS reads. Without a CA of its own, the system's are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TlsFiles {
    pub(super) ca: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

/// Who asks. The password shows in no output.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "***");
        write!(f, "Login({:?}, {password:?})", self.user)
    }
}

/// What the scheme says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    One,
    Unix,
    Sentinel,
    Cluster,
}

fn scheme(text: &str) -> Option<(Kind, bool)> {
    let (family, kind) = text.split_once('+').unwrap_or((text, ""));
    let tls = match family {
        "redis" | "valkey" => false,
        "rediss" | "valkeys" => true,
        "unix" if kind.is_empty() => return Some((Kind::Unix, false)),
        _ => return None,
    };
    match kind {
        "" => Some((Kind::One, tls)),
        "unix" if !tls => Some((Kind::Unix, false)),
        "sentinel" => Some((Kind::Sentinel, tls)),
        "cluster" => Some((Kind::Cluster, tls)),
        _ => None,
    }
}

impl FromStr for RedisUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme_name, rest) = text.split_once("://").ok_or(FORMS)?;
        let (kind, tls) = scheme(scheme_name).ok_or(FORMS)?;
        let (authority, path, query) = split(rest);
        if kind != Kind::Unix && !authority.contains('@') && rest.contains('@') {
            let encoded = "percent-encode `/`, `?`, `#` and `@` in user and password \
                           (%2F, %3F, %23, %40)";
            // A file name after `?` may hold the sign.
            if path.contains('@') || !query.contains('=') {
                return Err(encoded.into());
            }
        }
        let mut url = Self {
            servers: Servers::One(Address::Unix(PathBuf::new())),
            tls: tls.then(TlsFiles::default),
            login: Login::default(),
            sentinel_login: Login::default(),
            db: 0,
            min_replicas: 0,
        };
        let places = url.take_login(authority)?;
        match kind {
            Kind::Unix => url.take_socket(places, path)?,
            Kind::One => {
                let address = match &addresses(places, REDIS_PORT)?[..] {
                    [one] => one.clone(),
                    _ => {
                        return Err(
                            "several servers take redis+sentinel:// or redis+cluster://".into()
                        );
                    }
                };
                url.servers = Servers::One(address);
                url.db = database(path)?;
            }
            Kind::Sentinel => {
                let (primary, db) = path.split_once('/').unwrap_or((path, ""));
                if primary.is_empty() {
                    return Err("the name of the primary is missing: \
                                redis+sentinel://host:port/primary-name"
                        .into());
                }
                url.db = database(db)?;
                let sentinels = addresses(places, SENTINEL_PORT)?;
                url.servers = Servers::Sentinel { sentinels, primary: decoded(primary)? };
            }
            Kind::Cluster => {
                if database(path)? != 0 {
                    return Err("a Cluster has no databases but 0".into());
                }
                url.servers = Servers::Cluster(addresses(places, REDIS_PORT)?);
            }
        }
        url.take_parameters(kind, query)?;
        Ok(url)
    }
}

impl RedisUrl {
    /// Take user and password; what follows are the servers.
    fn take_login<'a>(&mut self, authority: &'a str) -> Result<&'a str, String> {
        let Some((login, places)) = authority.rsplit_once('@') else { return Ok(authority) };
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(decoded(password)?)),
            None => (login, None),
        };
        let user = decoded(user)?;
        self.login = Login { user: Some(user).filter(|user| !user.is_empty()), password };
        Ok(places)
    }

    fn take_socket(&mut self, places: &str, path: &str) -> Result<(), String> {
        if !places.is_empty() || path.is_empty() {
            return Err("a Unix socket is named by an absolute path: redis+unix:///path".into());
        }
        let path = PathBuf::from(format!("/{}", decoded(path)?));
        self.servers = Servers::One(Address::Unix(path));
        Ok(())
    }

    fn take_parameters(&mut self, kind: Kind, query: &str) -> Result<(), String> {
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value)?;
            match (name, kind, &mut self.tls) {
                ("ca", _, Some(tls)) => tls.ca = Some(value.into()),
                ("cert", _, Some(tls)) => tls.cert = Some(value.into()),
                ("key", _, Some(tls)) => tls.key = Some(value.into()),
                ("ca" | "cert" | "key", ..) => {
                    return Err("`ca`, `cert` and `key` belong to TLS: rediss://".into());
                }
                ("min_replicas", ..) => {
                    self.min_replicas =
                        value.parse().map_err(|_| "`min_replicas` is not a small number")?;
                }
                ("db", Kind::Unix, _) => self.db = database(&value)?,
                ("user", Kind::Unix, _) => self.login.user = Some(value),
                ("pass", Kind::Unix, _) => self.login.password = Some(value),
                ("sentinel_user", Kind::Sentinel, _) => self.sentinel_login.user = Some(value),
                ("sentinel_password", Kind::Sentinel, _) => {
                    self.sentinel_login.password = Some(value);
                }
                _ => {
                    return Err("the parameters after `?` are ca, cert, key, min_replicas, for \
                                Sentinels also sentinel_user and sentinel_password, for sockets \
                                db, user and pass"
                        .into());
                }
            }
        }
        match &self.tls {
            Some(TlsFiles { cert, key, .. }) if cert.is_some() != key.is_some() => {
                Err("`cert` and `key` come together".into())
            }
            _ => Ok(()),
        }
    }
}

/// Authority, path without its leading slash, query.
fn split(rest: &str) -> (&str, &str, &str) {
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = before.split_once('/').unwrap_or((before, ""));
    (authority, path, query)
}

fn decoded(text: &str) -> Result<String, String> {
    let bytes = percent_decode_str(text).decode_utf8();
    bytes.map(String::from).map_err(|_| "percent-encoded text is not UTF-8".into())
}

fn database(text: &str) -> Result<u32, String> {
    match text {
        "" => Ok(0),
        text => text.parse().map_err(|_| "the database after `/` is not a number".into()),
    }
}

fn addresses(text: &str, default_port: u16) -> Result<Vec<Address>, String> {
    if text.is_empty() {
        return Err(format!("no server is named; {FORMS}"));
    }
    let all: Vec<&str> = text.split(',').collect();
    if all.len() > MAX_SERVERS {
        return Err(format!("at most {MAX_SERVERS} servers are named in a URL"));
    }
    all.into_iter().map(|one| address(one, default_port)).collect()
}

fn address(text: &str, default_port: u16) -> Result<Address, String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, after) = bracketed.split_once(']').ok_or("a `]` is missing")?;
            (host, after.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err("a host is missing".into());
    }
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0),
        None => Some(default_port),
    };
    let port = port.ok_or("a port is not a number from 1 to 65535")?;
    Ok(Address::Tcp(decoded(host)?, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> RedisUrl {
        text.parse().unwrap_or_else(|reason| panic!("{text}: {reason}"))
    }

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp(host.into(), port)
    }

    #[test]
    fn one_server_is_named_by_host_port_and_database() {
        for (text, address, db) in [
            ("redis://h", tcp("h", 6379), 0),
            ("redis://h/", tcp("h", 6379), 0),
            ("valkey://h:7/3", tcp("h", 7), 3),
            ("rediss://[::1]:7", tcp("::1", 7), 0),
            ("redis://[::1]", tcp("::1", 6379), 0),
            ("redis+unix:///run/r.sock?db=2", Address::Unix("/run/r.sock".into()), 2),
            ("unix:///a%20b", Address::Unix("/a b".into()), 0),
        ] {
            let parsed = url(text);
            assert_eq!((parsed.servers, parsed.db), (Servers::One(address), db), "{text}");
            assert_eq!(parsed.tls.is_some(), text.starts_with("rediss"), "{text}");
        }
    }

    #[test]
    fn sentinels_name_their_primary_and_have_a_login_of_their_own() {
        let parsed =
            url("rediss+sentinel://ann:p%40ss@a,b:7/main/4?sentinel_user=s&sentinel_password=t");
        let sentinels = vec![tcp("a", 26379), tcp("b", 7)];
        assert_eq!(parsed.servers, Servers::Sentinel { sentinels, primary: "main".into() });
        assert_eq!((parsed.db, parsed.login.password.as_deref()), (4, Some("p@ss")));
        assert_eq!(parsed.sentinel_login.user.as_deref(), Some("s"));
        assert!(parsed.tls.is_some());
    }

    #[test]
    fn a_cluster_is_named_by_some_of_its_nodes() {
        let parsed = url("redis+cluster://:secret@a:1,b:2?min_replicas=1");
        assert_eq!(parsed.servers, Servers::Cluster(vec![tcp("a", 1), tcp("b", 2)]));
        assert_eq!((parsed.min_replicas, parsed.login.user), (1, None));
    }

    #[test]
    fn tls_files_are_parameters() {
        let parsed = url("rediss://h?ca=/etc/c@a.pem&cert=/c%26.pem&key=/k.pem");
        let tls = parsed.tls.unwrap();
        assert_eq!(tls.ca.as_deref(), Some("/etc/c@a.pem".as_ref()));
        assert_eq!(tls.cert.as_deref(), Some("/c&.pem".as_ref()));
    }

    #[test]
    fn what_is_wrong_is_said_and_no_secret_shows() {
        for (text, reason) in [
            ("http://h", "redis://"),
            ("redis:h", "redis://"),
            ("rediss+unix:///s", "redis://"),
            ("redis://", "no server"),
            ("redis://:1", "host is missing"),
            ("redis://h:0", "port"),
            ("redis://h:secret", "port"),
            ("redis://h/secret", "database"),
            ("redis://ann:se/secret@h", "percent-encode"),
            ("redis://ann:se?secret@h", "percent-encode"),
            ("redis://ann:se#secret@h:x", "port"),
            ("redis://a,b", "redis+sentinel"),
            ("redis://h?secret=1", "parameters"),
            ("redis://h?ca=/secret", "rediss"),
            ("rediss://h?cert=/secret", "together"),
            ("redis+sentinel://h", "name of the primary"),
            ("redis+cluster://h/1", "databases"),
            ("redis+cluster://h?min_replicas=secret", "min_replicas"),
            ("redis+unix://secret", "absolute path"),
        ] {
            let error = text.parse::<RedisUrl>().unwrap_err();
            assert!(error.contains(reason) && !error.contains("secret"), "{text}: {error}");
        }
        let shown = format!("{:?}", url("redis://ann:secret@h"));
        assert!(shown.contains("ann") && !shown.contains("secret"), "{shown}");
    }
}
