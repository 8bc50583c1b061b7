//! Queues: limits, policies, pauses, usage, events, examination.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use bulkhead_tests::{HostProcess, eventually};
use serde_json::Value;

use super::*;

#[tokio::test]
async fn limits_change_one_thing_of_a_policy_and_a_file_replaces_it() {
    for place in Place::each().await {
        let limit =
            |args: &[&str]| place.run(&[&["queue", "limit", "mail"], args].concat()).succeeds();
        limit(&["--concurrency", "8", "--rate", "100/s burst 20", "--events", "1000"]);
        limit(&["--type", "send", "--concurrency", "4"]);
        limit(&["--key", "smtp:*", "--rate", "1/s"]);
        limit(&["--tenant", "acme", "--weight", "20", "--in-flight", "2", "--pending", "10"]);
        limit(&["--other-tenants", "--payload", "1MiB"]);
        masked(|| {
            let show = place.run(&["queue", "policy", "show", "mail"]);
            insta::assert_snapshot!("policy_show", show.all());
            let show = place.run(&["queue", "policy", "show", "mail", "--json"]);
            insta::assert_snapshot!("policy_show_json", show.all());
        });
        limit(&["--concurrency", "none"]);
        limit(&["--type", "send", "--remove"]);
        let mut policy = place.json(&["queue", "policy", "show", "mail"])["policy"].clone();
        assert_eq!(
            (&policy["concurrency"], &policy["types"]),
            (&Value::Null, &serde_json::json!({}))
        );

        policy["rate"] = "5/m".into();
        let file = place.file("policy.json", &policy.to_string());
        place.run(&["queue", "policy", "set", "other", "--file", &file]).succeeds();
        let set = place.json(&["queue", "policy", "show", "other"])["policy"].clone();
        assert_eq!(set["rate"], serde_json::json!({"interval_us": 12_000_000, "burst": 5}));
        assert_eq!(set["tenants"], policy["tenants"]);
        for (text, says) in [
            ("{\"concurency\": 1}", "concurency"),
            ("{\"rate\": \"often\"}", "is no rate"),
            (
                "{\"tenants\": {\"a\": {\"weight\": 5000}}}",
                "the policy's `tenants.a.weight` cannot be kept: 5000 is not from 1 to 1000",
            ),
            ("{\"rate\": {\"interval_us\": 0, \"burst\": 1}}", "the policy's `rate`"),
            ("{", "EOF"),
        ] {
            let file = place.file("bad.json", text);
            let ran = place.run(&["queue", "policy", "set", "other", "--file", &file]);
            assert_eq!(ran.code, 2, "{text}: {}", ran.stderr);
            assert!(ran.stderr.contains(says), "{text}: {}", ran.stderr);
        }
        let zero = place.run(&["queue", "limit", "other", "--type", "a", "--concurrency", "0"]);
        assert_eq!(zero.code, 2, "{}", zero.stderr);
        let says = "the policy's `types.a.concurrency` cannot be kept: 0 is not from 1 to 1000000";
        assert!(zero.stderr.contains(says), "{}", zero.stderr);
        assert_eq!(place.json(&["queue", "policy", "show", "other"])["policy"], set);
    }
}

#[tokio::test]
async fn a_type_is_paused_by_itself_and_blocked_tasks_are_purged() {
    for place in Place::each().await {
        let parent = place.submit(&["send", "--data", "1"]);
        place.submit(&["send", "--data", "2", "--after", &parent]);
        let pause = place.run(&["queue", "pause", "default", "--type", "send"]).succeeds();
        assert_eq!(pause.stdout, "type send of queue default is paused\n");
        let stats = place.json(&["queue", "stats", "default"]);
        assert_eq!((&stats["paused"], &stats["blocked"]), (&false.into(), &1.into()));
        assert_eq!(stats["by_type"][0]["paused"], true);
        assert_eq!(stats["by_tenant"][0], serde_json::json!({"tenant": "default", "open": 2}));
        masked_tables(|| {
            insta::assert_snapshot!("queue_stats", place.run(&["queue", "stats", "default"]).all());
        });
        let resume = place.json(&["queue", "resume", "default", "--type", "send"]);
        assert_eq!(resume["changed"], true);
        let purge = ["queue", "purge", "default", "--state", "blocked", "--yes", "--json"];
        assert_eq!(place.run(&purge).succeeds().json()["removed"], 1);
    }
}

#[tokio::test]
async fn what_was_used_is_told_by_day_and_tenant() {
    for place in Place::each_with_host().await {
        place.run(&["submit", "echo", "--data", "x", "--tenant", "acme", "--wait"]).succeeds();
        let usage = ["queue", "usage", "default"];
        let rows = place.json(&usage);
        assert_eq!((&rows[0]["tenant"], &rows[0]["attempts"]), (&"acme".into(), &1.into()));
        assert!(rows[0]["fuel"].as_u64() > Some(0), "{rows}");
        let day = rows[0]["day"].as_str().unwrap();
        let table = place.run(&usage).succeeds().stdout;
        assert!(table.starts_with("DAY") && table.contains(day), "{table}");
        let by = ["--by", "tenant,plugin,type", "--format", "csv"];
        let export = place.run(&[&usage[..], &by].concat()).succeeds().stdout;
        let rows: Vec<&str> = export.lines().collect();
        assert!(rows[0].starts_with("tenant,plugin,type,attempts,fuel,cpu_us,"), "{export}");
        assert!(rows[1].starts_with("acme,unruly,echo,1,"), "{export}");
        assert_eq!(rows.len(), 2, "{export}");
        let none = place.json(&[&usage[..], &["--tenant", "other"]].concat());
        assert_eq!(none, Value::Array(Vec::new()));
        let past =
            place.json(&[&usage[..], &["--from", "2020-01-01", "--to", "2020-01-31"]].concat());
        assert_eq!(past, Value::Array(Vec::new()));
        let long = place.run(&[&usage[..], &["--from", "2020-01-01"]].concat());
        assert_eq!(long.code, 2, "{}", long.stderr);
    }
}

#[tokio::test]
async fn a_spent_quota_holds_tasks_back_and_says_until_when() {
    for place in Place::each_with_host().await {
        let limit = ["queue", "limit", "default", "--tenant", "acme"];
        place.run(&[&limit[..], &["--fuel-per-minute", "1"]].concat()).succeeds();
        place.run(&["submit", "echo", "--data", "1", "--tenant", "acme", "--wait"]).succeeds();
        let id = place.submit(&["echo", "--data", "2", "--tenant", "acme"]);
        let why = "held back: fuel quota of tenant acme spent, again in ";
        let (place, id) = (&place, &id);
        eventually("the bound is told", || async {
            let stats = place.run(&["queue", "stats", "default"]).succeeds().stdout;
            stats.contains(why).then_some(())
        })
        .await;
        let shown = place.run(&["task", "show", id]).succeeds().stdout;
        assert!(shown.contains(why), "{shown}");
        let used = &place.json(&["queue", "stats", "default"])["in_use"][0];
        assert_eq!((&used["tenant"], &used["pending"]), (&"acme".into(), &1.into()));
        assert!(used["fuel"].as_u64() > Some(1) && used["in_flight"].is_null(), "{used}");
        place.run(&[&limit[..], &["--in-flight", "7", "--pending", "5"]].concat()).succeeds();
        let stats = place.run(&["queue", "stats", "default"]).succeeds().stdout;
        assert!(stats.contains("tenant acme has 1 of 5 not ended, 0 of 7 in flight, "), "{stats}");
        assert!(stats.contains(" of 1 fuel this minute"), "{stats}");
        place.run(&["submit", "echo", "--data", "3", "--tenant", "other", "--wait"]).succeeds();
        let policy = place.run(&[&limit[..], &["--when-spent", "refuse"]].concat()).succeeds();
        let says = "tenant acme: 1 fuel a minute; when that is spent, its new tasks are refused";
        assert!(policy.stdout.contains(says), "{}", policy.stdout);
        let refused = place.run(&["submit", "echo", "--data", "4", "--tenant", "acme"]);
        assert_eq!(refused.code, 2, "{}", refused.stderr);
        assert!(refused.stderr.contains("has spent its quota of a minute"), "{}", refused.stderr);
    }
}

#[tokio::test]
async fn events_are_told_in_order_and_followed() {
    for place in Place::each().await {
        place.submit(&["mail", "--data", "0"]);
        let none = place.run(&["queue", "events", "default"]).succeeds();
        assert!(none.stderr.contains("records no events"), "{}", none.stderr);
        place.run(&["queue", "limit", "default", "--events", "100"]).succeeds();
        let id = place.submit(&["mail", "--data", "1"]);
        place.run(&["task", "cancel", &id]).succeeds();
        masked_tables(|| {
            let events = place.run(&["queue", "events", "default"]);
            insta::assert_snapshot!("queue_events", events.all());
        });
        let newest = place.json(&["queue", "events", "default", "--limit", "1"]);
        assert_eq!(
            (newest.as_array().map(Vec::len), &newest[0]["kind"]),
            (Some(1), &"cancelled".into())
        );
        let all = place.json(&["queue", "events", "default"]);
        let first = all[0]["id"].as_str().unwrap();
        let rest = place.json(&["queue", "events", "default", "--after", first]);
        assert_eq!(rest, Value::Array(all.as_array().unwrap()[1..].to_vec()));

        let mut child = HostProcess::command()
            .args(["--broker", &place.url, "queue", "events", "default", "--follow", "--json"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (told, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || stdout.lines().try_for_each(|line| told.send(line)));
        let kind = || {
            let line = lines.recv_timeout(Duration::from_secs(20)).expect("an event").unwrap();
            let line: Value = serde_json::from_str(&line).unwrap();
            (line["kind"].clone(), line["task"].clone())
        };
        assert_eq!(kind(), ("submitted".into(), id.clone().into()));
        assert_eq!(kind(), ("cancelled".into(), id.into()));
        let new = place.submit(&["mail", "--data", "2"]);
        assert_eq!(kind(), ("submitted".into(), new.into()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[tokio::test]
async fn a_queue_in_order_is_told_so() {
    for place in Place::each().await {
        place.submit(&["mail", "--data", "1"]);
        let doctor = place.run(&["doctor"]).succeeds();
        assert_eq!(doctor.stdout, "1 queues examined; nothing is wrong\n");
        let repaired = place.json(&["doctor", "default", "--repair"]);
        assert_eq!(repaired, Value::Array(Vec::new()));
        assert_eq!(place.run(&["doctor", "defualt"]).code, 4);
    }
}

#[test]
fn what_is_out_of_order_is_told_repaired_and_gone() {
    let place = Place::new();
    let server = place.server.as_ref().unwrap();
    place.submit(&["mail", "--data", "1"]);
    let lost = place.submit(&["mail", "--data", "2"]);
    let record = format!("{{bulkhead:default}}:task:{lost}");
    server.run(&[b"DEL", record.as_bytes()]);
    let found = place.run(&["doctor"]);
    assert_eq!(found.code, 1, "{}", found.all());
    assert!(found.stderr.contains("--repair repairs"), "{}", found.stderr);
    let row = found.stdout.lines().find(|line| line.contains(&lost)).unwrap();
    assert!(row.starts_with("default  dangling") && row.ends_with("no"), "{row}");
    let repaired = place.run(&["doctor", "--repair", "--json"]).succeeds().json();
    let of_it = |finding: &&Value| finding["task"] == *lost;
    let finding = repaired.as_array().unwrap().iter().find(of_it).unwrap();
    assert_eq!((&finding["kind"], &finding["repaired"]), (&"dangling".into(), &true.into()));
    place.run(&["doctor"]).succeeds();
}
