//! The Redis server that is measured on, outside the clock: erasing it before a
//! run and looking at what a run left behind.

use std::time::Duration;

use anyhow::{Context, Result};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};

/// A connection that waits long enough for a script over a thousand tasks on a
/// busy machine; the client's default is half a second.
pub(crate) async fn connect(url: &str) -> Result<ConnectionManager> {
    let patience =
        ConnectionManagerConfig::new().set_response_timeout(Some(Duration::from_secs(30)));
    redis::Client::open(url)
        .with_context(|| format!("`{url}` is not the URL of a Redis server"))?
        .get_connection_manager_with_config(patience)
        .await
        .with_context(|| format!("cannot connect to {url}: is the server running?"))
}

/// Deletes everything on the server.
pub(crate) async fn erase(url: &str) -> Result<()> {
    let mut connection = connect(url).await?;
    redis::cmd("FLUSHALL")
        .query_async::<()>(&mut connection)
        .await
        .with_context(|| format!("cannot erase {url}"))
}
