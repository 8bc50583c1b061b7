//! One multiplexed connection for all commands, made again when it breaks.

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Cmd, Value};

use super::{RedisBroker, RedisConfig, script};
use crate::error::QueueError;

/// The oldest Redis that has all the commands the scripts use.
const OLDEST: (u32, u32) = (6, 2);

pub(super) struct Connection(ConnectionManager);

impl Connection {
    pub(super) async fn open(
        client: &redis::Client,
        config: &RedisConfig,
    ) -> Result<Self, QueueError> {
        // One retry within the library: callers have a backoff of their own and say
        // in health and metrics that they use it.
        let manager_config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(config.response_timeout))
            .set_connection_timeout(Some(config.connect_timeout))
            .set_number_of_retries(1)
            .set_max_delay(std::time::Duration::from_millis(200));
        let manager = ConnectionManager::new_with_config(client.clone(), manager_config).await?;
        Ok(Self(manager))
    }

    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, QueueError> {
        let mut connection = self.0.clone();
        let value = connection.send_packed_command(command).await?;
        value.extract_error().map_err(QueueError::from)
    }

    pub(super) async fn send_raw(&self, command: &Cmd) -> redis::RedisResult<Value> {
        let mut connection = self.0.clone();
        connection.send_packed_command(command).await?.extract_error()
    }
}

/// Whether the server is one that keeps tasks: its version, its eviction policy, its
/// persistence. Returns warnings; an unsupported version is an error.
pub(super) async fn check(broker: &RedisBroker) -> Result<Vec<String>, QueueError> {
    let info = broker.run(redis::cmd("INFO").arg("server")).await?;
    let info = String::from_utf8_lossy(&script::bytes(info)?).into_owned();
    let version = field(&info, "redis_version:").unwrap_or("0");
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if found < OLDEST {
        return Err(QueueError::Refused(format!(
            "this server is Redis {version}; Bulkhead needs {}.{} or later, or Valkey",
            OLDEST.0, OLDEST.1
        )));
    }
    let mut warnings = Vec::new();
    let memory = broker.run(redis::cmd("INFO").arg("memory")).await?;
    let memory = String::from_utf8_lossy(&script::bytes(memory)?).into_owned();
    let policy = field(&memory, "maxmemory_policy:").unwrap_or("noeviction");
    let bounded = field(&memory, "maxmemory:").is_some_and(|bytes| bytes != "0");
    if bounded && policy != "noeviction" {
        warnings.push(format!(
            "Redis may evict tasks: maxmemory-policy is `{policy}`; set it to `noeviction`"
        ));
    }
    let persistence = broker.run(redis::cmd("INFO").arg("persistence")).await?;
    let persistence = String::from_utf8_lossy(&script::bytes(persistence)?).into_owned();
    if field(&persistence, "aof_enabled:") != Some("1") {
        warnings.push(
            "Redis may lose tasks when it restarts: appendonly is off; set `appendonly yes`".into(),
        );
    }
    Ok(warnings)
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}
