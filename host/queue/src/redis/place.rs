//! Where a queue's primary is: fixed, as the Sentinels say, or by the Cluster's slots.
//!
//! What is known is kept as a view that is replaced as a whole. It is asked for again only
//! when something went wrong with it, by one asker at a time, so that a failover costs the
//! Sentinels or nodes one question for each process and not one for each command.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::RwLock;
use redis::{ErrorKind, RedisResult, ServerErrorKind, Value};

use super::dial::Dial;
use super::failure::{refused, unreachable};
use super::slot::SLOTS;
use super::url::{Address, Servers};

/// Who is the primary of which slots.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) generation: u64,
    /// First slot, last slot, primary; in order.
    ranges: Vec<(u16, u16, Address)>,
}

impl View {
    pub(super) fn owner(&self, slot: u16) -> Option<&Address> {
        let at = self.ranges.partition_point(|(_, last, _)| *last < slot);
        self.ranges.get(at).filter(|(first, _, _)| *first <= slot).map(|(_, _, owner)| owner)
    }

    pub(super) fn primaries(&self) -> Vec<Address> {
        let mut all: Vec<Address> = self.ranges.iter().map(|(_, _, owner)| owner.clone()).collect();
        all.sort();
        all.dedup();
        all
    }
}

pub(super) struct Place {
    servers: Servers,
    view: RwLock<Arc<View>>,
    asking: tokio::sync::Mutex<()>,
    /// Whom to ask first, moved on with each question so that no node is trusted alone.
    turn: AtomicUsize,
}

impl Place {
    pub(super) fn new(servers: Servers) -> Self {
        let ranges = match &servers {
            Servers::One(address) => vec![(0, SLOTS - 1, address.clone())],
            _ => Vec::new(),
        };
        let view = RwLock::new(Arc::new(View { generation: 0, ranges }));
        Self { servers, view, asking: tokio::sync::Mutex::new(()), turn: AtomicUsize::new(0) }
    }

    pub(super) fn servers(&self) -> &Servers {
        &self.servers
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.servers, Servers::Cluster(_))
    }

    pub(super) fn view(&self) -> Arc<View> {
        self.view.read().clone()
    }

    /// Ask again unless somebody did since `seen`. `hint` is a node that should know.
    pub(super) async fn ask_again(
        &self,
        dial: &Dial,
        seen: &View,
        hint: Option<Address>,
    ) -> RedisResult<()> {
        let _asking = self.asking.lock().await;
        let generation = self.view().generation;
        if generation != seen.generation {
            return Ok(());
        }
        let ranges = match &self.servers {
            Servers::One(_) => return Ok(()),
            Servers::Sentinel { sentinels, primary } => {
                vec![(0, SLOTS - 1, ask_sentinels(dial, sentinels, primary).await?)]
            }
            Servers::Cluster(seeds) => self.ask_nodes(dial, seeds, hint).await?,
        };
        *self.view.write() = Arc::new(View { generation: generation + 1, ranges });
        Ok(())
    }

    async fn ask_nodes(
        &self,
        dial: &Dial,
        seeds: &[Address],
        hint: Option<Address>,
    ) -> RedisResult<Vec<(u16, u16, Address)>> {
        let mut nodes = self.view().primaries();
        nodes.extend(seeds.iter().cloned());
        nodes.sort();
        nodes.dedup();
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % nodes.len().max(1);
        nodes.rotate_left(first);
        nodes.splice(0..0, hint);
        let mut failure = unreachable("no node is known".into());
        for node in nodes {
            match slots_of(dial, &node).await {
                Ok(ranges) if !ranges.is_empty() => return Ok(ranges),
                Ok(_) => failure = unreachable(format!("{node}: no slot is assigned yet")),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

/// What one node knows of the Cluster.
async fn slots_of(dial: &Dial, node: &Address) -> RedisResult<Vec<(u16, u16, Address)>> {
    let reply = dial.link(node).await?.send(redis::cmd("CLUSTER").arg("SLOTS")).await;
    let reply = reply.map_err(|error| match error.kind() {
        ErrorKind::Server(ServerErrorKind::ResponseError) => refused(format!(
            "{node}: this server is not part of a Cluster; name it with redis:// ({error})"
        )),
        _ => error,
    })?;
    read_slots(node, reply)
        .ok_or_else(|| (ErrorKind::Parse, "CLUSTER SLOTS has an unknown form").into())
}

pub(super) fn read_slots(node: &Address, reply: Value) -> Option<Vec<(u16, u16, Address)>> {
    let Value::Array(rows) = reply else { return None };
    let mut ranges = Vec::with_capacity(rows.len());
    for row in rows {
        let Value::Array(row) = row else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = &row[..] else {
            return None;
        };
        let [host, Value::Int(port), ..] = &primary[..] else { return None };
        let host = match host {
            Value::BulkString(host) if !host.is_empty() && host != b"?" => {
                String::from_utf8(host.clone()).ok()?
            }
            // The node does not know its own name: it is the one that was asked.
            _ => match node {
                Address::Tcp(host, _) => host.clone(),
                Address::Unix(_) => return None,
            },
        };
        let owner = Address::Tcp(host, u16::try_from(*port).ok()?);
        ranges.push((u16::try_from(*first).ok()?, u16::try_from(*last).ok()?, owner));
    }
    ranges.sort();
    Some(ranges)
}

/// Ask all Sentinels at once and take the first primary named that is one.
async fn ask_sentinels(dial: &Dial, sentinels: &[Address], name: &str) -> RedisResult<Address> {
    let mut asked: FuturesUnordered<_> = sentinels
        .iter()
        .map(|sentinel| async move {
            let named = primary_of(dial, sentinel, name).await?;
            match named {
                Some(address) => is_primary(dial, &address).await.map(|is| is.then_some(address)),
                None => Err(refused(format!("{sentinel} knows no primary named `{name}`"))),
            }
        })
        .collect();
    let mut failure = None;
    while let Some(answer) = asked.next().await {
        match answer {
            Ok(Some(address)) => return Ok(address),
            Ok(None) => failure = Some(unreachable(format!("`{name}` has no primary just now"))),
            // A Sentinel that cannot be reached says less than one that answered.
            Err(error) if failure.is_none() || error.kind() != ErrorKind::Io => {
                failure = Some(error);
            }
            Err(_) => {}
        }
    }
    Err(failure.unwrap_or_else(|| unreachable("no Sentinel is named".into())))
}

async fn primary_of(dial: &Dial, sentinel: &Address, name: &str) -> RedisResult<Option<Address>> {
    let mut question = redis::cmd("SENTINEL");
    question.arg("get-master-addr-by-name").arg(name);
    let reply =
        dial.sentinel(sentinel).await?.send(&question).await.map_err(|error| {
            match error.kind() {
                ErrorKind::Server(ServerErrorKind::ResponseError) => refused(format!(
                    "{sentinel} is no Sentinel; name a server itself with redis:// ({error})"
                )),
                _ => error,
            }
        })?;
    let unknown = || (ErrorKind::Parse, "a Sentinel's answer has an unknown form");
    match reply {
        Value::Nil => Ok(None),
        Value::Array(parts) => match &parts[..] {
            [Value::BulkString(host), Value::BulkString(port)] => {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
                let port = text(port).and_then(|port| port.parse().ok());
                let address = text(host).zip(port).map(|(host, port)| Address::Tcp(host, port));
                address.map(Some).ok_or_else(|| unknown().into())
            }
            _ => Err(unknown().into()),
        },
        _ => Err(unknown().into()),
    }
}

/// A Sentinel may not know yet what happened; the server itself does.
async fn is_primary(dial: &Dial, address: &Address) -> RedisResult<bool> {
    let role = dial.link(address).await?.send(&redis::cmd("ROLE")).await?;
    let Value::Array(role) = role else { return Ok(false) };
    Ok(matches!(role.first(), Some(Value::BulkString(name)) if name == b"master"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(first: i64, last: i64, host: Value, port: i64) -> Value {
        let primary = Value::Array(vec![host, Value::Int(port), Value::Nil]);
        Value::Array(vec![Value::Int(first), Value::Int(last), primary])
    }

    #[test]
    fn slots_have_owners_and_gaps_have_none() {
        let name = |host: &str| Value::BulkString(host.into());
        let reply = Value::Array(vec![
            row(9, 20, name("b"), 2),
            row(0, 5, Value::Nil, 1),
            row(21, 30, name("b"), 2),
        ]);
        let asked = Address::Tcp("a".into(), 7);
        let view = View { generation: 0, ranges: read_slots(&asked, reply).unwrap() };
        let owner = |slot| view.owner(slot).map(ToString::to_string);
        assert_eq!(owner(5).as_deref(), Some("a:1"));
        assert_eq!(owner(6), None);
        assert_eq!(owner(9).as_deref(), Some("b:2"));
        assert_eq!(owner(30).as_deref(), Some("b:2"));
        assert_eq!(owner(31), None);
        assert_eq!(view.primaries().len(), 2);
    }

    #[test]
    fn strange_answers_are_refused() {
        let asked = Address::Tcp("a".into(), 7);
        for reply in [
            Value::Okay,
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![row(-1, 5, Value::Nil, 1)]),
            Value::Array(vec![row(0, 5, Value::Nil, 70_000)]),
        ] {
            assert!(read_slots(&asked, reply).is_none());
        }
    }
}
