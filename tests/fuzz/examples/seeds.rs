//! Writes the first inputs of each target into its folder in `corpus/`, as `seed-…`: things as
//! they are when nobody means harm. What a fuzzer found since lies beside them.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use bulkhead::secrets::{Key, SecretValue, seal};
use bulkhead::trust::SecretKey;
use bulkhead_core::{
    AttemptReport, BatchId, BatchRef, Conflict, Digest, Failure, FailureKind, LimitsRequest,
    LogLevel, LogLine, Metering, OnFailedParent, Outcome, Payload, Priority, QueueName,
    RetryRequest, State, Task, TaskId, TaskRef, TaskType, TenantName, TermKey, Terms, TraceContext,
    Unique,
};
use bulkhead_queue::{
    Broker, Clock, EmbeddedBroker, End, KvEdit, KvOwner, KvQuota, KvWrite, ListFilter, Progress,
    Sealed, SecretId, Serves, Settlement, Step, fuzzing,
};
use futures::executor::block_on;

const ID: &str = "0190163d-8694-739b-aea5-966c26f8ad91";

fn main() {
    let mut seeds = Seeds::default();
    let rows = records(&mut seeds);
    remote(&mut seeds);
    seeds.put("rows", "whole", &rows);
    seeds.put("rows", "half", &rows[..rows.len() / 2]);
    plugins(&mut seeds);
    configurations(&mut seeds);
    words(&mut seeds);
    guests(&mut seeds);
    println!("{} seeds", seeds.0);
}

#[derive(Default)]
struct Seeds(usize);

impl Seeds {
    fn put(&mut self, target: &str, name: &str, bytes: &[u8]) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("seed-{name}")), bytes).unwrap();
        self.0 += 1;
    }
}

fn task(number: u32, terms: Terms) -> Task {
    Task {
        id: format!("0190163d-8694-739b-aea5-966c26f8{number:04x}").parse().unwrap(),
        task_type: TaskType::new("resize").unwrap(),
        queue: QueueName::new("jobs").unwrap(),
        tenant: TenantName::new("acme").unwrap(),
        priority: Priority::default(),
        payload: Payload::new("application/json", br#"{"width":100}"#.to_vec()),
        metadata: vec![("from".into(), "api".into())],
        trace: None,
        limits: LimitsRequest::default(),
        submitted_at: 1_700_000_000_000,
        terms,
    }
}

fn full_terms() -> Terms {
    let reference = TaskRef { queue: QueueName::new("jobs").unwrap(), id: ID.parse().unwrap() };
    Terms {
        retry: Some(RetryRequest { max_attempts: Some(3), ..RetryRequest::default() }),
        retention_ms: Some(60_000),
        key: Some(TermKey::new("customer-1").unwrap()),
        after: vec![reference.clone()],
        on_failed_parent: OnFailedParent::default(),
        batch: Some(BatchRef { queue: reference.queue, id: BatchId(reference.id.0) }),
        expires_at: Some(1_800_000_000_000),
        deadline_at: Some(1_800_000_000_000),
        depth: 2,
        ..Terms::default()
    }
}

fn report(outcome: Outcome) -> AttemptReport {
    AttemptReport {
        attempt: 1,
        started_at: 1_700_000_000_000,
        host: "web-1".into(),
        plugin: Some("acme/resize".parse().unwrap()),
        digest: Digest([7; 32]),
        metering: Metering { fuel: 10, ..Metering::default() },
        logs: vec![LogLine {
            at_ms: 1,
            level: LogLevel::Info,
            message: "begun".into(),
            fields: vec![("key".into(), "value".into())],
        }],
        outcome,
        cached: false,
    }
}

/// Records, replies, and the rows of an embedded broker that has some of everything.
fn records(seeds: &mut Seeds) -> Vec<u8> {
    let broker = EmbeddedBroker::in_memory_at(Clock::read_by(|| 1_700_000_000_000_000));
    let queue = QueueName::new("jobs").unwrap();
    let unique = Unique {
        key: TermKey::new("report-7").unwrap(),
        window_ms: Some(60_000),
        conflict: Conflict::Existing,
    };
    let unique = Terms { unique: Some(unique), ..Terms::default() };
    let later = Terms { not_before: Some(1_700_000_100_000), ..Terms::default() };
    let mut waits = Terms::default();
    waits.after.push(TaskRef { queue: queue.clone(), id: task(4, Terms::default()).id });
    let mut traced = task(3, Terms::default());
    traced.trace =
        Some(TraceContext { traceparent: "00-1-2-01".into(), tracestate: Some("a=b".into()) });
    traced.limits = LimitsRequest { fuel: Some(1_000), ..LimitsRequest::default() };
    let all = [
        task(1, Terms::default()),
        task(2, unique),
        traced,
        task(4, Terms::default()),
        task(5, later),
        task(6, waits),
    ];
    for task in all.iter().chain([&task(9, full_terms())]) {
        seeds.put(
            "record",
            &format!("task-{}", &task.id.to_string()[32..]),
            &fuzzing::write(task).unwrap(),
        );
    }
    block_on(broker.submit(&all)).unwrap();
    let serves = [Serves::from(TaskType::new("resize").unwrap())];
    let step = |settle: &[Settlement], progress: &[_], want| {
        let step = Step {
            host: "web-1",
            settle,
            renew: &[],
            progress,
            want,
            claim_bytes: u64::MAX,
            serves: &serves,
            lease: Duration::from_secs(10),
            reclaim: true,
            dead_retention_ms: 60_000,
            apart: false,
        };
        block_on(broker.step(&queue, step)).unwrap()
    };
    let claims = step(&[], &[], 4).claims;
    let failure = Failure {
        kind: FailureKind::Reject,
        message: "no such image".into(),
        details: Some("see log".into()),
        backtrace: vec!["a".into(), "b".into()],
        ..Failure::new(FailureKind::Reject, "no such image")
    };
    let failed = || report(Outcome::Failed(failure.clone()));
    let done = || report(Outcome::Done(Payload::new("text/plain", b"ok".to_vec())));
    let mut ends = vec![
        End::Complete {
            report: done(),
            retention_ms: 60_000,
            children: vec![task(8, Terms::default())],
        },
        End::Retry { report: failed(), delay_ms: 1_000, retention_ms: 60_000 },
        End::DeadLetter { report: failed(), retention_ms: 60_000 },
    ];
    let settle: Vec<Settlement> = claims
        .iter()
        .zip(ends.drain(..))
        .map(|(claim, end)| Settlement { token: claim.token.clone(), end, plugin: None })
        .collect();
    let progress = [(
        claims[3].token.clone(),
        Progress { fraction: 0.5, message: "half".into(), at: 1_700_000_000_000 },
    )];
    step(&settle, &progress, 0);
    let owner = KvOwner { plugin: "resize".parse().unwrap(), tenant: all[0].tenant.clone() };
    let quota = KvQuota { keys: 10, total_bytes: 1_000, storage_bytes: None };
    let write = KvWrite {
        key: "last".into(),
        edit: KvEdit::Set(b"17".to_vec()),
        ttl_ms: Some(60_000),
        quota,
    };
    block_on(broker.kv_write(&owner, &write)).unwrap();
    let secret: SecretId = "acme/token".parse().unwrap();
    block_on(broker.put_secret(&secret, &Sealed(vec![1; 69]), None)).unwrap();
    let mut bytes = Vec::new();
    for row in broker.rows() {
        let value = row.value.unwrap_or_default();
        for part in [&row.key[..], &value[..]] {
            bytes.extend(u16::try_from(part.len()).unwrap().to_le_bytes());
            bytes.extend(part);
        }
        // A record, and its history behind it.
        if row.key[0] == 14 {
            seeds.put("record", "entry", &value);
            let mut whole = fuzzing::write(&all[0]).unwrap();
            whole.extend(&value[..]);
            whole.extend(&value[..]);
            seeds.put("record", "history", &whole);
            replies(seeds, &whole);
        }
    }
    bytes
}

fn replies(seeds: &mut Seeds, record: &[u8]) {
    let bulk = |bytes: &[u8]| [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    let member = format!("{ID}:00000000000000000001:acme:web-1");
    let mut step = b"*9\r\n*1\r\n:1\r\n*0\r\n*1\r\n".to_vec();
    step.extend(bulk(ID.as_bytes()));
    step.extend(b"*1\r\n");
    step.extend(bulk(member.as_bytes()));
    step.extend(b"*1\r\n");
    step.extend(bulk(record));
    step.extend(b"*1\r\n:0\r\n:1500\r\n:0\r\n:0\r\n");
    seeds.put("reply", "step", &step);
    seeds.put("reply", "error", b"-ERR unknown command\r\n");
    seeds.put("reply", "integer", b":42\r\n");
    seeds.put("reply", "nested", &b"*1\r\n".repeat(200));
    seeds.put("reply", "map", b"%1\r\n+key\r\n*-1\r\n");
    let slots = b"*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:7000\r\n$0\r\n\r\n";
    seeds.put("reply", "slots", slots);
    seeds.put("reply", "answer", b"*2\r\n$8\r\naccepted\r\n$0\r\n\r\n");
}

fn remote(seeds: &mut Seeds) {
    let queue = QueueName::new("jobs").unwrap();
    let ids: Vec<TaskId> = vec![ID.parse().unwrap()];
    let at = |name: &str| {
        let all = bulkhead_api::broker::fuzzing::OPERATIONS;
        u8::try_from(all.iter().position(|one| *one == name).unwrap()).unwrap()
    };
    let mut asks = |name: &str, arguments: Vec<u8>| {
        let whole = [&[0, at(name)][..], &arguments].concat();
        seeds.put("remote", &format!("ask-{name}"), &whole);
    };
    asks("submit", rmp_serde::to_vec_named(&(vec![task(1, full_terms())],)).unwrap());
    asks("inspect", rmp_serde::to_vec_named(&(&queue, &ids)).unwrap());
    asks("list", rmp_serde::to_vec_named(&(&queue, ListFilter::of(State::Failed))).unwrap());
    asks("cancel", rmp_serde::to_vec_named(&(&queue, &ids, 1_000)).unwrap());
    asks("purge", rmp_serde::to_vec_named(&(&queue, State::Pending)).unwrap());
    asks("stats", rmp_serde::to_vec_named(&(&queue,)).unwrap());
    asks(
        "set_policy",
        rmp_serde::to_vec_named(&(&queue, bulkhead_core::QueuePolicy::default())).unwrap(),
    );
    asks("examine", rmp_serde::to_vec_named(&(&queue, true)).unwrap());
    let broker = EmbeddedBroker::in_memory_at(Clock::read_by(|| 1_700_000_000_000_000));
    block_on(broker.submit(&[task(1, Terms::default())])).unwrap();
    let views = block_on(broker.inspect(&queue, &[task(1, Terms::default()).id])).unwrap();
    let answer = [&[1, at("inspect")][..], &rmp_serde::to_vec_named(&views).unwrap()].concat();
    seeds.put("remote", "answer-inspect", &answer);
    let stats = rmp_serde::to_vec_named(&block_on(broker.stats(&queue)).unwrap()).unwrap();
    seeds.put("remote", "answer-stats", &[&[1, at("stats")][..], &stats].concat());
    let signal = rmp_serde::to_vec_named(&bulkhead_queue::Signal::Task(queue, ids[0])).unwrap();
    let framed = [&u32::try_from(signal.len()).unwrap().to_be_bytes()[..], &signal].concat();
    seeds.put("remote", "signals", &[&[2, 9][..], &framed, &framed].concat());
}

fn plugins(seeds: &mut Seeds) {
    let handler = bulkhead_gallery::component("handler", "").unwrap();
    seeds.put("plugin", "handler", &handler);
    seeds.put("plugin", "truncated", &handler[..handler.len() * 2 / 3]);
    for (name, text) in [
        ("module", r#"(module (memory (export "memory") 1) (func (export "_start")))"#),
        (
            "imports",
            r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32))) (memory (export "memory") 1) (func (export "_start")))"#,
        ),
        ("nested", "(component (component (component (core module))))"),
        (
            "wires",
            r#"(component (import "a" (func $f)) (core func $g (canon lower (func $f))) (core module $m (import "" "g" (func))) (core instance $i (instantiate $m (with "" (instance (export "g" (func $g)))))))"#,
        ),
        (
            "types",
            "(component (type (record (field \"a\" u8))) (type (list u8)) (type (variant (case \"a\"))))",
        ),
        ("shared", "(module (memory 1 2 shared))"),
    ] {
        seeds.put("plugin", name, &wat::parse_str(text).unwrap());
    }
    seeds.put("plugin", "text", b"(module)");
    let framed = |of: u8, json: &str| {
        [&[of][..], &u32::try_from(json.len()).unwrap().to_le_bytes(), json.as_bytes()].concat()
    };
    seeds.put("worker", "refused", &framed(1, r#"{"refused":["invalid","it is empty"]}"#));
    seeds.put("worker", "compiled", &framed(1, r#"{"compiled":123456}"#));
    seeds.put("worker", "unable", &framed(1, r#"{"unable":"no memory"}"#));
    seeds.put(
        "worker",
        "checked",
        &framed(
            1,
            r#"{"checked":{"imports":["wasi:io/poll@0.2.0"],"entry":"handler","adapted":false}}"#,
        ),
    );
    seeds.put("worker", "request", &framed(0, &format!(r#"{{"code":{{}},"compatibility":{:?},"memory_bytes":1,"cpu_s":1,"max_component_bytes":1,"file_bytes":1}}"#, [7; 32])));
    seeds.put("worker", "long", &[1, 0xff, 0xff, 0x1f, 0]);
}

fn configurations(seeds: &mut Seeds) {
    let toml = r#"broker = "redis://worker:secret@redis.internal:6379"
[host]
concurrency = 16
[plugins.trust]
policy = "pinned"
[plugins.trust.pins]
mail = "sha256:0101010101010101010101010101010101010101010101010101010101010101"
[limits]
memory = "64 MiB"
[grants.mail]
config = true
http = { allow = ["https://a.example/"] }
[config.mail]
from = "a"
[tenants."*"]
storage = "64 MiB"
[secrets.token]
stored = true
[queues.mail]
retry = { max_attempts = 8, backoff = { kind = "delays", delays = ["10s", "1m"] } }
keys."smtp:*" = { concurrency = 2, rate = "10/s burst 20" }
[schedules.digest]
queue = "mail"
type = "send"
cron = "30 7 * * MON-FRI"
zone = "Europe/Berlin"
"#;
    seeds.put("configuration", "toml", &[&[0], toml.as_bytes()].concat());
    seeds.put(
        "configuration",
        "toml-unknown",
        b"\0borker = 1\n[host]\nname = 1979-05-27T07:32:00Z\n",
    );
    let yaml = "broker: embedded:\nhost:\n  queues: [mail, default]\n  lease: 5s\nlimits: {memory: 64 MiB, fuel: 1000}\nqueues:\n  mail: &a\n    retention: 1h\n  other: *a\n";
    seeds.put("configuration", "yaml", &[&[1], yaml.as_bytes()].concat());
    let env = "BROKER=redis://a:b@c\nHOST__CONCURRENCY=8\nHOST__QUEUES=[mail, default]\nQUEUES__MAIL__RETENTION=1h\nNO_SUCH=1\n";
    seeds.put("configuration", "env", &[&[2], env.as_bytes()].concat());
    for (name, text) in [
        (
            "full",
            "task_types = [\"resize\"]\ninstances = 4\nmax_batch = 8\ncache = { resize = \"1h\" }\n[limits]\nfuel = 1_000\nmemory = \"1 MiB\"\nwall = \"10s\"\n[retry]\nmax_attempts = 2\nbackoff = { kind = \"exponential\", initial = \"1s\", multiplier = 2.0, max = \"1h\" }\n",
        ),
        (
            "grants",
            "[grants]\nkv = { keys = 10, value = \"1 KiB\", total = \"1 MiB\", operations = 5 }\nhttp = { allow = [\"https://api.example.com/v1/\", \"GET https://*.example.org/\"], private = true, connect_timeout = \"5s\" }\nfs = { scratch = \"64 MiB\", dirs = [{ host = \"/srv/fonts\", guest = \"/fonts\", access = \"read\" }, { host = \"/srv/b\", guest = \"/b\", access = \"read_write\", quota = \"1 MiB\" }] }\nconfig = true\nsecrets = [\"token\"]\nenqueue = { types = [\"a\", \"b\"], queues = [\"q\"], per_attempt = 5, depth = 2 }\nclocks = \"coarse\"\nrandom = \"seeded\"\n",
        ),
        ("wrong", "fule = 1\n[grants]\nkv = 3\n"),
        ("nested", "a = [[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]\n"),
    ] {
        seeds.put("manifest", name, text.as_bytes());
    }
}

fn words(seeds: &mut Seeds) {
    for (at, text) in [
        "250ms",
        "1h 30m",
        "-5s",
        "64 MiB",
        "1.5 GiB",
        "10/s burst 20",
        "5/m",
        "acme/token",
        "/token",
        "mail.v2_x-1",
        "redis://user:pass@host:6379/0?password=x",
        "rediss://h",
        "redis+sentinel://a:1,b:2/primary?sentinel_password=p",
        "redis+cluster://a,b",
        "redis+unix:///run/redis.sock",
        "embedded:/var/lib",
        "embedded",
        "user\0pass\0host:1/2",
    ]
    .into_iter()
    .enumerate()
    {
        seeds.put("words", &format!("{at:02}"), text.as_bytes());
    }
    let key = SecretKey::from_random(&[7; 32]);
    let signature = key.sign("mail", Digest([9; 32]));
    seeds.put("trust", "good", format!("mail\0{signature}").as_bytes());
    seeds.put("trust", "public", format!("mail\0{}\0post", key.public()).as_bytes());
    seeds.put(
        "trust",
        "secret",
        format!("mail\0{}", SecretKey::from_random(&[1; 32]).expose()).as_bytes(),
    );
    seeds.put("trust", "policy", b"mail\0pinned_or_signed");
    for (at, (kind, zone, text)) in [
        (2_u8, 1_u8, "30 7 * * MON-FRI"),
        (2, 2, "*/15 0-5 1,15 * *"),
        (2, 3, "0 0 2 30 3 *"),
        (3, 4, "0 0 L * *"),
        (2, 0, "0 0 15W * FRI#L"),
        (2, 7, "UTC"),
        (1, 0, "all 10"),
        (0, 0, "skip"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut bytes = vec![kind, zone];
        for number in [1_700_000_000_000_u64, 60_000, 1_000, 1_700_000_000_000, 3_600_000] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(text.as_bytes());
        seeds.put("times", &format!("{at:02}"), &bytes);
    }
}

fn guests(seeds: &mut Seeds) {
    for (at, parts) in [
        ["https://a.example/v1/", "GET", "a.example", "/v1/a?b=/../c", "https"],
        ["GET https://*.example.org/", "GET", "x.example.org.", "/%41/./b", "https"],
        ["http://[::1]:8080/a", "POST", "[0:0:0:0:0:0:0:1]:8080", "/a/..;/b", "http"],
        ["http://10.0.0.1:*/v1", "GET", "0x0a000001", "/v1/%2e%2e/x", "http"],
        ["https://a.example/%7euser/", "CONNECT", "user@a.example:443", "/%252e%252e/", "HTTPS"],
        ["https://a.example/v1", "GET", "api.example.com", "/v1/..%5cadmin", "https"],
        ["https://a.example/v1", "POST", "a.example:8080", "/a/b", "http"],
    ]
    .into_iter()
    .enumerate()
    {
        seeds.put("outbound", &format!("{at:02}"), parts.join("\0").as_bytes());
    }
    // Of another key than the target's.
    let key = Key::parse(&"08".repeat(32)).unwrap();
    let value = SecretValue::new("s3cret-value".into());
    let sealed = seal(&key, "ns", &"acme/token".parse().unwrap(), &value, 1).unwrap();
    seeds.put("sealed", "other-key", &sealed.0);
    seeds.put("sealed", "unchanged", &[0; 69]);
    seeds.put("sealed", "key", "07".repeat(32).as_bytes());
    // Read by `arbitrary` as whatever it makes of them.
    let text = b"the quick brown fox jumps over the lazy dog \x1b[2J \xe2\x80\xae 0123456789";
    for at in 0..6 {
        let turned = [&text[at * 7..], &text[..at * 7], &[at as u8; 24]].concat();
        seeds.put("host_calls", &format!("{at:02}"), &turned);
        seeds.put("redaction", &format!("{at:02}"), &turned);
        let numbers: Vec<u8> = (0..96_u8).map(|n| n.wrapping_mul(7 + at as u8)).collect();
        seeds.put("paths", &format!("{at:02}"), &numbers);
    }
}
