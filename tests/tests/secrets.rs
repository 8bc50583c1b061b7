//! Secrets through the real binary: stored sealed, handed to those who were granted them, changed
//! without a restart, and told nowhere. The guest `spiller` says its secret in every way that a
//! handler can say anything.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use bulkhead_tests::{HostProcess, Persistence, Ran, RedisServer, eventually_within, install};
use serde_json::Value;
use tempfile::TempDir;

/// Every look is a process of its own, so that much of a busy machine's time goes by.
const PATIENCE: Duration = Duration::from_secs(240);

/// A value with what JSON and Rust escape.
const VALUE: &str = "zqhush-\"9c\"-zqhush";
/// What is looked for: a part of it that stands in each of its forms, and in nothing else.
const NEEDLE: &str = "zqhush";
const SHOWN: &str = "[secret token]";

const CONFIGURATION: &str = "secrets_key = { file = \"key\" }\n\
    [secrets.token]\nstored = true\n[grants.spiller]\nsecrets = [\"token\"]\n\
    [queues.default]\nevents = 1000\n";

/// A broker, a configuration beside a key, and a plugin folder with the guest.
struct Place {
    url: String,
    root: TempDir,
    server: Option<RedisServer>,
}

impl Place {
    fn redis() -> Self {
        let server = RedisServer::start_with(Persistence::Always);
        Self::new(server.url(), tempfile::tempdir().unwrap(), Some(server))
    }

    fn embedded() -> Self {
        let root = tempfile::tempdir().unwrap();
        Self::new(format!("embedded:{}", root.path().join("queue").display()), root, None)
    }

    fn new(url: String, root: TempDir, server: Option<RedisServer>) -> Self {
        let place = Self { url, root, server };
        std::fs::create_dir(place.path("plugins")).unwrap();
        install(&place.path("plugins"), "spiller");
        place.configure(CONFIGURATION);
        let key = place.path("key");
        let made = Ran::of(&["secret", "key", "--out", key.to_str().unwrap()]).succeeds();
        let written = std::fs::read_to_string(&key).unwrap();
        assert!(!made.stdout.contains(written.trim()), "{made:?}");
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        place
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join(name)
    }

    fn configure(&self, text: &str) {
        std::fs::write(self.path("bulkhead.toml"), text).unwrap();
    }

    fn run_with(&self, args: &[&str], input: &str) -> Ran {
        let config = self.path("bulkhead.toml");
        let before = ["--config", config.to_str().unwrap(), "--broker", &self.url];
        Ran::with(&[&before[..], args].concat(), input.as_bytes())
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, "")
    }

    async fn host(&self, format: &str) -> HostProcess {
        let mut command = HostProcess::command();
        command.arg("--config").arg(self.path("bulkhead.toml"));
        command.args(["--broker", &self.url, "run", "--name", "h1", "--plugins"]);
        command.arg(self.path("plugins"));
        command.args(["--log-format", format, "--log-level", "debug"]);
        let mut host = HostProcess::spawn(command, self.path("host.log"));
        eventually_within(PATIENCE, "the guest is served", || {
            assert_eq!(host.ended(), None, "{}", host.log());
            let listed = self.run(&["plugin", "list", "--json"]);
            let listed: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap_or_default();
            let serves = listed.iter().any(|plugin| plugin["serving"].is_object());
            std::future::ready(serves.then_some(()))
        })
        .await;
        host
    }

    fn put(&self, value: &str) -> Ran {
        self.run_with(&["secret", "put", "token"], value)
    }

    fn submit(&self, how: &str) -> String {
        self.run(&["submit", "spill", "--data", &format!("{how} token")]).said()
    }

    /// What the handler returns.
    fn returned(&self, how: &str) -> String {
        let data = format!("{how} token");
        let ran = self.run(&["submit", "spill", "--data", &data, "--wait", "--timeout", "4m"]);
        ran.said()
    }

    /// Whatever a command says, in both forms.
    fn all_of(&self, args: &[&str]) -> String {
        self.run(args).all() + &self.run(&[args, &["--json"]].concat()).all()
    }

    async fn spill_all(&self) -> Vec<String> {
        let ways = ["log", "quote", "print", "fail", "panic"];
        let mut ids: Vec<String> = ways.iter().map(|how| self.submit(how)).collect();
        for id in &ids {
            self.run(&["task", "wait", id, "--timeout", "4m"]);
        }
        let running = self.submit("progress");
        eventually_within(PATIENCE, "a running task shows its progress", || {
            let shown = self.all_of(&["task", "show", &running]);
            assert!(!shown.contains(NEEDLE), "{shown}");
            std::future::ready(shown.contains(&format!("the secret is {SHOWN}")).then_some(()))
        })
        .await;
        self.run(&["task", "cancel", &running]).succeeds();
        self.run(&["task", "wait", &running, "--timeout", "4m"]);
        ids.push(running);
        ids
    }

    /// Look at everything that commands tell.
    fn looked_at_everything(&self, ids: &[String]) {
        let mut said = BTreeMap::new();
        for id in ids {
            for args in [["task", "show", id], ["task", "logs", id], ["task", "output", id]] {
                said.insert(args.join(" "), self.all_of(&args));
            }
        }
        for (at, how) in [(0, "logs"), (1, "logs"), (2, "logs"), (3, "show"), (4, "show")] {
            let told = &said[&format!("task {how} {}", ids[at])];
            assert!(told.contains(SHOWN), "{told}");
        }
        for id in &ids[3..5] {
            let args = ["dead", "show", id];
            said.insert(args.join(" "), self.all_of(&args));
        }
        for args in [
            &["task", "list"][..],
            &["dead", "list"],
            &["queue", "list"],
            &["queue", "stats", "default"],
            &["queue", "events", "default"],
            &["queue", "usage", "default"],
            &["host", "list"],
            &["plugin", "list"],
            &["secret", "list"],
            &["config", "check"],
            &["doctor"],
        ] {
            said.insert(args.join(" "), self.all_of(args));
        }
        for (args, told) in said {
            assert!(!told.contains(NEEDLE), "{args}: {told}");
        }
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

/// Whether a text stands in some file of a folder.
fn some_file_holds(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            some_file_holds(&path, text)
        } else {
            std::fs::read(&path).is_ok_and(|bytes| holds(&bytes, text))
        }
    })
}

/// Everything that a server holds, key by key.
fn every_value(server: &RedisServer) -> BTreeMap<String, String> {
    let mut connection = server.connection();
    let mut all = BTreeMap::new();
    for key in server.keys() {
        let kind: String = redis::cmd("TYPE").arg(&key).query(&mut connection).unwrap();
        let words: &[&str] = match kind.as_str() {
            "string" => &["GET", &key],
            "hash" => &["HGETALL", &key],
            "list" => &["LRANGE", &key, "0", "-1"],
            "set" => &["SMEMBERS", &key],
            "zset" => &["ZRANGE", &key, "0", "-1"],
            "stream" => &["XRANGE", &key, "-", "+"],
            other => panic!("`{key}` is of the type {other}"),
        };
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let mut bytes = Vec::new();
        gather(&server.run(&words), &mut bytes);
        all.insert(key, String::from_utf8_lossy(&bytes).into_owned());
    }
    all
}

fn gather(value: &redis::Value, bytes: &mut Vec<u8>) {
    match value {
        redis::Value::BulkString(part) => bytes.extend_from_slice(part),
        redis::Value::SimpleString(part) => bytes.extend_from_slice(part.as_bytes()),
        redis::Value::Array(parts) | redis::Value::Set(parts) => {
            parts.iter().for_each(|part| gather(part, bytes));
        }
        redis::Value::Map(pairs) => pairs.iter().for_each(|(key, value)| {
            gather(key, bytes);
            gather(value, bytes);
        }),
        _ => {}
    }
}

#[tokio::test]
async fn a_secret_is_told_nowhere_with_redis() {
    let place = Place::redis();
    let stored = place.put(&format!("{VALUE}\n")).succeeds();
    assert!(!stored.all().contains(NEEDLE), "{stored:?}");
    let host = place.host("json").await;
    assert_eq!(place.returned("length"), VALUE.len().to_string());
    let ids = place.spill_all().await;
    place.looked_at_everything(&ids);
    let log = host.log();
    assert!(log.contains(SHOWN) && !log.contains(NEEDLE), "{log}");

    let server = place.server.as_ref().unwrap();
    let values = every_value(server);
    assert!(values["bulkhead:secrets"].starts_with("/token"), "{values:?}");
    assert!(values.values().any(|value| value.contains(SHOWN)), "{values:?}");
    for (key, value) in &values {
        assert!(!value.contains(NEEDLE), "{key}: {value}");
    }
    // Every write that there ever was is in the server's log.
    assert!(some_file_holds(server.folder(), SHOWN));
    assert!(!some_file_holds(server.folder(), NEEDLE));
    // What a handler returns is its own affair; and so it is seen that looking finds it.
    assert_eq!(place.returned("return"), VALUE);
    assert!(some_file_holds(server.folder(), NEEDLE));
    assert!(every_value(server).values().any(|value| value.contains(NEEDLE)));
}

/// What the socket of an embedded broker answers, byte by byte.
fn asked_raw(socket: &Path, operation: &str, body: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).unwrap();
    let head = format!(
        "POST /v1/broker/{operation} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    answer
}

#[tokio::test]
async fn a_secret_is_told_nowhere_with_the_embedded_broker() {
    let place = Place::embedded();
    let host = place.host("compact").await;
    // Through the socket of the host, which sees what is sealed.
    let stored = place.put(VALUE).succeeds();
    assert!(!stored.all().contains(NEEDLE), "{stored:?}");
    assert_eq!(place.returned("length"), VALUE.len().to_string());
    let ids = place.spill_all().await;
    place.looked_at_everything(&ids);
    let log = host.log();
    assert!(log.contains(SHOWN) && !log.contains(NEEDLE), "{log}");

    let socket = place.path("queue/bulkhead.sock");
    for id in &ids {
        let body = [&b"\x92\xa7default\x91\xd9\x24"[..], id.as_bytes()].concat();
        let answer = asked_raw(&socket, "inspect", &body);
        assert!(holds(&answer, "spill") && !holds(&answer, NEEDLE));
    }
    let sealed = asked_raw(&socket, "secrets", b"\x91\x91\xa6/token");
    assert!(sealed.len() > VALUE.len() && !holds(&sealed, NEEDLE));
    assert!(some_file_holds(&place.path("queue"), SHOWN));
    assert!(!some_file_holds(&place.path("queue"), NEEDLE));
    assert_eq!(place.returned("return"), VALUE);
    assert!(some_file_holds(&place.path("queue"), NEEDLE), "looking finds it");
}

/// Wait until the handler is given this value.
async fn until_given(place: &Place, value: &str) {
    eventually_within(PATIENCE, "the new value is given", || {
        std::future::ready((place.returned("return") == value).then_some(()))
    })
    .await;
}

#[tokio::test]
async fn values_and_keys_change_without_a_restart() {
    let place = Place::embedded();
    let mut host = place.host("compact").await;
    place.put("the first value").succeeds();
    assert_eq!(place.returned("return"), "the first value");
    place.put("the second value").succeeds();
    until_given(&place, "the second value").await;

    // Another key: the old one opens until all is sealed anew.
    let old = place.path("key").display().to_string();
    let new = place.path("new").display().to_string();
    place.run(&["secret", "key", "--out", &new]).succeeds();
    let keys = format!("secrets_key = {{ file = \"{new}\", old = [{{ file = \"{old}\" }}] }}");
    place.configure(&CONFIGURATION.replace("secrets_key = { file = \"key\" }", &keys));
    let resealed = place.run(&["secret", "reseal", "--json"]).succeeds().json();
    assert_eq!((&resealed["resealed"], &resealed["failed"]), (&1.into(), &0.into()));
    let again = place.run(&["secret", "reseal", "--json"]).succeeds().json();
    assert_eq!((&again["resealed"], &again["current"]), (&0.into(), &1.into()));
    std::fs::remove_file(&old).unwrap();
    place.configure(&CONFIGURATION.replace("\"key\"", "\"new\""));
    place.put("the third value").succeeds();
    until_given(&place, "the third value").await;

    // Another place, and a file that changes there.
    let file = place.path("token").display().to_string();
    let write = |value: &str| {
        std::fs::write(&file, value).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("of the file");
    let in_file = CONFIGURATION.replace("stored = true", "file = \"token\"");
    place.configure(&in_file.replace("\"key\"", "\"new\""));
    until_given(&place, "of the file").await;
    write("of the file, changed\n");
    until_given(&place, "of the file, changed").await;
    host.signal("TERM");
    assert_eq!(host.wait(Duration::from_secs(60)).code(), Some(0), "{}", host.log());
}

#[tokio::test]
async fn the_commands_say_what_is_stored_and_refuse_what_cannot_be() {
    let place = Place::redis();
    let empty = place.run(&["secret", "list"]).said();
    assert!(empty.contains("bulkhead secret put NAME"), "{empty}");
    place.put(VALUE).succeeds();
    let acme = ["secret", "put", "token", "--tenant", "acme"];
    let note = place.run_with(&acme, "acme's own").succeeds().stderr;
    assert!(note.contains("[tenants.acme.secrets.token]\n  stored = true"), "{note}");
    let listed = place.run(&["secret", "list", "--json"]).succeeds().json();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!((&listed[0]["name"], &listed[0]["tenant"]), (&"token".into(), &Value::Null));
    assert_eq!(listed[1]["tenant"], "acme");
    assert!(listed[0]["sealed_at"].is_u64());
    assert_eq!(listed[0]["key"].as_str().unwrap().len(), 16);

    for (args, input, code, says) in [
        (&["secret", "put", "token"][..], "hush", 2, "at least 6"),
        (&["secret", "put", "a b"], VALUE, 2, "secret's name `a b`"),
        (&["secret", "put", "token", VALUE], "", 2, "unexpected argument"),
        (&["secret", "delete", "unknown"], "", 4, "is not stored"),
        (&["secret", "key", "--out", "/no/such/folder/key"], "", 2, "cannot make"),
    ] {
        let ran = place.run_with(args, input).exits(code);
        assert!(ran.stderr.contains(says), "{ran:?}");
    }
    let key = place.path("key").display().to_string();
    let over = place.run(&["secret", "key", "--out", &key]).exits(2);
    assert!(over.stderr.contains("exists"), "{over:?}");
    let huge = place.run_with(&["secret", "put", "token"], &"x".repeat(70_000)).exits(2);
    assert!(huge.stderr.contains("65536"), "{huge:?}");

    // With another key nothing opens, and reseal says so and leaves it.
    std::fs::remove_file(&key).unwrap();
    place.run(&["secret", "key", "--out", &key]).succeeds();
    let failed = place.run(&["secret", "reseal"]).exits(1);
    assert!(failed.stderr.contains("`secrets_key` does not have"), "{failed:?}");
    place.run(&["secret", "delete", "token", "--tenant", "acme"]).succeeds();
    assert_eq!(place.run(&["secret", "list", "--json"]).json().as_array().unwrap().len(), 1);

    place.configure("");
    let none = place.put(VALUE).exits(2);
    assert!(none.stderr.contains("bulkhead secret key --out PATH"), "{none:?}");
    place.configure("[secrets.token]\nenv = \"NOT_SET_ANYWHERE\"\n");
    for command in [&["config", "check"][..], &["run"]] {
        let ran = place.run(command).exits(2);
        assert!(ran.stderr.contains("`NOT_SET_ANYWHERE` is not set"), "{ran:?}");
    }
    // What needs no secret is not held up by one.
    place.run(&["queue", "list"]).succeeds();
}
