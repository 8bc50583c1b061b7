//! What stands behind the capabilities in a worker: the host, asked over the socket. Each of
//! these speaks for one attempt.

use std::fs::File;
use std::io;
use std::net::TcpStream as StdTcpStream;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bulkhead_core::outbound::Target;
use tokio::net::TcpStream;

use super::link::{Lent, Link};
use crate::service::{
    ConfigSource, KvEntry, KvError, KvPage, KvSpace, SecretError, SecretSource, Services,
};
use crate::worker::Unreached;
use crate::worker::wire::{Answer, Ask, ConnectAsk, Given, KvAsk, Up};
use crate::{HttpAccess, Outbound, ProgressSink, ScratchHome, SecretValue};

/// One attempt's way to its services.
#[derive(Clone)]
pub(super) struct Remote {
    pub(super) link: Arc<Link>,
    pub(super) attempt: u64,
}

impl Remote {
    /// The services of an attempt that was given these.
    pub(super) fn services(&self, given: Given, outbound: &Arc<Outbound>) -> Services {
        let remote = || Arc::new(self.clone());
        Services {
            kv: given.kv.then(|| remote() as Arc<dyn KvSpace>),
            config: given.config.then(|| remote() as Arc<dyn ConfigSource>),
            secrets: given.secrets.then(|| remote() as Arc<dyn SecretSource>),
            http: given.http.then(|| HttpAccess::of_worker(outbound, self.connecting())),
            scratch: given.fs.then(|| ScratchHome::of_worker(self.connecting())),
            calls: None,
        }
    }

    fn connecting(&self) -> Connecting {
        Connecting(self.clone())
    }

    async fn kv(&self, what: KvAsk) -> Option<Answer> {
        self.link.ask(self.attempt, Ask::Kv(what)).await.map(|(answer, ..)| answer)
    }
}

fn away() -> KvError {
    KvError::Unavailable("the store does not answer; a write may have been made".to_owned())
}

impl ConfigSource for Remote {
    fn get(&self, key: &str) -> Option<String> {
        let what = Ask::Config { key: key.to_owned() };
        match self.link.ask_at_once(self.attempt, what)?.0 {
            Answer::Config(value) => value,
            _ => None,
        }
    }
}

#[async_trait]
impl SecretSource for Remote {
    async fn get(&self, name: &str) -> Result<SecretValue, SecretError> {
        let what = Ask::Secret { name: name.to_owned() };
        match self.link.ask(self.attempt, what).await {
            Some((Answer::Secret(value), ..)) => value.map(SecretValue::new),
            _ => Err(SecretError::Unavailable("the host does not answer".to_owned())),
        }
    }
}

#[async_trait]
impl KvSpace for Remote {
    async fn get(&self, key: &str) -> Result<Option<KvEntry>, KvError> {
        match self.kv(KvAsk::Get { key: key.to_owned() }).await {
            Some(Answer::Entry(entry)) => entry,
            _ => Err(away()),
        }
    }

    async fn set(&self, key: &str, value: Vec<u8>, ttl_ms: Option<u64>) -> Result<u64, KvError> {
        match self.kv(KvAsk::Set { key: key.to_owned(), value, ttl_ms }).await {
            Some(Answer::Version(version)) => version,
            _ => Err(away()),
        }
    }

    async fn delete(&self, key: &str) -> Result<bool, KvError> {
        match self.kv(KvAsk::Delete { key: key.to_owned() }).await {
            Some(Answer::Deleted(deleted)) => deleted,
            _ => Err(away()),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<KvPage, KvError> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        match self.kv(KvAsk::List { prefix, after, limit }).await {
            Some(Answer::Page(page)) => page,
            _ => Err(away()),
        }
    }

    async fn increment(&self, key: &str, by: i64, ttl_ms: Option<u64>) -> Result<i64, KvError> {
        match self.kv(KvAsk::Increment { key: key.to_owned(), by, ttl_ms }).await {
            Some(Answer::Sum(sum)) => sum,
            _ => Err(away()),
        }
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<u64>,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> Result<Option<u64>, KvError> {
        let ask = KvAsk::CompareAndSet { key: key.to_owned(), expected, value, ttl_ms };
        match self.kv(ask).await {
            Some(Answer::Swapped(version)) => version,
            _ => Err(away()),
        }
    }
}

/// Where the progress of one task goes.
pub(super) struct RemoteProgress {
    pub(super) link: Arc<Link>,
    pub(super) attempt: u64,
    pub(super) task: u32,
}

impl ProgressSink for RemoteProgress {
    fn report(&self, fraction: f32, message: &str) {
        let (attempt, task, message) = (self.attempt, self.task, message.to_owned());
        self.link.say(&Up::Progress { attempt, task, fraction, message });
    }
}

/// An attempt's way to connections and folders.
#[derive(Clone)]
pub(crate) struct Connecting(Remote);

impl Connecting {
    /// A connection for a request, and the roots by which to secure it.
    pub(crate) async fn connect(
        &self,
        target: &Target,
        within: Duration,
    ) -> Result<(TcpStream, Option<u64>, Lent), (Unreached, String)> {
        let Target { method, scheme, host, port, path } = target;
        let ask = ConnectAsk {
            method: method.clone(),
            scheme: scheme.to_string(),
            authority: format!("{host}:{port}"),
            path: path.clone(),
            within,
        };
        let broken = |why: &str| (Unreached::Unavailable, why.to_owned());
        let answered = self.0.link.ask(self.0.attempt, Ask::Connect(Box::new(ask))).await;
        let (roots, mut descriptors, lent) = match answered {
            Some((Answer::Connected { roots, .. }, descriptors, Some(lent))) => {
                (roots, descriptors, lent)
            }
            Some((Answer::Unreached { reason, why }, ..)) => return Err((reason, why)),
            _ => return Err(broken("the host does not answer")),
        };
        let socket = descriptors.pop().ok_or_else(|| broken("no socket came"))?;
        let stream = adopt(socket).map_err(|error| broken(&error.to_string()))?;
        Ok((stream, roots, lent))
    }

    /// The folders that were granted, the attempt's own first if it has one.
    pub(crate) async fn folders(&self) -> Result<(Option<Lent>, Vec<File>), String> {
        match self.0.link.ask(self.0.attempt, Ask::Folders).await {
            Some((Answer::Folders { .. }, descriptors, own)) => {
                Ok((own, descriptors.into_iter().map(File::from).collect()))
            }
            Some((Answer::NoFolders { why }, ..)) => Err(why),
            _ => Err("the host does not answer".to_owned()),
        }
    }

    /// Tell the operator why a request failed.
    pub(crate) fn note(&self, to: String, why: String) {
        self.0.link.say(&Up::Note { attempt: self.0.attempt, to, why });
    }
}

fn adopt(socket: OwnedFd) -> io::Result<TcpStream> {
    let stream = StdTcpStream::from(socket);
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}
