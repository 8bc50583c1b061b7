//! A primary, its replicas and the Sentinels that watch them, for one test.

use bulkhead_queue::{RedisBroker, RedisConfig};

use crate::process::{Process, Program, basics, until};
use crate::redis_server::Persistence;

/// What the Sentinels call the primary.
const NAME: &str = "main";
const SENTINELS: usize = 3;
/// How long a primary may be silent before a failover while the group is watched.
const DOWN_AFTER_MS: u32 = 500;
/// The same while it is not. A server or Sentinel that is starved of processor time seems to be
/// down, and no test wants that failover.
const PATIENT_MS: u32 = 3_600_000;
/// How late a Sentinel may be before it does nothing for half a minute, in milliseconds: never.
const LATE_MS: &str = "3600000";

/// Three servers, one of them the primary, and three Sentinels.
pub struct SentinelGroup {
    servers: Vec<Process>,
    sentinels: Vec<Process>,
}

impl SentinelGroup {
    /// Start one primary, two replicas and three Sentinels, and wait until they know each
    /// other. Nothing fails over before [`Self::watch`] or [`Self::fail_over`].
    ///
    /// # Panics
    /// If they do not start.
    #[must_use]
    pub fn start(persistence: Persistence, arguments: &[&str]) -> Self {
        let server = |replica_of: Option<u16>| {
            Process::start(Program::Redis, |port, folder| {
                let mut all = basics(port, folder);
                all.extend(persistence.arguments());
                all.extend(["--repl-diskless-sync-delay", "0"].map(str::to_owned));
                all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
                if let Some(primary) = replica_of {
                    all.extend(["--replicaof".to_owned(), "127.0.0.1".into(), primary.to_string()]);
                }
                all
            })
        };
        let primary = server(None);
        let port = primary.port;
        let servers = vec![primary, server(Some(port)), server(Some(port))];
        until("the replicas have the primary's data", || {
            servers[1..].iter().all(|replica| {
                replica.ask(&["INFO", "replication"]).contains("master_link_status:up")
            })
        });
        let sentinels: Vec<Process> = (0..SENTINELS).map(|_| sentinel(port)).collect();
        for sentinel in &sentinels {
            sentinel.ask(&["SENTINEL", "DEBUG", "TILT-TRIGGER", LATE_MS]);
        }
        let group = Self { servers, sentinels };
        until("the Sentinels know each other and the replicas", || group.is_complete());
        group
    }

    /// Whether every Sentinel sees all servers and Sentinels.
    fn is_complete(&self) -> bool {
        self.sentinels.iter().all(|sentinel| {
            let info = sentinel.ask(&["INFO", "sentinel"]);
            info.contains("status=ok") && info.contains("slaves=2,sentinels=3")
        })
    }

    /// The group's URL.
    #[must_use]
    pub fn url(&self) -> String {
        let places: Vec<String> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("redis+sentinel://{}/{NAME}", places.join(","))
    }

    /// The URL of one server alone.
    #[must_use]
    pub fn server_url(&self, server: usize) -> String {
        self.servers[server].url()
    }

    /// A broker on this group.
    ///
    /// # Panics
    /// If it cannot connect.
    pub async fn broker(&self) -> RedisBroker {
        RedisBroker::connect(RedisConfig::new(self.url())).await.expect("a connection")
    }

    /// The server that a Sentinel calls the primary.
    ///
    /// # Panics
    /// If none answers.
    #[must_use]
    pub fn primary(&self) -> usize {
        let mut sentinel = self.sentinels[0].connection();
        let place: Vec<String> = redis::cmd("SENTINEL")
            .arg("get-master-addr-by-name")
            .arg(NAME)
            .query(&mut sentinel)
            .expect("a primary");
        self.servers
            .iter()
            .position(|server| place[1] == server.port.to_string())
            .expect("one of the servers")
    }

    /// How many servers there are.
    #[must_use]
    pub fn servers(&self) -> usize {
        self.servers.len()
    }

    /// A plain connection to a server.
    ///
    /// # Panics
    /// If it cannot connect.
    #[must_use]
    pub fn connection(&self, server: usize) -> redis::Connection {
        self.servers[server].connection()
    }

    /// Whether a server says that it follows another one. One that has just been told to
    /// throws its connections away.
    #[must_use]
    pub fn is_replica(&self, server: usize) -> bool {
        let info = self.servers[server].try_ask(&["INFO", "replication"]);
        info.is_ok_and(|info| info.contains("role:slave"))
    }

    /// Kill a server as a crash would.
    pub fn kill(&mut self, server: usize) {
        self.servers[server].kill();
    }

    /// Start a server again on the same port and data.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self, server: usize) {
        self.servers[server].restart();
    }

    /// Stop a server without ending it: connections stay, nothing is answered.
    ///
    /// # Panics
    /// If it does not run.
    pub fn freeze(&self, server: usize) {
        self.servers[server].signal("STOP");
    }

    /// Let it go on.
    ///
    /// # Panics
    /// If it does not run.
    pub fn thaw(&self, server: usize) {
        self.servers[server].signal("CONT");
    }

    /// From now on a primary that is silent for half a second is replaced, until
    /// [`Self::await_failover`] has seen that.
    ///
    /// # Panics
    /// If a Sentinel refuses.
    pub fn watch(&self) {
        self.wait_for_silence(DOWN_AFTER_MS);
    }

    fn wait_for_silence(&self, down_after_ms: u32) {
        let down_after_ms = down_after_ms.to_string();
        for sentinel in &self.sentinels {
            sentinel.ask(&["SENTINEL", "SET", NAME, "down-after-milliseconds", &down_after_ms]);
        }
    }

    /// Have the primary replaced without asking whether it is down.
    ///
    /// # Panics
    /// If no replica can be promoted.
    pub fn fail_over(&self) {
        until("a replica can be promoted", || {
            let asked = self.sentinels[0].try_ask(&["SENTINEL", "FAILOVER", NAME]);
            !asked.is_err_and(|error| error.code() == Some("NOGOODSLAVE"))
        });
    }

    /// Wait until another server than `old` is the primary and says so itself. From then on no
    /// silence counts.
    ///
    /// # Panics
    /// If none is in time.
    pub fn await_failover(&self, old: usize) -> usize {
        until("another server is the primary", || {
            let new = self.primary();
            new != old
                && self.servers[new]
                    .try_ask(&["INFO", "replication"])
                    .is_ok_and(|info| info.contains("role:master"))
        });
        self.wait_for_silence(PATIENT_MS);
        self.primary()
    }

    /// Wait until all servers run, two of them as replicas with all data, and the Sentinels
    /// would agree to another failover.
    ///
    /// # Panics
    /// If that takes too long.
    pub fn await_repair(&self) {
        until("the group is whole again", || {
            let primary = self.primary();
            self.is_complete()
                && self.servers.iter().enumerate().all(|(at, server)| {
                    at == primary
                        || server
                            .try_ask(&["INFO", "replication"])
                            .is_ok_and(|info| info.contains("master_link_status:up"))
                })
        });
    }
}

fn sentinel(primary: u16) -> Process {
    Process::start(Program::Sentinel, |port, folder| {
        let file = folder.join("sentinel.conf");
        let text = format!(
            "bind 127.0.0.1\n\
             port {port}\n\
             dir {}\n\
             sentinel monitor {NAME} 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds {NAME} {PATIENT_MS}\n\
             sentinel failover-timeout {NAME} 3000\n\
             sentinel parallel-syncs {NAME} 2\n",
            folder.display()
        );
        std::fs::write(&file, text).expect("a configuration");
        vec![file.display().to_string(), "--sentinel".into()]
    })
}
