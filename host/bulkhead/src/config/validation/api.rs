//! `[api]`: where and how a host answers by HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use bulkhead_api::TlsFiles;
use bulkhead_api::auth::{Anonymous, GuardOptions, Scope};
use bulkhead_api::v1::ApiOptions;
use bulkhead_core::Rate;

use super::{Check, GIB, HOUR, KIB, SECOND};
use crate::config::api::ApiSettings;
use crate::config::raw::RawApi;

impl Check<'_> {
    pub(super) fn api(&mut self, raw: &RawApi) -> ApiSettings {
        self.within(&["api", "waiters"], raw.waiters, 1..=1_000_000);
        self.within(&["api", "connections"], raw.connections, 1..=1_000_000);
        let body = self.size(&["api", "body"], raw.body, KIB..=GIB);
        let options = ApiOptions {
            body_bytes: usize::try_from(body).unwrap_or(usize::MAX),
            timeout: self.span(&["api", "timeout"], raw.timeout, SECOND..=HOUR),
            longest_wait: self.span(
                &["api", "longest_wait"],
                raw.longest_wait,
                Duration::ZERO..=HOUR,
            ),
            waiters: raw.waiters,
        };
        let listen = raw.listen.as_deref().and_then(|text| self.listen(text));
        let tls = raw.tls.as_ref().map(|tls| {
            for (key, path) in [("certificate", &tls.certificate), ("key", &tls.key)] {
                if path.is_empty() {
                    self.problem(&["api", "tls", key], "it is missing; name a PEM file");
                }
            }
            TlsFiles {
                certificate: self.path(&["api", "tls", "certificate"], &tls.certificate),
                key: self.path(&["api", "tls", "key"], &tls.key),
                client_ca: tls
                    .client_ca
                    .as_ref()
                    .map(|path| self.path(&["api", "tls", "client_ca"], path)),
            }
        });
        let anonymous = self.anonymous(&raw.anonymous);
        if anonymous != Anonymous::Nothing && listen.is_some_and(|at| !at.ip().is_loopback()) {
            self.problem(
                &["api", "anonymous"],
                "it lets in who asks from the same machine, and `api.listen` is open to others: a \
                 proxy on this machine would let everybody in; listen on 127.0.0.1, or use tokens",
            );
        }
        if raw.socket.as_deref() == Some("") {
            self.problem(&["api", "socket"], "it is empty; name a file or leave it out");
        }
        for origin in &raw.cors {
            if !is_origin(origin) {
                let message = format!(
                    "`{}` is no origin; write scheme, host and port as in https://ops.example.com",
                    origin.escape_debug()
                );
                self.problem(&["api", "cors"], message);
            }
        }
        ApiSettings {
            listen,
            socket: raw.socket.as_ref().map(|path| self.path(&["api", "socket"], path)),
            tls,
            guard: GuardOptions {
                anonymous,
                rate: raw
                    .rate
                    .as_deref()
                    .and_then(|rate| self.parsed::<Rate>(&["api", "rate"], rate)),
            },
            options,
            connections: raw.connections,
            cors: raw.cors.clone(),
        }
    }

    fn listen(&mut self, text: &str) -> Option<SocketAddr> {
        let named = text.replacen("localhost:", "127.0.0.1:", 1);
        let address = named.parse().ok();
        if address.is_none() {
            let message = format!(
                "`{}` is no address; write an IP address and a port, such as 127.0.0.1:8080 or \
                 [::]:8080",
                text.escape_debug()
            );
            self.problem(&["api", "listen"], message);
        }
        address
    }

    fn anonymous(&mut self, scopes: &[String]) -> Anonymous {
        let mut found = Vec::new();
        for scope in scopes {
            match self.parsed::<Scope>(&["api", "anonymous"], scope) {
                Some(scope) if !found.contains(&scope) => found.push(scope),
                _ => {}
            }
        }
        if found.is_empty() { Anonymous::Nothing } else { Anonymous::OnLoopback(found) }
    }
}

fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty()
            && rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@*".contains(&byte))
    })
}
