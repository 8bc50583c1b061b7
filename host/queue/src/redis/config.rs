//! What a connection to Redis is made of.

use std::time::Duration;

use super::RedisUrl;

/// How to reach Redis. Its debug form has no password in it.
#[derive(Clone)]
pub struct RedisConfig {
    /// Which servers, as [`RedisUrl`] reads it: one, behind Sentinels, or a Cluster.
    pub url: String,
    /// Prefix of all keys, so that several systems can share one server.
    pub namespace: String,
    /// How long one command may take before it counts as failed.
    pub response_timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
}

impl std::fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { url, namespace, response_timeout, connect_timeout } = self;
        // What is wrong with a URL is said without any of it, and so is its debug form.
        f.debug_struct("RedisConfig")
            .field("url", &url.parse::<RedisUrl>())
            .field("namespace", namespace)
            .field("response_timeout", response_timeout)
            .field("connect_timeout", connect_timeout)
            .finish()
    }
}

impl RedisConfig {
    /// This server, the namespace `bulkhead`, 5 s for commands and 2 s to connect.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            namespace: "bulkhead".into(),
            response_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_in_what_is_shown_of_a_configuration() {
        for url in ["redis://ann:hush@h:1", "redis+sentinel://h/p?sentinel_password=hush", "hush@"]
        {
            let shown = format!("{:?}", RedisConfig::new(url));
            assert!(!shown.contains("hush") && shown.contains("bulkhead"), "{shown}");
        }
    }
}
