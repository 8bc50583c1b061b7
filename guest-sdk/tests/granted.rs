//! The stand-ins of the capabilities: what a native test sees is what a host would do.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use bulkhead_guest::enqueue::{self, Child};
use bulkhead_guest::prelude::*;
use bulkhead_guest::testing::{self, Attempt, Kv};
use bulkhead_guest::{config, kv, secrets};

const SECOND: Duration = Duration::from_secs(1);

/// Does what the payload names, and says what came of it.
#[handler]
fn does(what: String) -> Result<String, Failure> {
    Ok(match what.as_str() {
        "get" => format!("{:?}", kv::get("a")?.map(|entry| (entry.version, entry.ttl))),
        "set" => kv::set("a", "1")?.to_string(),
        "set-for" => kv::set_for("a", "1", SECOND)?.to_string(),
        "no-time" => format!("{:?}", kv::set_for("a", "1", Duration::ZERO)),
        "large" => format!("{:?}", kv::set("a", vec![0; 65_537])),
        "bad-key" => format!("{:?}", kv::delete("a\n")),
        "add" => kv::increment("a", 2)?.to_string(),
        "add-for" => kv::increment_for("a", 2, SECOND)?.to_string(),
        "swap" => format!("{:?}", kv::compare_and_set("a", Some(1), "x")?),
        "keys" => kv::keys("k").collect::<Result<Vec<_>, _>>()?.len().to_string(),
        "page" => format!("{:?}", kv::list("k", Some("k0001"), 2)?),
        "config" => format!("{:?}", config::parse::<u32>("number")?),
        "secret" => secrets::get("token")?,
        "child" => enqueue::submit(Child::new("t", Payload::text("x")))?,
        "child-then-fail" => {
            enqueue::submit(Child::new("t", Payload::text("x")))?;
            return Err(Failure::permanent("as asked"));
        }
        _ => return Err(Failure::permanent("no such thing")),
    })
}

/// Submits without focus, then for itself.
#[handler(batch = 4)]
fn together(_texts: Vec<String>, tasks: &[Task]) -> Vec<Result<bool, Failure>> {
    let child = || Child::new("t", Payload::text("x"));
    let answer = |task: &Task| {
        let nobody = enqueue::submit(child()) == Err(enqueue::Error::NoFocus);
        task.submit(child()).map(|_| nobody).map_err(Failure::from)
    };
    tasks.iter().map(answer).collect()
}

fn text(attempt: Attempt) -> String {
    testing::run::<does>(attempt).text().unwrap()
}

fn with(store: &Kv, what: &str) -> Attempt {
    Attempt::new(Payload::text(what)).kv(store)
}

#[test]
fn values_outlive_attempts_and_go_when_their_time_has_passed() {
    let store = Kv::new();
    assert_eq!(text(with(&store, "get")), "None");
    assert_eq!(text(with(&store, "set-for")), "1");
    assert_eq!(text(with(&store, "get")), "Some((1, Some(1s)))");
    store.pass(Duration::from_millis(999));
    assert_eq!(text(with(&store, "get")), "Some((1, Some(1ms)))");
    assert_eq!(text(with(&store, "add")), "3", "and its time stays");
    store.pass(Duration::from_millis(1));
    assert_eq!(text(with(&store, "get")), "None");
    assert_eq!(text(with(&store, "add-for")), "2");
    assert_eq!(store.value("a").as_deref(), Some(b"2".as_slice()));
}

#[test]
fn versions_decide_who_may_write() {
    let store = Kv::new();
    assert_eq!(text(with(&store, "swap")), "None", "there is nothing to replace");
    assert_eq!(text(with(&store, "set")), "1");
    assert_eq!(text(with(&store, "swap")), "Some(2)");
    assert_eq!(text(with(&store, "swap")), "None");
    assert_eq!(store.value("a").as_deref(), Some(b"x".as_slice()));
}

#[test]
fn keys_come_in_pages() {
    let store = Kv::new();
    (0..2_500).for_each(|at| store.put(&format!("k{at:04}"), "x"));
    store.put("other", "x");
    assert_eq!(text(with(&store, "keys")), "2500");
    let page = kv::Page {
        keys: vec!["k0002".to_owned(), "k0003".to_owned()],
        next: Some("k0003".to_owned()),
    };
    assert_eq!(text(with(&store, "page")), format!("{page:?}"));
    assert_eq!(store.keys().len(), 2_501);
}

#[test]
fn what_makes_no_sense_is_an_error_as_on_a_host() {
    let store = Kv::new();
    assert!(text(with(&store, "no-time")).contains("Invalid"));
    assert!(text(with(&store, "bad-key")).contains("Invalid"));
    assert!(text(with(&store, "large")).contains("TooLarge { max_bytes: 65536 }"));
    store.put("a", "no number");
    let failure = testing::run::<does>(with(&store, "add")).output.unwrap_err();
    assert!(failure.message().contains("no number"), "{failure}");
    store.fail_next(kv::Error::Quota("`keys` is 3".to_owned()));
    let failure = testing::run::<does>(with(&store, "get")).output.unwrap_err();
    assert!(failure.is_retryable() && failure.message() == "kv: `keys` is 3", "{failure}");
}

#[test]
fn configuration_and_secrets_are_what_the_test_gives() {
    let attempt = |what: &str| Attempt::new(Payload::text(what));
    assert_eq!(text(attempt("config")), "None");
    assert_eq!(text(attempt("config").config("number", "7")), "Some(7)");
    let wrong = testing::run::<does>(attempt("config").config("number", "x")).output.unwrap_err();
    assert!(wrong.is_retryable() && wrong.message().contains("`number` is `x`"), "{wrong}");
    assert_eq!(text(attempt("secret").secret("token", "s3cret")), "s3cret");
    let none = testing::run::<does>(attempt("secret")).output.unwrap_err();
    assert_eq!(none.message(), "there is no secret `token` for this plugin");
}

#[test]
fn children_go_out_with_their_own_task_if_it_completes() {
    let run = testing::run::<does>(Payload::text("child"));
    assert_eq!(run.children.len(), 1);
    let run = testing::run::<does>(Payload::text("child-then-fail"));
    assert!(run.output.is_err() && run.children.is_empty());
    let runs = testing::run_batch::<together>([Payload::text("a"), Payload::text("b")]);
    for run in runs {
        assert_eq!((run.json::<bool>(), run.children.len()), (Ok(true), 1));
    }
}

#[test]
fn outside_an_attempt_there_is_nothing() {
    assert!(matches!(kv::get("a"), Err(kv::Error::Unavailable(_))));
    assert!(matches!(secrets::get("a"), Err(secrets::Error::Unavailable(_))));
    assert_eq!(config::get("a"), None);
    let child = enqueue::submit(Child::new("t", Payload::text("x")));
    assert!(matches!(child, Err(enqueue::Error::Unavailable(_))));
}
