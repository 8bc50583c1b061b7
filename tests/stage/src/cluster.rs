//! A Redis Cluster that belongs to one test.

use bulkhead_queue::{RedisBroker, RedisConfig};

use crate::process::{Process, Program, basics, free_port, until};
use crate::redis_server::Persistence;

/// Slots of every Cluster.
const SLOTS: u32 = 16_384;
/// How long a node may be silent before the others count it as failed, in milliseconds, while
/// the Cluster comes to stand and while it is watched.
const NODE_TIMEOUT_MS: &str = "1000";
/// The same at all other times. A node that is starved of processor time seems to be silent, and
/// no test wants its failure.
const PATIENT_MS: &str = "3600000";

/// Primaries with the slots shared out among them, each with the same number of replicas.
pub struct RedisCluster {
    nodes: Vec<Node>,
}

struct Node {
    process: Process,
    bus: u16,
    /// The name that the Cluster knows it by.
    id: String,
}

impl RedisCluster {
    /// Start a Cluster and wait until every node says that it stands. Slots without a
    /// running node make no other slot unavailable.
    ///
    /// # Panics
    /// If it does not come to stand.
    #[must_use]
    pub fn start(primaries: usize, replicas_each: usize, persistence: Persistence) -> Self {
        let nodes: Vec<Node> =
            (0..primaries * (1 + replicas_each)).map(|_| Node::start(persistence)).collect();
        let cluster = Self { nodes };
        cluster.introduce();
        cluster.share_slots(primaries);
        let first = &cluster.nodes[0].process;
        let stands = |node: &Node| {
            let info = node.process.ask(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
        };
        until("the Cluster stands", || cluster.nodes[..primaries].iter().all(stands));
        for (at, node) in cluster.nodes.iter().enumerate().skip(primaries) {
            let primary = &cluster.nodes[at % primaries].id;
            until("a node becomes a replica", || {
                node.process.try_ask(&["CLUSTER", "REPLICATE", primary]).is_ok()
            });
            until("a replica has its primary's data", || {
                node.process.ask(&["INFO", "replication"]).contains("master_link_status:up")
            });
        }
        until("every node knows of all slots and replicas", || {
            cluster.nodes.iter().all(stands)
                && first.ask(&["CLUSTER", "NODES"]).matches("slave ").count()
                    == primaries * replicas_each
        });
        cluster.wait_for_silence(PATIENT_MS);
        cluster
    }

    /// From now on a node that is silent for a second has failed, and a replica takes its place,
    /// until [`Self::await_owner`] has seen that.
    ///
    /// # Panics
    /// If a node refuses.
    pub fn watch(&self) {
        self.wait_for_silence(NODE_TIMEOUT_MS);
    }

    fn wait_for_silence(&self, node_timeout_ms: &str) {
        for node in self.nodes.iter().filter(|node| node.process.is_running()) {
            node.process.ask(&["CONFIG", "SET", "cluster-node-timeout", node_timeout_ms]);
        }
    }

    fn introduce(&self) {
        let first = &self.nodes[0];
        for (at, node) in self.nodes.iter().enumerate() {
            let _: String =
                node.process.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
        }
        for node in &self.nodes[1..] {
            let (port, bus) = (node.process.port.to_string(), node.bus.to_string());
            first.process.ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        until("all nodes know each other", || {
            self.nodes.iter().all(|node| {
                let known = node.process.ask(&["CLUSTER", "NODES"]);
                known.lines().filter(|line| line.contains(" connected")).count() == self.nodes.len()
                    && !known.contains("handshake")
            })
        });
    }

    fn share_slots(&self, primaries: usize) {
        let each = SLOTS.div_ceil(u32::try_from(primaries).expect("few primaries"));
        let mut first = 0;
        for node in &self.nodes[..primaries] {
            let last = (first + each).min(SLOTS) - 1;
            node.process.ask(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
            first = last + 1;
        }
    }

    /// The Cluster's URL, naming all nodes.
    #[must_use]
    pub fn url(&self) -> String {
        let places: Vec<String> =
            self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.process.port)).collect();
        format!("redis+cluster://{}", places.join(","))
    }

    /// The URL of one node alone.
    #[must_use]
    pub fn node_url(&self, node: usize) -> String {
        self.nodes[node].process.url()
    }

    /// A broker on this Cluster.
    ///
    /// # Panics
    /// If it cannot connect.
    pub async fn broker(&self) -> RedisBroker {
        RedisBroker::connect(RedisConfig::new(self.url())).await.expect("a connection")
    }

    /// How many nodes there are; primaries come first as long as none failed.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The running node that is the primary of a key.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn owner(&self, key: &str) -> usize {
        self.try_owner(key).expect("a primary of the key")
    }

    /// Wait until a running node is the primary of a key. From then on no silence counts.
    ///
    /// # Panics
    /// If none is in time.
    pub fn await_owner(&self, key: &str) -> usize {
        until("a key has a primary", || self.try_owner(key).is_some());
        self.wait_for_silence(PATIENT_MS);
        self.owner(key)
    }

    /// The running node that is the primary of a key, if the Cluster has agreed on one.
    fn try_owner(&self, key: &str) -> Option<usize> {
        // `TYPE` of a key that another node has is answered with a redirection.
        self.nodes.iter().position(|node| {
            node.process.is_running()
                && node.process.try_ask(&["TYPE", key]).is_ok()
                && node.process.ask(&["INFO", "replication"]).contains("role:master")
        })
    }

    /// A plain connection to one node.
    ///
    /// # Panics
    /// If it cannot connect.
    #[must_use]
    pub fn connection(&self, node: usize) -> redis::Connection {
        self.nodes[node].process.connection()
    }

    /// Kill a node as a crash would.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].process.kill();
    }

    /// Start a node again on the same port and data.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self, node: usize) {
        self.nodes[node].process.restart();
    }

    /// Begin to move a key's slot to another primary: until it is ended, the slot's keys are
    /// in two places.
    ///
    /// # Panics
    /// If a node refuses.
    #[must_use]
    pub fn begin_move(&self, key: &str, to: usize) -> Move<'_> {
        let from = self.owner(key);
        let slot: u32 = redis::cmd("CLUSTER")
            .arg("KEYSLOT")
            .arg(key)
            .query(&mut self.connection(from))
            .expect("a slot");
        let [source, target] = [&self.nodes[from], &self.nodes[to]];
        target.process.ask(&["CLUSTER", "SETSLOT", &slot.to_string(), "IMPORTING", &source.id]);
        source.process.ask(&["CLUSTER", "SETSLOT", &slot.to_string(), "MIGRATING", &target.id]);
        Move { cluster: self, slot: slot.to_string(), source, target }
    }
}

/// A slot between two nodes.
pub struct Move<'a> {
    cluster: &'a RedisCluster,
    slot: String,
    source: &'a Node,
    target: &'a Node,
}

impl Move<'_> {
    /// Move all keys and tell every node.
    ///
    /// # Panics
    /// If a node refuses.
    pub fn end(self) {
        let Self { cluster, slot, source, target } = self;
        let mut connection = source.process.connection();
        loop {
            let keys: Vec<String> = redis::cmd("CLUSTER")
                .arg("GETKEYSINSLOT")
                .arg(&slot)
                .arg(100)
                .query(&mut connection)
                .expect("keys");
            if keys.is_empty() {
                break;
            }
            redis::cmd("MIGRATE")
                .arg("127.0.0.1")
                .arg(target.process.port)
                .arg("")
                .arg(0)
                .arg(5_000)
                .arg("KEYS")
                .arg(&keys)
                .exec(&mut connection)
                .expect("the keys move");
        }
        for node in [target, source].into_iter().chain(&cluster.nodes) {
            if node.process.ask(&["INFO", "replication"]).contains("role:master") {
                node.process.ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &target.id]);
            }
        }
    }
}

impl Node {
    fn start(persistence: Persistence) -> Self {
        let bus = std::cell::Cell::new(0);
        let process = Process::start(Program::Redis, |port, folder| {
            bus.set(free_port());
            let mut arguments = basics(port, folder);
            arguments.extend(persistence.arguments());
            let bus = bus.get().to_string();
            let of_cluster = [
                ["--cluster-enabled", "yes"],
                ["--cluster-port", &bus],
                ["--cluster-node-timeout", NODE_TIMEOUT_MS],
                ["--cluster-require-full-coverage", "no"],
                ["--cluster-allow-replica-migration", "no"],
                ["--repl-diskless-sync-delay", "0"],
            ];
            arguments.extend(of_cluster.as_flattened().iter().map(|word| (*word).to_owned()));
            arguments
        });
        let id = process.ask(&["CLUSTER", "MYID"]);
        Self { process, bus: bus.get(), id }
    }
}
