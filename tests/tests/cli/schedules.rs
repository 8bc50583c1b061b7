//! Schedules: defined, listed, computed ahead, stopped, fired by hand.

use bulkhead_tests::eventually;

use super::*;

#[tokio::test]
async fn a_schedule_is_defined_shown_stopped_and_fired_by_hand() {
    for place in Place::each().await {
        let nightly = [
            "schedule",
            "put",
            "nightly",
            "report",
            "--cron",
            "0 3 * * *",
            "--zone",
            "Europe/Berlin",
            "--data",
            "{}",
            "--expires-in",
            "1h",
            "--exclusive",
            "--missed",
            "all:3",
            "--meta",
            "k=v",
        ];
        let defined = place.json(&nightly);
        assert_eq!(defined["changed"], true);
        assert!(defined["next"].is_u64(), "{defined}");
        assert_eq!(place.json(&nightly)["changed"], false);
        place
            .run(&["schedule", "put", "tick", "ping", "--every", "366d", "--jitter", "1h"])
            .succeeds();
        masked_tables(|| {
            insta::assert_snapshot!("schedule_list", place.run(&["schedule", "list"]).all());
            let show = place.run(&["schedule", "show", "nightly"]);
            insta::assert_snapshot!("schedule_show", show.all());
            let show = place.run(&["schedule", "show", "nightly", "--json"]);
            insta::assert_snapshot!("schedule_show_json", show.all());
        });

        let next = place.json(&["schedule", "next", "nightly", "-n", "3"]);
        let times: Vec<u64> =
            next.as_array().unwrap().iter().filter_map(|f| f["at"].as_u64()).collect();
        assert_eq!(times.len(), 3);
        assert_eq!(times[0], defined["next"].as_u64().unwrap());
        assert!(times.iter().all(|at| at % 3_600_000 == 0), "{times:?}");
        let table = place.run(&["schedule", "next", "nightly"]).succeeds().stdout;
        assert_eq!(table.matches(" 03:00:00 CE").count(), 5, "{table}");

        let pause = place.run(&["schedule", "pause", "nightly"]).succeeds();
        assert_eq!(pause.stdout, "schedule nightly is paused\n");
        let pause = place.run(&["schedule", "pause", "nightly"]).succeeds();
        assert_eq!(pause.stdout, "schedule nightly is paused already\n");
        assert_eq!(place.json(&["schedule", "show", "nightly"])["paused"], true);
        let resume = place.run(&["schedule", "resume", "nightly"]).succeeds();
        assert!(resume.stdout.starts_with("schedule nightly is running, next fire"));

        let id = place.run(&["schedule", "fire", "nightly"]).succeeds().stdout.trim().to_owned();
        let task = place.json(&["task", "show", &id]);
        assert_eq!((&task["type"], &task["schedule"]), (&"report".into(), &"nightly".into()));
        assert_eq!(
            (&task["payload"]["json"], &task["metadata"]["k"]),
            (&serde_json::json!({}), &"v".into())
        );
        let listed = place.json(&["task", "list", "--schedule", "nightly"]);
        assert_eq!(listed[0]["id"], id);
        let overlap = place.run(&["schedule", "fire", "nightly"]);
        assert_eq!(overlap.code, 1);
        assert!(overlap.stderr.contains("has not ended"), "{}", overlap.stderr);
        let after = place.json(&["schedule", "show", "nightly"]);
        assert_eq!(after["next"], defined["next"], "a fire by hand leaves the next fire alone");

        place.run(&["schedule", "remove", "tick"]).succeeds();
        let unknown = place.run(&["schedule", "show", "nigthly"]);
        assert_eq!(unknown.code, 4);
        assert!(unknown.stderr.contains("did you mean `nightly`?"), "{}", unknown.stderr);
        assert_eq!(place.json(&["schedule", "list"]).as_array().map(Vec::len), Some(1));
    }
}

#[tokio::test]
async fn what_is_no_schedule_is_refused_before_it_is_stored() {
    let place = Place::new();
    for (args, says) in [
        (&["--cron", "0 3 * *"][..], "4 fields"),
        (&["--cron", "0 25 * * *"], "hour"),
        (&["--cron", "0 3 * * *", "--zone", "Mars"], "IANA"),
        (&["--every", "5m", "--jitter", "5m"], "jitter"),
        (&["--at", "2020-01-01T00:00:00Z"], "has passed"),
        (&["--every", "5m", "--zone", "UTC"], "cannot be used with"),
        (&[], "required"),
    ] {
        let ran = place.run(&[&["schedule", "put", "s", "t"], args].concat());
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(says), "{args:?}: {}", ran.stderr);
    }
    assert_eq!(place.run(&["schedule", "put", "a b", "t", "--every", "5m"]).code, 2);
    let none = place.run(&["schedule", "list"]).succeeds();
    assert!(none.stdout.starts_with("no schedules"), "{}", none.stdout);
}

#[tokio::test]
async fn a_host_fires_what_the_command_line_defined() {
    for place in Place::each_with_host().await {
        let put = ["schedule", "put", "often", "echo", "--every", "1s", "--data", "tick"];
        place.run(&put).succeeds();
        eventually("it fires", || async {
            let done = ["task", "list", "--schedule", "often", "--state", "completed"];
            (place.json(&done)[0]["output"]["text"] == "tick").then_some(())
        })
        .await;
        place.run(&["schedule", "remove", "often"]).succeeds();
    }
}
