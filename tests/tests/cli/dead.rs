//! Dead letters: found, shown, replayed with another payload, dropped.

use super::*;

#[tokio::test]
async fn dead_letters_are_replayed_with_another_payload_and_dropped_by_filter() {
    for place in Place::each_with_host().await {
        let reject = place.submit(&["reject", "--data", "why"]);
        assert_eq!(place.run(&["task", "wait", &reject, "--timeout", "4m"]).code, 1);
        let trap = place.run(&["submit", "panic", "--data", "x", "--max-attempts", "1", "--wait"]);
        assert_eq!(trap.code, 1, "{}", trap.all());
        let listed = |filter: &[&str]| {
            let list = place.json(&[&["dead", "list"], filter].concat());
            list.as_array().map(Vec::len)
        };
        assert_eq!(listed(&[]), Some(2));
        assert_eq!(listed(&["--failure", "reject"]), Some(1));
        assert_eq!(listed(&["--failure", "trapped", "--type", "panic"]), Some(1));
        masked(|| {
            let show = place.run(&["dead", "show", &reject]).succeeds().stdout;
            insta::assert_snapshot!("dead_show", show);
        });

        place.run(&["dead", "replay", &reject, "--data", "edited"]).succeeds();
        place.run(&["task", "wait", &reject, "--timeout", "4m"]);
        let task = place.json(&["task", "show", &reject]);
        assert_eq!(task["payload"]["text"], "edited");
        assert_eq!(task["payload"]["content_type"], "text/plain; charset=utf-8");
        let two = place.run(&["dead", "replay", &reject, &reject, "--data", "x"]);
        assert_eq!(two.code, 2, "{}", two.all());
        assert_eq!(place.run(&["dead", "replay", "--all", "--data", "x"]).code, 2);
        assert_eq!(place.run(&["dead", "replay", &reject, "--content-type", "a/b"]).code, 2);
        assert_eq!(place.run(&["dead", "replay"]).code, 2);

        let replayed = place.json(&["dead", "replay", "--failure", "reject"]);
        assert_eq!(replayed["replayed"], 1);
        place.run(&["task", "wait", &reject, "--timeout", "4m"]);
        let dropped = place.json(&["dead", "drop", "--failure", "reject", "--yes"]);
        assert_eq!(dropped["removed"], 1);
        assert_eq!(listed(&[]), Some(1));

        let done = place.submit(&["echo", "--data", "x", "--retention", "1h"]);
        place.run(&["task", "wait", &done, "--timeout", "4m"]).succeeds();
        assert_eq!(place.run(&["dead", "show", &done]).code, 1);
        let again = ["task", "retry", &done, "--stdin", "--content-type", "text/csv"];
        place.run_with(&again, b"a,b").succeeds();
        let output = place.run(&["task", "wait", &done, "--timeout", "4m"]).succeeds();
        assert_eq!(output.stdout, "a,b");
    }
}

#[tokio::test]
async fn the_payload_of_a_task_that_waits_stays_as_it_is() {
    for place in Place::each().await {
        let waiting = place.submit(&["mail", "--data", "x"]);
        let refused = place.run(&["task", "retry", &waiting, "--data", "y"]);
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains("has not ended"), "{}", refused.stderr);
        assert_eq!(place.json(&["task", "show", &waiting])["payload"]["text"], "x");
    }
}
