//! The blocking wake-up: a connection that waits on the markers of all lines, in a Cluster
//! one for each queue's slot.
//!
//! A connection rests here between waits. A wait takes it out and puts it back only after
//! its answer, so that a dropped wait drops its connection and the server stops blocking for
//! it. What a dropped wait had popped by then is lost, which costs the longest sleep of a
//! host.

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use redis::{Cmd, RedisResult, Value};

use super::connection::{BLOCKED, Connection};
use super::dial::Link;
use super::failure::unreachable;
use super::url::Address;
use crate::error::QueueError;

/// How long the other queues' pops may take to end once one has news.
const RECALL: Duration = Duration::from_millis(100);

#[derive(Default)]
pub(super) struct Wake {
    /// By slot; one for each queue waited for at most.
    resting: Mutex<HashMap<u16, Waiter>>,
}

/// A connection that waits.
struct Waiter {
    server: Address,
    link: Link,
    /// The server's number for this connection, by which another can end its wait.
    id: Value,
}

impl Wake {
    /// Wait for one of the markers, at most `timeout`.
    pub(super) async fn pop(
        &self,
        connection: &Connection,
        keys: Vec<String>,
        timeout: Duration,
    ) -> Result<bool, QueueError> {
        if keys.is_empty() {
            tokio::time::sleep(timeout).await;
            return Ok(false);
        }
        let lots = connection.lots(keys, String::as_str);
        let is_alone = lots.len() == 1;
        let blocked = Mutex::new(HashMap::new());
        let mut waits: FuturesUnordered<_> = lots
            .iter()
            .map(|(slot, keys)| {
                let blocked = (!is_alone).then_some(&blocked);
                self.wait(connection, *slot, keys, timeout, blocked)
            })
            .collect();
        let mut failure = None;
        while let Some(heard) = waits.next().await {
            match heard {
                Ok(true) => {
                    let rest = async {
                        if recall(connection, &blocked).await {
                            while waits.next().await.is_some() {}
                        }
                    };
                    let _late = tokio::time::timeout(RECALL, rest).await;
                    return Ok(true);
                }
                Ok(false) => {}
                // A queue whose server is away does not keep the others from waiting.
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(false), |error| Err(error.into()))
    }

    async fn wait(
        &self,
        connection: &Connection,
        slot: u16,
        keys: &[String],
        timeout: Duration,
        blocked: Option<&Mutex<HashMap<u16, (Address, Value)>>>,
    ) -> RedisResult<bool> {
        let waiter = self.waiter(connection, slot, blocked.is_some()).await?;
        if let Some(blocked) = blocked {
            blocked.lock().insert(slot, (waiter.server.clone(), waiter.id.clone()));
        }
        let seconds = timeout.as_secs_f64().max(0.01);
        let mut command = Cmd::with_capacity(keys.len() + 2, 64);
        command.arg("BLPOP").arg(keys).arg(format!("{seconds:.3}"));
        // The server answers by itself after `timeout`; a silent one is given up on.
        let reply = match tokio::time::timeout(timeout + BLOCKED, waiter.link.send(&command)).await
        {
            Ok(reply) => reply,
            Err(_) => Err(unreachable(format!("{}: no answer to a blocking pop", waiter.server))),
        };
        if let Some(blocked) = blocked {
            blocked.lock().remove(&slot);
        }
        match reply {
            Ok(reply) => {
                self.resting.lock().insert(slot, waiter);
                Ok(reply != Value::Nil)
            }
            Err(error) => {
                connection.doubt(slot, &waiter.server).await;
                Err(error)
            }
        }
    }

    /// The resting connection of a slot if it still leads to the slot's primary, or a new one.
    async fn waiter(
        &self,
        connection: &Connection,
        slot: u16,
        is_numbered: bool,
    ) -> RedisResult<Waiter> {
        let server = connection.owner(slot).await?;
        let rested = self.resting.lock().remove(&slot);
        if let Some(waiter) = rested
            && waiter.server == server
            && !waiter.link.is_over()
            && (waiter.id != Value::Nil || !is_numbered)
        {
            return Ok(waiter);
        }
        let link = match connection.dial.waiting_link(&server).await {
            Ok(link) => link,
            Err(error) => {
                connection.doubt(slot, &server).await;
                return Err(error);
            }
        };
        let id = match is_numbered {
            true => link.send(redis::cmd("CLIENT").arg("ID")).await?,
            false => Value::Nil,
        };
        Ok(Waiter { server, link, id })
    }
}

/// End the pops that still block, so that their connections can rest and no marker is popped
/// for nobody. Where this fails, the waits are dropped with their connections.
async fn recall(connection: &Connection, blocked: &Mutex<HashMap<u16, (Address, Value)>>) -> bool {
    let blocked: Vec<(Address, Value)> = blocked.lock().values().cloned().collect();
    let mut asked: FuturesUnordered<_> = blocked
        .iter()
        .filter_map(|(server, id)| {
            let Value::Int(id) = id else { return None };
            let mut command = redis::cmd("CLIENT");
            command.arg("UNBLOCK").arg(id);
            Some(async move { connection.send_to(server, &command).await })
        })
        .collect();
    while let Some(answer) = asked.next().await {
        if answer.is_err() {
            return false;
        }
    }
    true
}
