//! Sending to an address of the operator's by HTTP: exported spans, alerts.
//!
//! One request a connection, with bounds on time and on what comes back. Guests' requests do not
//! go this way: here nothing is held against rules, since the operator wrote the address.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Most bytes of an answer that are read.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Where something is sent: `http://host:port/path` or `https://…`.
#[derive(Clone, PartialEq, Eq)]
pub struct WebAddress {
    is_secured: bool,
    host: String,
    port: u16,
    path: PathAndQuery,
}

impl FromStr for WebAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // What is refused may hold a secret and is not repeated.
        let refused = |why: &str| format!("it is no address to send to: {why}");
        let uri: Uri = text.parse().map_err(|_| refused("write http://HOST/PATH"))?;
        let is_secured = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(refused("it begins with neither http:// nor https://")),
        };
        let authority = uri.authority().ok_or_else(|| refused("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(refused("leave out the user and the password"));
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(refused("it names no host"));
        }
        let port = authority.port_u16().unwrap_or(if is_secured { 443 } else { 80 });
        let path = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        Ok(Self { is_secured, host, port, path })
    }
}

/// Without what follows the host, which may hold a secret.
impl fmt::Display for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secured { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl fmt::Debug for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebAddress({self})")
    }
}

impl WebAddress {
    fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// The whole address.
    pub(crate) fn url(&self) -> String {
        format!("{self}{}", self.path)
    }

    /// The same with a path that ends so.
    pub(crate) fn ending_in(&self, end: &str) -> Self {
        let path = self.path.path().trim_end_matches('/');
        let whole = if path.ends_with(end) { path.to_owned() } else { format!("{path}{end}") };
        let path = whole.parse().unwrap_or_else(|_| self.path.clone());
        Self { path, ..self.clone() }
    }

    /// Send a body by POST; the answer's status and as much of it as is read.
    pub(crate) async fn post(
        &self,
        headers: HeaderMap,
        body: Bytes,
        within: Duration,
    ) -> Result<(StatusCode, Bytes), String> {
        match tokio::time::timeout(within, self.exchange(headers, body)).await {
            Ok(answered) => answered,
            Err(_) => Err(format!("{self}: no answer within {within:?}")),
        }
    }

    /// The same of JSON; an answer that is no success is an error.
    pub(crate) async fn post_json(&self, json: Vec<u8>, within: Duration) -> Result<(), String> {
        let json_type = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, json_type)]);
        match self.post(headers, json.into(), within).await? {
            (status, _) if status.is_success() => Ok(()),
            (status, _) => Err(format!("{self}: it answered {status}")),
        }
    }

    async fn exchange(
        &self,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), String> {
        let broken = |error: &dyn fmt::Display| format!("{self}: {error}");
        let tcp = TcpStream::connect((self.host.as_str(), self.port));
        let tcp = tcp.await.map_err(|error| broken(&error))?;
        if !self.is_secured {
            return self.over(tcp, headers, body).await;
        }
        let name = ServerName::try_from(self.host.clone()).map_err(|error| broken(&error))?;
        let tls = TlsConnector::from(tls_config()).connect(name, tcp);
        self.over(tls.await.map_err(|error| broken(&error))?, headers, body).await
    }

    async fn over(
        &self,
        wire: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), String> {
        let broken = |error: &dyn fmt::Display| format!("{self}: {error}");
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(wire)).await.map_err(|error| broken(&error))?;
        let connection = tokio::spawn(connection);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from(self.path.clone());
        *request.headers_mut() = headers;
        let host = HeaderValue::try_from(self.authority()).map_err(|error| broken(&error))?;
        request.headers_mut().insert(HOST, host);
        let answer = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
        connection.abort();
        Ok((status, body.map(|body| body.to_bytes()).unwrap_or_default()))
    }
}

/// TLS by the system's roots.
fn tls_config() -> Arc<ClientConfig> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let make = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions();
        config.map(|config| config.with_root_certificates(roots).with_no_client_auth())
    };
    if let Some(known) = CONFIG.get() {
        return known.clone();
    }
    match make() {
        Ok(config) => CONFIG.get_or_init(|| Arc::new(config)).clone(),
        // The provider has the default versions; without them nothing is believed.
        Err(_) => Arc::new(
            ClientConfig::builder()
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_without_their_path() {
        for (text, shown, url) in [
            ("http://a/b?c", "http://a:80", "http://a:80/b?c"),
            ("https://a:8443", "https://a:8443", "https://a:8443/"),
            ("http://[::1]:4318/x", "http://[::1]:4318", "http://[::1]:4318/x"),
        ] {
            let address: WebAddress = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), address.url().as_str()), (shown, url));
        }
        for refused in ["", "a", "/a", "ftp://a", "http://", "http://user:pw@a/", "http://a b"] {
            let error = refused.parse::<WebAddress>().unwrap_err();
            assert!(!error.contains("pw"), "{error}");
        }
    }

    #[test]
    fn an_end_of_a_path_is_there_once() {
        for (text, path) in [
            ("http://a", "/v1/traces"),
            ("http://a/", "/v1/traces"),
            ("http://a/otlp/", "/otlp/v1/traces"),
            ("http://a/v1/traces", "/v1/traces"),
        ] {
            let address: WebAddress = text.parse().unwrap();
            assert_eq!(address.ending_in("/v1/traces").path.as_str(), path);
        }
    }
}
