//! Submission with terms, lists by filter, cancelling by filter, waiting.

use bulkhead_tests::{Ran, eventually};

use super::*;

#[tokio::test]
async fn a_unique_key_refuses_points_to_its_holder_or_is_taken_over() {
    for place in Place::each().await {
        let first = place.submit(&["mail", "--data", "1", "--unique", "k"]);
        masked(|| {
            let taken = place.run(&["submit", "mail", "--data", "2", "--unique", "k"]);
            insta::assert_snapshot!("unique_taken", taken.all());
        });
        let again = ["submit", "mail", "--data", "2", "--unique", "k", "--on-conflict"];
        let existing = place.run(&[&again[..], &["existing"]].concat()).succeeds();
        assert_eq!(existing.stdout.trim(), first);
        assert!(existing.stderr.contains("has the unique key already"), "{}", existing.stderr);
        let existing = place.json(&[&again[..], &["existing"]].concat());
        assert_eq!(
            (&existing["accepted"], &existing["answer"]),
            (&false.into(), &"existing".into())
        );
        assert_eq!(
            (&existing["id"], &existing["holder"]),
            (&first.clone().into(), &first.clone().into())
        );
        let replaced = place.json(&[&again[..], &["replace"]].concat());
        assert_eq!(replaced["replaced"], first);
        let history = &place.json(&["task", "show", &first])["history"];
        assert_eq!(history[0]["replaced_by"], replaced["id"]);
        let old = place.run(&["task", "wait", &first]);
        assert_eq!(old.code, 1);
        assert!(old.stderr.contains("took its place under its unique key"), "{}", old.stderr);

        let payload = ["submit", "mail", "--data", "same", "--unique-payload", "--json"];
        assert_eq!(place.run(&payload).succeeds().json()["accepted"], true);
        let refused = place.run(&payload);
        assert_eq!((refused.code, refused.json()["answer"].as_str()), (2, Some("taken")));
        let other = ["submit", "post", "--data", "same", "--unique-payload"];
        place.run(&other).succeeds();
    }
}

#[tokio::test]
async fn waiting_for_an_existing_task_waits_for_its_holder() {
    for place in Place::each_with_host().await {
        let submit = ["submit", "echo", "--data", "x", "--unique", "k", "--unique-for", "1h"];
        place.run(&[&submit[..], &["--wait"]].concat()).succeeds();
        let again = [&submit[..], &["--on-conflict", "existing", "--wait"]].concat();
        assert_eq!(place.run(&again).succeeds().stdout, "x");
        let lines = "{\"type\":\"echo\",\"payload\":\"y\"}\n".repeat(3);
        let flags = ["submit", "--jsonl", "-", "--unique", "k", "--on-conflict", "existing"];
        let ran = place.run_with(&[&flags[..], &["--wait", "--json"]].concat(), lines.as_bytes());
        let tasks = ran.json();
        assert_eq!(tasks.as_array().map(Vec::len), Some(1), "{tasks}");
        assert_eq!(tasks[0]["output"]["text"], "x");
    }
}

#[tokio::test]
async fn every_term_is_kept_and_shown() {
    for place in Place::each().await {
        let parent = place.submit(&["first", "--data", "p"]);
        let child = place.submit(&[
            "second",
            "--data",
            "c",
            "--after",
            &parent,
            "--on-failed-parent",
            "cancel",
            "--expires-in",
            "1h",
            "--deadline-in",
            "2h",
            "--key",
            "smtp:a",
            "--unique",
            "u",
            "--unique-for",
            "1h",
            "--max-attempts",
            "3",
            "--backoff",
            "fixed",
            "--retry-delay",
            "5s",
            "--retention",
            "1d",
        ]);
        masked(|| {
            insta::assert_snapshot!("terms", place.run(&["task", "show", &child]).all());
            let show = place.run(&["task", "show", &child, "--json"]);
            insta::assert_snapshot!("terms_json", show.all());
        });
        let none = place.run(&["task", "wait", &child, "--timeout", "100ms"]);
        assert_eq!(none.code, 5);
        place.run(&["task", "cancel", &parent]).succeeds();
        let cancelled = place.run(&["task", "wait", &child, &parent, "--timeout", "4m"]);
        assert_eq!(cancelled.code, 1, "{}", cancelled.stderr);
        let why = format!("its parent default/{parent} did not complete");
        assert!(cancelled.stdout.contains(&why), "{}", cancelled.stdout);

        let history = &place.json(&["task", "show", &child])["history"];
        let ended = history.as_array().unwrap().iter().find(|entry| entry["event"] == "cancelled");
        assert_eq!(ended.unwrap()["parent"], format!("default/{parent}"));

        let late = place.submit(&["second", "--data", "x", "--expires-at", "2020-01-01T00:00:00Z"]);
        let expired = place.run(&["task", "wait", &late, "--timeout", "4m"]);
        assert_eq!(expired.code, 1);
        assert!(expired.stderr.contains("was not started in time"), "{}", expired.stderr);
        let listed = place.json(&["task", "list", "--state", "expired"]);
        assert_eq!(listed[0]["id"], late);
    }
}

#[test]
fn terms_that_contradict_each_other_are_refused() {
    for args in [
        &["--unique-for", "1h"][..],
        &["--unique", "a", "--unique-payload"],
        &["--unique", "a b"],
        &["--on-conflict", "fight"],
        &["--after", "mail/x"],
        &["--retry-delay", "1s"],
        &["--backoff", "fixed", "--retry-delays", "1s"],
        &["--backoff", "linear", "--retry-multiplier", "2"],
        &["--expires-in", "1h", "--expires-at", "2030-01-01T00:00:00Z"],
        &["--delay", "1h", "--at", "2030-01-01T00:00:00Z"],
        &["--retry-jitter", "2"],
        &["--max-attempts", "0"],
    ] {
        let ran = Ran::of(&[&["submit", "t", "--data", "x"], args].concat());
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: "), "{args:?}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn quotas_of_a_tenant_are_told_with_their_figure() {
    for place in Place::each().await {
        let limit = ["queue", "limit", "default", "--tenant", "acme"];
        place.run(&[&limit[..], &["--pending", "1", "--payload", "1KiB"]].concat()).succeeds();
        place.submit(&["mail", "--data", "1", "--tenant", "acme"]);
        masked(|| {
            let pending = place.run(&["submit", "mail", "--data", "2", "--tenant", "acme"]);
            insta::assert_snapshot!("over_pending", pending.all());
            let large = "x".repeat(2_000);
            let payload = place.run(&["submit", "mail", "--data", &large, "--tenant", "acme"]);
            insta::assert_snapshot!("over_payload", payload.all());
        });
        let lines = "{\"type\":\"mail\",\"payload\":1}\n{\"type\":\"mail\",\"payload\":2,\"tenant\":\"acme\"}\n";
        let many = place.run_with(&["submit", "--jsonl", "-"], lines.as_bytes());
        assert_eq!(many.code, 2);
        assert!(many.stdout.starts_with("submitted 1 tasks"), "{}", many.stdout);
        assert!(many.stderr.contains("1 over their tenant's quota of tasks"), "{}", many.stderr);
    }
}

#[tokio::test]
async fn tasks_are_found_and_cancelled_by_what_they_are() {
    for place in Place::each().await {
        for (task_type, tenant, text) in [
            ("mail", "acme", "red"),
            ("mail", "acme", "blue"),
            ("mail", "bolt", "red"),
            ("post", "acme", "red"),
        ] {
            place.submit(&[task_type, "--data", text, "--tenant", tenant]);
        }
        let count = |filter: &[&str]| {
            let list = place.json(&[&["task", "list"], filter].concat());
            list.as_array().map(Vec::len)
        };
        assert_eq!(count(&[]), Some(4));
        assert_eq!(count(&["--tenant", "acme", "--type", "mail"]), Some(2));
        assert_eq!(count(&["--contains", "red"]), Some(3));
        assert_eq!(count(&["--submitted-before", "2020-01-01T00:00:00Z"]), Some(0));
        assert_eq!(count(&["--submitted-from", "2020-01-01T00:00:00Z", "--limit", "3"]), Some(3));
        assert_eq!(count(&["--failure", "reject"]), Some(0));
        assert_eq!(place.run(&["task", "list", "--failure", "bad"]).code, 2);

        let cancel = ["task", "cancel", "--type", "mail", "--contains", "red"];
        let asked = place.run(&cancel);
        assert_eq!(asked.code, 2);
        assert!(asked.stderr.contains("--yes"), "{}", asked.stderr);
        let done = place.json(&[&cancel[..], &["--yes"]].concat());
        assert_eq!((&done["cancelled"], &done["requested"]), (&2.into(), &0.into()));
        assert_eq!(count(&["--state", "pending"]), Some(2));
        assert_eq!(place.run(&["task", "cancel", "--yes"]).code, 2, "nothing is named");
        assert_eq!(place.run(&["task", "cancel", "--state", "failed", "--yes"]).code, 2);
        let rest = place.json(&["task", "cancel", "--all", "--yes"]);
        assert_eq!(rest["cancelled"], 2);
    }
}

#[tokio::test]
async fn what_runs_tells_its_progress_and_is_stopped_by_what_it_is() {
    for place in Place::each_with_host().await {
        let id = place.submit(&["progress", "--data", "50000", "--tenant", "acme"]);
        eventually("it says how far it is", || async {
            let task = place.json(&["task", "show", &id]);
            (task["progress"]["fraction"] == 0.5).then_some(())
        })
        .await;
        let shown = place.run(&["task", "show", &id]).succeeds().stdout;
        assert!(shown.contains("progress    50 %, half"), "{shown}");
        let cancel = ["task", "cancel", "--tenant", "acme", "--state", "running", "--yes"];
        assert_eq!(place.json(&cancel)["requested"], 1);
        let ended = place.run(&["task", "wait", &id, "--timeout", "4m"]);
        assert_eq!(ended.code, 1);
        assert!(ended.stderr.contains("was cancelled"), "{}", ended.stderr);
    }
}
