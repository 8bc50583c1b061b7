//! What a plugin touches by grants: each quota obeyed and violated, on real guest code.

use std::collections::BTreeSet;
use std::sync::Arc;

use bulkhead_core::{FailureKind, Limits, Metering, Outcome, TaskId, TaskRef, child_id};
use bulkhead_sandbox::{
    Attempt, AttemptEnd, EnqueueGrant, Gate, Grants, KvError, KvGrant, Named, Plugin, SecretError,
    Services,
};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::rig::{asking, attempt, done, failed, guest, offering, sandbox, task, unruly};
use crate::stores::{Buggy, Stuck, Values, store};

static GENEROUS: OnceCell<Plugin> = OnceCell::const_new();

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Every grant that the guest needs, at its defaults.
fn every() -> Grants {
    Grants {
        kv: Some(KvGrant::default()),
        config: true,
        secrets: names(&["token", "gone", "away"]),
        enqueue: Some(EnqueueGrant {
            types: Named::Only(["thumbnail".parse().unwrap()].into()),
            ..EnqueueGrant::default()
        }),
        ..Grants::default()
    }
}

async fn load(grants: Grants) -> Plugin {
    offering().await.load(asking("toucher", grants)).await.unwrap()
}

async fn generous() -> &'static Plugin {
    GENEROUS.get_or_init(async || load(every()).await).await
}

/// What the guest answers to these commands, one line for each.
async fn touch(plugin: &Plugin, services: &Services, commands: &[&str]) -> AttemptEnd {
    let task = task("touch", &commands.join("\n"));
    plugin.attempt(Attempt { services: services.clone(), ..attempt(&task) }).await.unwrap()
}

async fn answers(plugin: &Plugin, services: &Services, commands: &[&str]) -> Vec<String> {
    let end = touch(plugin, services, commands).await;
    done(&end).lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn values_are_kept_read_and_removed() {
    let services = Services { kv: Some(store()), ..Services::default() };
    let first = ["kv get a", "kv set a one", "kv set-for b 60000 two", "kv get a", "kv get b"];
    let seen = answers(generous().await, &services, &first).await;
    assert_eq!(seen[..4], ["none", "ok 1", "ok 2", "one v1 None"]);
    assert_eq!(seen[4], "two v2 Some(60s)");
    let second = [
        "kv keys ",
        "kv list  1",
        "kv swap a 9 no",
        "kv swap a 1 next",
        "kv swap c - first",
        "kv swap c - again",
        "kv add n 5",
        "kv add n -7",
        "kv add a 1",
        "kv delete a",
        "kv delete a",
    ];
    let seen = answers(generous().await, &services, &second).await;
    assert_eq!(
        seen[..10],
        [
            "ok a,b",
            "ok a then Some(\"a\")",
            "Ok(None)",
            "Ok(Some(3))",
            "Ok(Some(4))",
            "Ok(None)",
            "ok 5",
            "ok -2",
            "error Invalid(\"`a` is no number\")",
            "ok true",
        ]
    );
    assert_eq!(seen[10], "ok false");
}

#[tokio::test]
async fn calls_and_bytes_are_metered() {
    let services = Services { kv: Some(store()), ..Services::default() };
    let commands = ["kv fill a 1000", "kv get a", "kv get b", "config x", "child thumbnail 12345"];
    let end = touch(generous().await, &services, &commands).await;
    let Metering { host_calls, bytes_in, bytes_out, .. } = end.metering;
    let child = "text/plain; charset=utf-8".len() as u64 + 5;
    assert_eq!((host_calls, bytes_in, bytes_out), (5, 1_000, 1_000 + child));
    let none = unruly().await.attempt(attempt(&task("echo", ""))).await.unwrap().metering;
    assert_eq!((none.host_calls, none.bytes_in, none.bytes_out), (0, 0, 0));
}

#[tokio::test]
async fn kv_operations() {
    let kv = Some(KvGrant { operations: 2, ..KvGrant::default() });
    let plugin = load(Grants { kv, ..every() }).await;
    let services = Services { kv: Some(store()), ..Services::default() };
    let seen = answers(&plugin, &services, &["kv get a", "kv set a b", "kv get a"]).await;
    assert_eq!(seen[..2], ["none", "ok 1"]);
    assert!(seen[2].contains("Quota") && seen[2].contains("all its 2 calls"), "{seen:?}");
    // The next attempt has its own.
    assert_eq!(answers(&plugin, &services, &["kv get a"]).await, ["b v1 None"]);
}

#[tokio::test]
async fn kv_value() {
    let kv = Some(KvGrant { value_bytes: 100, ..KvGrant::default() });
    let plugin = load(Grants { kv, ..every() }).await;
    let services = Services { kv: Some(store()), ..Services::default() };
    let seen = answers(&plugin, &services, &["kv fill a 100", "kv fill a 101"]).await;
    assert_eq!(seen, ["ok 1", "error TooLarge { max_bytes: 100 }"]);
}

#[tokio::test]
async fn kv_value_beyond_what_a_call_may_give() {
    let services = Services { kv: Some(store()), ..Services::default() };
    answers(generous().await, &services, &["kv fill a 5000"]).await;
    let task = task("touch", "kv get a");
    let limits = Limits { hostcall_bytes: 4_000, ..Limits::default() };
    let given = Attempt { services, limits, ..attempt(&task) };
    let end = generous().await.attempt(given).await.unwrap();
    assert_eq!(done(&end), "error TooLarge { max_bytes: 4000 }");
}

#[tokio::test]
async fn kv_keys_and_times_make_sense() {
    let services = Services { kv: Some(store()), ..Services::default() };
    let commands = [
        "kv set-long 512",
        "kv set-long 513",
        "kv set-long 0",
        "kv get a\tb",
        "kv set-for a 0 x",
        "kv set-for a 31622400000 x",
        "kv set-for a 31622400001 x",
    ];
    let seen = answers(generous().await, &services, &commands).await;
    assert_eq!((seen[0].as_str(), seen[5].as_str()), ("ok 1", "ok 2"));
    for (at, says) in
        [(1, "513 bytes"), (2, "is empty"), (3, "control character"), (4, "0 ms"), (6, "366 days")]
    {
        assert!(seen[at].contains("Invalid") && seen[at].contains(says), "{}", seen[at]);
    }
}

#[tokio::test]
async fn what_the_store_says_is_what_the_guest_hears() {
    for (error, heard) in [
        (KvError::Quota("`keys` is 3".into()), "error Quota(\"`keys` is 3\")"),
        (KvError::Unavailable("no answer".into()), "error Unavailable(\"no answer\")"),
    ] {
        let kv = store();
        kv.fail_next(error);
        let services = Services { kv: Some(kv), ..Services::default() };
        assert_eq!(answers(generous().await, &services, &["kv set a b"]).await, [heard]);
    }
    let seen = answers(generous().await, &Services::default(), &["kv get a", "secret token"]).await;
    assert!(seen.iter().all(|answer| answer.contains("Unavailable")), "{seen:?}");
}

#[tokio::test]
async fn a_store_that_does_not_answer_takes_no_longer_than_the_attempt_may() {
    let services = Services { kv: Some(Arc::new(Stuck)), ..Services::default() };
    let task = task("touch", "kv get a");
    let limits = Limits { wall_ms: 60, ..Limits::default() };
    let given = Attempt { services, limits, ..attempt(&task) };
    let end = generous().await.attempt(given).await.unwrap();
    let failure = failed(&end, FailureKind::TimedOut);
    assert!(failure.message.contains("waiting in a host call"), "{}", failure.message);
    assert_eq!(end.metering.host_calls, 1, "what was begun counts");
}

#[tokio::test]
async fn a_panic_of_the_host_ends_one_attempt() {
    let buggy = Services { config: Some(Arc::new(Buggy)), ..Services::default() };
    for _ in 0..3 {
        let end = touch(generous().await, &buggy, &["config greeting"]).await;
        let failure = failed(&end, FailureKind::Trapped);
        assert!(failure.message.contains("the host failed"), "{}", failure.message);
        assert!(!failure.message.contains("nobody thought"), "{}", failure.message);
    }
    let config = Values::of(&[("greeting", "hello")]);
    let sound = Services { config: Some(config), ..Services::default() };
    assert_eq!(answers(generous().await, &sound, &["config greeting"]).await, ["Some(\"hello\")"]);
}

#[tokio::test]
async fn values_of_the_operator() {
    let config = Values::of(&[("greeting", "hello")]);
    let services = Services { config: Some(config.clone()), ..Services::default() };
    let asked = ["config greeting", "config other"];
    assert_eq!(answers(generous().await, &services, &asked).await, ["Some(\"hello\")", "None"]);
    config.put("other", "new");
    assert_eq!(answers(generous().await, &services, &asked[1..]).await, ["Some(\"new\")"]);
}

const TOKEN: &str = "s3cret-\"value\"";

fn with_secrets() -> Services {
    Services {
        secrets: Some(Values::of(&[("token", TOKEN), ("other", "x")])),
        ..Services::default()
    }
}

#[tokio::test]
async fn secrets_are_given_by_name() {
    let asked = ["secret token", "secret other", "secret gone", "secret away"];
    let seen = answers(generous().await, &with_secrets(), &asked).await;
    assert_eq!(seen[0], format!("ok {TOKEN}"), "an output is not changed");
    assert_eq!(seen[1], "error Unknown(\"other\")", "there, and not granted");
    assert_eq!(seen[2], "error Unknown(\"gone\")", "granted, and not there");
    let SecretError::Unavailable(why) = Values::away() else { panic!("away") };
    assert_eq!(seen[3], format!("error Unavailable({why:?})"));
}

#[tokio::test]
async fn a_secret_is_in_nothing_that_an_attempt_says() {
    for how in ["log", "print", "progress", "fail", "panic", "cut"] {
        let task = task("touch", &format!("spill token {how}"));
        let heard = Arc::new(crate::stores::Heard::default());
        let progress = Some(heard.clone() as Arc<dyn bulkhead_sandbox::ProgressSink>);
        let given = Attempt { services: with_secrets(), progress, ..attempt(&task) };
        let end = generous().await.attempt(given).await.unwrap();
        let said = format!("{:?} {:?} {:?}", end.outcome, end.logs, heard.0.lock());
        assert!(!said.contains("s3cret") && !said.contains("value"), "{how}: {said}");
        assert!(said.contains("[secret token]"), "{how}: {said}");
    }
    // Without having been handed out, the same text is no secret.
    let end = touch(generous().await, &with_secrets(), &["fail s3cret-\"value\""]).await;
    assert_eq!(failed(&end, FailureKind::Reject).message, TOKEN);
}

#[tokio::test]
async fn children_go_out_with_their_parents_completion() {
    let commands = ["child thumbnail one", "child thumbnail two"];
    let end = touch(generous().await, &Services::default(), &commands).await;
    let parent = TaskRef { queue: "default".parse().unwrap(), id: TaskId(Uuid::from_u128(7)) };
    let ids = [child_id(&parent, 0), child_id(&parent, 1)];
    assert_eq!(done(&end), format!("ok {}\nok {}", ids[0], ids[1]));
    assert_eq!(end.children.len(), 2);
    for (child, (id, data)) in end.children.iter().zip(ids.iter().zip(["one", "two"])) {
        assert_eq!(child.task.id, *id);
        assert_eq!(child.task.payload.data, data.as_bytes());
        assert_eq!((child.task.tenant.as_str(), child.task.terms.depth), ("acme", 1));
        assert_eq!(child.task.queue.as_str(), "default");
    }
    let again = touch(generous().await, &Services::default(), &commands).await;
    assert_eq!(again.children, end.children, "every attempt submits the same");
}

#[tokio::test]
async fn children_of_an_attempt_that_fails_are_forgotten() {
    for last in ["fail as asked", "spill token panic"] {
        let end = touch(generous().await, &with_secrets(), &["child thumbnail x", last]).await;
        assert!(matches!(end.outcome, Outcome::Failed(_)), "{:?}", end.outcome);
        assert!(end.children.is_empty(), "{last}");
    }
}

#[tokio::test]
async fn children_are_of_granted_types_and_queues() {
    let commands = ["child other x", "child no\u{a0}name x", "child-in mail thumbnail"];
    let end = touch(generous().await, &Services::default(), &commands).await;
    let seen: Vec<&str> = done(&end).lines().collect();
    assert!(
        seen[0].contains("NotAllowed") && seen[0].contains("`types` has `thumbnail`"),
        "{seen:?}"
    );
    assert!(seen[1].contains("Invalid"), "{seen:?}");
    assert!(seen[2].contains("NotAllowed") && seen[2].contains("`queues` has none"), "{seen:?}");
    assert!(end.children.is_empty());
    let any = EnqueueGrant {
        types: Named::Any,
        queues: Named::Only(["mail".parse().unwrap()].into()),
        ..EnqueueGrant::default()
    };
    let plugin = load(Grants { enqueue: Some(any), ..every() }).await;
    let commands = ["child other x", "child-in mail thumbnail", "child-in chat thumbnail"];
    let end = touch(&plugin, &Services::default(), &commands).await;
    assert_eq!(end.children.len(), 2, "{:?}", done(&end));
    let child = &end.children[1];
    assert_eq!((child.task.queue.as_str(), child.delay_ms), ("mail", Some(5_000)));
    assert_eq!(child.task.priority.level(), 75);
    assert_eq!(child.task.terms.key.as_ref().map(|key| key.as_str()), Some("k"));
    assert_eq!(child.task.metadata, [("a".to_owned(), "b".to_owned())]);
    let task = child.clone().submitted(1_000);
    assert_eq!((task.submitted_at, task.terms.not_before), (1_000, Some(6_000)));
}

#[tokio::test]
async fn children_that_make_no_sense_are_errors() {
    let commands = [
        "child-odd priority 101",
        "child-odd delay 31622400001",
        "child-odd key k",
        "child-odd queue x",
        "child-odd meta 16384",
    ];
    let end = touch(generous().await, &Services::default(), &commands).await;
    for (answer, says) in
        done(&end).lines().zip(["`101`", "366 days", "300 bytes", "queue name", "16385 bytes"])
    {
        assert!(answer.contains("Invalid") && answer.contains(says), "{answer}");
    }
    assert!(end.children.is_empty());
    let fits = ["child-odd meta 16383", "child-odd priority 100"];
    let end = touch(generous().await, &Services::default(), &fits).await;
    assert_eq!(end.children.len(), 2, "{}", done(&end));
}

async fn children_under(grant: EnqueueGrant, depth: u32, commands: &[&str]) -> (usize, String) {
    let types = Named::Only(["thumbnail".parse().unwrap()].into());
    let grant = EnqueueGrant { types, ..grant };
    let plugin = load(Grants { enqueue: Some(grant), ..every() }).await;
    let mut task = task("touch", &commands.join("\n"));
    task.terms.depth = depth;
    let end = plugin.attempt(attempt(&task)).await.unwrap();
    (end.children.len(), done(&end).lines().last().unwrap().to_owned())
}

#[tokio::test]
async fn enqueue_per_attempt() {
    let grant = || EnqueueGrant { per_attempt: 2, ..EnqueueGrant::default() };
    let (children, last) = children_under(grant(), 0, &["child thumbnail x"; 2]).await;
    assert!(children == 2 && last.starts_with("ok"), "{last}");
    let (children, last) = children_under(grant(), 0, &["child thumbnail x"; 3]).await;
    assert!(children == 2 && last.contains("Quota") && last.contains("`per_attempt`"), "{last}");
}

#[tokio::test]
async fn enqueue_bytes() {
    let grant = || EnqueueGrant { bytes: 2_100, ..EnqueueGrant::default() };
    let (children, last) = children_under(grant(), 0, &["child-of thumbnail 1000"; 2]).await;
    assert!(children == 2 && last.starts_with("ok"), "{last}");
    let commands = ["child-of thumbnail 1000", "child-of thumbnail 1100"];
    let (children, last) = children_under(grant(), 0, &commands).await;
    assert!(children == 1 && last.contains("Quota") && last.contains("`bytes`"), "{last}");
}

#[tokio::test]
async fn enqueue_depth() {
    let grant = || EnqueueGrant { depth: 3, ..EnqueueGrant::default() };
    let (children, last) = children_under(grant(), 2, &["child thumbnail x"]).await;
    assert!(children == 1 && last.starts_with("ok"), "{last}");
    let (children, last) = children_under(grant(), 3, &["child thumbnail x"]).await;
    assert!(children == 0 && last.contains("Quota") && last.contains("`depth` is 3"), "{last}");
}

#[tokio::test]
async fn children_of_a_batch_are_those_of_the_task_in_focus() {
    let mut tasks: Vec<_> = ["focus thumbnail", "nobody thumbnail", "fail thumbnail"]
        .map(|payload| task("touch-together", payload))
        .into();
    for (task, id) in tasks.iter_mut().zip(1..) {
        task.id = TaskId(Uuid::from_u128(id));
    }
    let batch = generous().await.attempt_batch(tasks.iter().map(attempt).collect()).await.unwrap();
    assert!(!batch.fell);
    let [first, second, third] = &batch.ends[..] else { panic!("{:?}", batch.ends) };
    assert_eq!((first.children.len(), second.children.len(), third.children.len()), (1, 0, 0));
    assert_eq!(first.children[0].task.payload.data, tasks[0].id.to_string().into_bytes());
    assert_eq!(done(second), "error NoFocus");
    failed(third, FailureKind::Reject);
    assert_eq!(batch.ends.iter().map(|end| end.metering.host_calls).sum::<u64>(), 3);
}

#[tokio::test]
async fn a_plugin_without_its_grants_is_refused_with_the_lines_to_add() {
    let rejection = offering().await.load(asking("toucher", Grants::default())).await.unwrap_err();
    assert_eq!(rejection.gate, Gate::Imports);
    let lines = "[grants]\nkv = true\nconfig = true\nsecrets = [\"NAME\"]\nenqueue = { types = [\"TYPE\"] }";
    for line in lines.lines() {
        assert!(rejection.message.lines().any(|said| said == line), "{line}: {rejection}");
    }
    let partly = Grants { enqueue: None, ..every() };
    let rejection = offering().await.load(asking("toucher", partly.clone())).await.unwrap_err();
    assert!(
        rejection.message.ends_with("[grants]\nenqueue = { types = [\"TYPE\"] }"),
        "{rejection}"
    );
    let inspection = offering().await.inspect(&guest("toucher"), &partly).unwrap();
    assert_eq!(inspection.missing.len(), 1, "{inspection:?}");
    assert!(inspection.granted.iter().any(|granted| granted.grant == Some("kv")));
    // A host without stores has nothing to grant.
    let rejection = sandbox().await.load(asking("toucher", every())).await.unwrap_err();
    assert!(rejection.message.contains("keeps no values for plugins"), "{rejection}");
}
