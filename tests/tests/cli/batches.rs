//! Batches: submitted, counted, waited for, followed by their callback.

use super::*;

#[tokio::test]
async fn a_batch_is_counted_and_followed_by_its_callback() {
    for place in Place::each_with_host().await {
        let lines = "{\"type\":\"echo\",\"payload\":\"a\"}\n{\"payload\":\"b\"}\n{\"type\":\"reject\",\"payload\":\"c\"}\n";
        let file = place.file("tasks.jsonl", lines);
        let submit = [
            "batch",
            "submit",
            "echo",
            "--jsonl",
            &file,
            "--name",
            "nightly import",
            "--callback",
            "echo",
            "--callback-data",
            "done",
            "--wait",
            "--timeout",
            "4m",
        ];
        let ran = place.run(&submit);
        masked_tables(|| insta::assert_snapshot!("batch_wait", ran.all()));
        let list = place.json(&["batch", "list"]);
        let id = list[0]["id"].as_str().unwrap();
        assert_eq!((&list[0]["completed"], &list[0]["failed"]), (&2.into(), &1.into()));
        let callback = list[0]["callback"].as_str().unwrap();
        let output = place.run(&["task", "wait", callback, "--timeout", "4m"]).succeeds();
        assert_eq!(output.stdout, "done");
        let callback = place.json(&["task", "show", callback]);
        assert_eq!(callback["metadata"]["batch_failed"], "1");
        assert_eq!(place.run(&["batch", "wait", id]).code, 1, "one did not complete");
        let members = place.json(&["task", "list", "--batch", id]);
        assert_eq!(members.as_array().map(Vec::len), Some(3));
        masked_tables(|| {
            insta::assert_snapshot!("batch_list", place.run(&["batch", "list"]).all());
            insta::assert_snapshot!(
                "batch_show_json",
                place.run(&["batch", "show", id, "--json"]).all()
            );
        });
    }
}

#[tokio::test]
async fn a_batch_that_nobody_works_on_is_waited_for_in_vain() {
    for place in Place::each().await {
        let lines = "{\"type\":\"a\",\"payload\":1,\"unique\":\"k\"}\n{\"type\":\"a\",\"payload\":2,\"unique\":\"k\"}\n";
        let submit = ["batch", "submit", "--jsonl", "-", "--over", "first-failure", "--json"];
        let ran = place.run_with(&submit, lines.as_bytes()).succeeds();
        assert!(ran.stderr.contains("the batch counts them as cancelled"), "{}", ran.stderr);
        let batch = ran.json();
        assert_eq!(
            (&batch["tasks"][0]["answer"], &batch["tasks"][1]["answer"]),
            (&"accepted".into(), &"taken".into())
        );
        let id = batch["id"].as_str().unwrap();
        let view = place.json(&["batch", "show", id]);
        assert_eq!((&view["cancelled"], &view["open"]), (&1.into(), &1.into()));
        assert!(view["over_at"].is_u64(), "the first did not complete: {view}");
        let open = place.run_with(&["batch", "submit", "a", "--jsonl", "-"], b"{\"payload\":1}\n");
        let id = open.succeeds().stdout.trim().to_owned();
        let vain = place.run(&["batch", "wait", &id, "--timeout", "100ms"]);
        assert_eq!(vain.code, 5);
        assert!(vain.stderr.contains("1 of 1 tasks have not ended"), "{}", vain.stderr);
        let unknown = "00000000-0000-0000-0000-000000000000";
        assert_eq!(place.run(&["batch", "show", unknown]).code, 4);
        assert_eq!(place.run_with(&["batch", "submit", "a", "--jsonl", "-"], b"\n").code, 2);
    }
}
