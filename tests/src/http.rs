//! Asking a host by HTTP.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use crate::{HostProcess, eventually};

/// The API of a host, asked by one caller.
pub struct Http {
    base: String,
    token: Option<String>,
    agent: ureq::Agent,
}

/// An answer.
pub struct HttpAnswer {
    /// Its status.
    pub status: u16,
    /// Its media type.
    pub content_type: String,
    /// Its body.
    pub body: Vec<u8>,
}

impl HttpAnswer {
    /// Its document, if it came with this status.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn with(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).expect("a document")
    }
}

impl Http {
    /// The API of a host that was told to listen on any port: its log has the address.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn of(host: &HostProcess) -> Self {
        let base = eventually("the API answers", || async {
            let log = host.log();
            let line = log.lines().find(|line| line.contains("the API answers"))?;
            let at = line.find("http://")?;
            line[at..].split_whitespace().next().map(|word| word.trim_matches('"').to_owned())
        })
        .await;
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        Self { base, token: None, agent: config.build().into() }
    }

    /// The same API, asked with a token.
    #[must_use]
    pub fn with(&self, token: &str) -> Self {
        let token = Some(token.to_owned());
        Self { base: self.base.clone(), token, agent: self.agent.clone() }
    }

    /// Where it answers, as `http://ADDRESS:PORT`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Ask.
    ///
    /// # Panics
    /// If there is no answer.
    #[must_use]
    #[track_caller]
    pub fn get(&self, path: &str) -> HttpAnswer {
        self.send("GET", path, "")
    }

    /// Send a document.
    ///
    /// # Panics
    /// If there is no answer.
    #[must_use]
    #[track_caller]
    pub fn post(&self, path: &str, body: &str) -> HttpAnswer {
        self.send("POST", path, body)
    }

    /// Send a document by a method.
    ///
    /// # Panics
    /// If there is no answer.
    #[must_use]
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, body: &str) -> HttpAnswer {
        self.send_as(method, path, None, body.as_bytes().to_vec())
    }

    /// Send a form of several parts.
    ///
    /// # Panics
    /// If there is no answer.
    #[must_use]
    #[track_caller]
    pub fn send_form(&self, path: &str, parts: &[(&str, &[u8])]) -> HttpAnswer {
        const BOUNDARY: &str = "between-these-parts";
        let mut body = Vec::new();
        for (name, bytes) in parts {
            let head = format!(
                "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"; \
                 filename=\"{name}\"\r\n\r\n"
            );
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(bytes);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        let media_type = format!("multipart/form-data; boundary={BOUNDARY}");
        self.send_as("POST", path, Some(&media_type), body)
    }

    /// Send bytes of a media type.
    ///
    /// # Panics
    /// If there is no answer.
    #[must_use]
    #[track_caller]
    pub fn send_as(
        &self,
        method: &str,
        path: &str,
        media_type: Option<&str>,
        body: Vec<u8>,
    ) -> HttpAnswer {
        let uri = format!("{}{path}", self.base);
        let mut request = ureq::http::Request::builder().method(method).uri(uri);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(media_type) = media_type {
            request = request.header("content-type", media_type);
        }
        let request = request.body(body).expect("a request");
        let mut answer = self.agent.run(request).expect("an answer");
        let content_type = answer.headers().get("content-type");
        HttpAnswer {
            status: answer.status().as_u16(),
            content_type: content_type.map_or("", |name| name.to_str().unwrap_or("")).to_owned(),
            body: answer.body_mut().read_to_vec().expect("a body"),
        }
    }
}

/// The status and the body that a Unix socket answers to a look.
///
/// # Panics
/// If there is no answer.
#[must_use]
pub fn ask_socket(socket: &Path, path: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(socket).expect("a socket");
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
    (status.expect("a status"), body)
}
