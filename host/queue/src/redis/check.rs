//! Whether the servers are ones that keep tasks, and whether the user may use them.
//!
//! Every primary is asked. What is certainly wrong is an error; what may lose tasks, and
//! what the user is not allowed to find out, is a warning.

use std::collections::BTreeSet;

use redis::{ErrorKind, RedisResult, ServerErrorKind, Value};

use super::connection::Connection;
use super::url::{Address, Servers};
use super::{RedisBroker, rights, script};
use crate::error::QueueError;

/// The oldest servers that have all the commands the scripts use.
const OLDEST_REDIS: (u32, u32) = (6, 2);
const OLDEST_VALKEY: (u32, u32) = (7, 2);

/// Warnings, each once.
pub(super) async fn check(broker: &RedisBroker) -> Result<Vec<String>, QueueError> {
    let connection = &broker.connection;
    let mut warnings = BTreeSet::new();
    let primaries = connection.place.view().primaries();
    for server in &primaries {
        let found = look_at(connection, server).await?;
        let place = if primaries.len() > 1 { format!("{server}: ") } else { String::new() };
        warnings.extend(found.into_iter().map(|warning| format!("{place}{warning}")));
    }
    let sources = broker.scripts.sources();
    rights::require(connection, &broker.namespace, &sources).await?;
    Ok(warnings.into_iter().collect())
}

/// The warnings of one server.
async fn look_at(connection: &Connection, server: &Address) -> Result<Vec<String>, QueueError> {
    let info = permitted(connection.send_to(server, &redis::cmd("INFO")).await)?;
    let Some(info) = info else {
        return Ok(vec![
            "version, eviction policy and persistence were not checked: the user may not call \
             INFO"
                .into(),
        ]);
    };
    let info = String::from_utf8_lossy(&script::bytes(info)?).into_owned();
    let facts = Facts(&info);
    facts.supported(connection.place.servers()).map_err(|reason| {
        QueueError::Refused(format!("the server at {server} cannot be used: {reason}"))
    })?;
    let mut warnings = facts.dangers(connection.min_replicas());
    if facts.has("aof_enabled", "1") {
        match setting(connection, server, "appendfsync").await? {
            Some(policy) if policy == "no" => warnings.push(
                "Redis may lose tasks when its machine fails: appendfsync is `no`; set \
                 `everysec` or `always`"
                    .into(),
            ),
            Some(_) => {}
            None => warnings
                .push("appendfsync was not checked: the user may not call CONFIG GET".into()),
        }
    }
    if matches!(connection.place.servers(), Servers::Sentinel { .. })
        && setting(connection, server, "min-replicas-to-write").await?.as_deref() == Some("0")
    {
        warnings.push(
            "a primary that is cut off from its replicas goes on accepting tasks, which a \
             failover throws away: set `min-replicas-to-write 1`"
                .into(),
        );
    }
    Ok(warnings)
}

/// A setting's value, if the user may know it and there is one.
async fn setting(
    connection: &Connection,
    server: &Address,
    name: &str,
) -> Result<Option<String>, QueueError> {
    let reply = connection.send_to(server, redis::cmd("CONFIG").arg("GET").arg(name)).await;
    match permitted(reply)? {
        Some(reply) => script::array(reply)?.pop().map(script::text).transpose(),
        None => Ok(None),
    }
}

/// The reply, or nothing where the command is forbidden or, as some services do, unknown.
fn permitted(reply: RedisResult<Value>) -> Result<Option<Value>, QueueError> {
    match reply {
        Ok(value) => Ok(Some(value)),
        Err(error) => match error.kind() {
            ErrorKind::Server(ServerErrorKind::NoPerm | ServerErrorKind::ResponseError) => Ok(None),
            _ => Err(error.into()),
        },
    }
}

/// What INFO says.
struct Facts<'a>(&'a str);

impl Facts<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    fn has(&self, name: &str, value: &str) -> bool {
        self.get(name) == Some(value)
    }

    /// Whether this server can be used, in the way it was named.
    fn supported(&self, servers: &Servers) -> Result<(), String> {
        let (name, version, oldest) = match self.get("valkey_version") {
            Some(version) => ("Valkey", version, OLDEST_VALKEY),
            None => ("Redis", self.get("redis_version").unwrap_or("0"), OLDEST_REDIS),
        };
        if numbers(version) < oldest {
            return Err(format!(
                "it is {name} {}; Bulkhead needs Redis {}.{} or later, or Valkey {}.{} or later",
                version.escape_debug(),
                OLDEST_REDIS.0,
                OLDEST_REDIS.1,
                OLDEST_VALKEY.0,
                OLDEST_VALKEY.1
            ));
        }
        let mode = self.get("redis_mode").or(self.get("server_mode"));
        match (servers, mode) {
            (Servers::One(_) | Servers::Sentinel { .. }, Some("cluster")) => {
                Err("it is a node of a Cluster; write redis+cluster://".into())
            }
            (Servers::One(_), _) if self.has("role", "slave") => {
                Err("it is a read-only replica; name its primary".into())
            }
            _ => Ok(()),
        }
    }

    /// How this server may lose tasks.
    fn dangers(&self, min_replicas: u32) -> Vec<String> {
        let mut dangers = Vec::new();
        let policy = self.get("maxmemory_policy").unwrap_or("noeviction");
        if self.get("maxmemory").is_some_and(|bytes| bytes != "0") && policy != "noeviction" {
            dangers.push(format!(
                "Redis may evict tasks: maxmemory-policy is `{}`; set it to `noeviction`",
                policy.escape_debug()
            ));
        }
        if !self.has("aof_enabled", "1") {
            dangers.push(
                "Redis may lose tasks when it restarts: appendonly is off; set `appendonly yes`"
                    .into(),
            );
        }
        let replicas = self.get("connected_slaves").and_then(|n| n.parse().ok()).unwrap_or(0);
        if replicas < min_replicas {
            dangers.push(format!(
                "no submission can be confirmed: `min_replicas` is {min_replicas}, but {replicas} \
                 replicas are connected"
            ));
        }
        dangers
    }
}

fn numbers(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Servers {
        Servers::One(Address::Tcp("h".into(), 1))
    }

    #[test]
    fn old_servers_are_refused_by_their_own_numbers() {
        for (info, is_supported) in [
            ("redis_version:6.2.0\r\n", true),
            ("redis_version:6.0.16\r\n", false),
            ("redis_version:7.0.15\r\n", true),
            ("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n", true),
            ("redis_version:7.2.4\r\nvalkey_version:7.0.0\r\n", false),
            ("", false),
        ] {
            assert_eq!(Facts(info).supported(&one()).is_ok(), is_supported, "{info}");
        }
    }

    #[test]
    fn a_server_named_as_what_it_is_not_is_refused() {
        let node = Facts("redis_version:7.0.0\r\nredis_mode:cluster\r\nrole:master\r\n");
        assert!(node.supported(&one()).unwrap_err().contains("redis+cluster"));
        assert!(node.supported(&Servers::Cluster(Vec::new())).is_ok());
        let replica = Facts("redis_version:7.0.0\r\nredis_mode:standalone\r\nrole:slave\r\n");
        assert!(replica.supported(&one()).unwrap_err().contains("replica"));
    }

    #[test]
    fn dangers_are_told_with_their_cure() {
        let info = "maxmemory:1000\r\nmaxmemory_policy:allkeys-lru\r\naof_enabled:0\r\n\
                    connected_slaves:1\r\n";
        let dangers = Facts(info).dangers(2).join("\n");
        for cure in ["noeviction", "appendonly yes", "min_replicas"] {
            assert!(dangers.contains(cure), "{dangers}");
        }
        let safe = "maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\naof_enabled:1\r\n";
        assert!(Facts(safe).dangers(0).is_empty());
    }
}
