//! What is pressed happens in the broker.

use std::time::Duration;

use bulkhead_core::{QueueName, State};
use bulkhead_tests::{Tab, digest_of, eventually, eventually_within, guest, output, version_of};
use serde_json::{Value, json};

use crate::stand::{Stand, open, page_of};

#[tokio::test(flavor = "multi_thread")]
async fn tasks_and_dead_letters_are_cancelled_retried_edited_and_dropped() {
    let stand = Stand::new().await;
    let api = stand.admin();
    let tab = stand.tab("read,operate");

    // One task: cancel it while it runs, while it waits; run it again, as it was and otherwise.
    let runs = stand
        .submit(&api, &json!({"type": "sleep", "payload": "600000", "limits": {"wall": "10m"}}));
    stand.site.running(runs).await;
    open(&tab, &page_of(runs));
    tab.click("Cancel");
    tab.shows("Cancel this task?");
    tab.click("Leave it");
    assert_eq!(stand.site.view(runs).await.state, State::Running, "nothing is done unasked");
    tab.click("Cancel");
    tab.until("it is asked", "document.querySelector('dialog[open]')");
    tab.click_on("dialog button.danger");
    tab.shows("Its host was asked to stop it.");
    assert_eq!(stand.site.wait(runs).await.state, State::Cancelled);
    tab.until(
        "the page follows",
        "document.querySelector('.head .badge').innerText === 'cancelled'",
    );

    let waits = stand.submit(&api, &json!({"type": "echo", "payload": {"a": 1}, "delay": "1h"}));
    open(&tab, &page_of(waits));
    tab.click("Run it now");
    assert_eq!(stand.site.wait(waits).await.state, State::Completed);
    tab.shows("Edit and run");
    tab.click("Edit and run");
    tab.write("Payload", "{\"a\": ");
    tab.click("Run it");
    tab.shows("This is no JSON");
    tab.write("Payload", "{\"a\": 22}");
    tab.click("Run it");
    tab.shows("It is in line with the new payload.");
    eventually("it ran with it", || async {
        let view = stand.site.view(waits).await;
        (view.state == State::Completed && output(&view) == "{\"a\":22}").then_some(())
    })
    .await;
    tab.shows("\"a\": 22");

    // Many: marked ones, and all that a search finds.
    let dead: Vec<_> = (0..4)
        .map(|n| stand.submit(&api, &json!({"type": "reject", "payload": format!("n{n}")})))
        .collect();
    for id in &dead {
        stand.site.wait(*id).await;
    }
    open(&tab, "dead");
    rows(&tab, 4);
    mark(&tab, &dead[0].to_string());
    tab.shows("1 marked");
    tab.click("Drop them");
    tab.click_on("dialog button.danger");
    tab.shows("1 are gone");
    rows(&tab, 3);
    let queue = QueueName::default();
    let gone = stand.site.client.broker().inspect(&queue, &dead[..1]).await.expect("a broker");
    assert!(gone[0].is_none());
    mark(&tab, &dead[1].to_string());
    tab.click("Run them again");
    tab.shows("1 are in line again");
    eventually("it failed once more", || async {
        (stand.site.view(dead[1]).await.history.len() == 3).then_some(())
    })
    .await;
    tab.write("Text in failure, metadata, payload", "n2");
    tab.click("Search");
    rows(&tab, 1);
    tab.click("Run all of these again");
    tab.click_on("dialog button.danger");
    eventually("that one alone failed once more", || async {
        (stand.site.view(dead[2]).await.history.len() == 3).then_some(())
    })
    .await;
    assert_eq!(stand.site.view(dead[3]).await.history.len(), 1);
    open(&tab, "dead?queue=default");
    rows(&tab, 3);
    tab.click("Drop all of these");
    tab.click_on("dialog button.danger");
    tab.shows("3 are gone");
    tab.shows("No dead letter is so.");
    assert_eq!(stand.site.stats().await.failed, 0);

    let pending: Vec<_> =
        (0..3).map(|_| stand.submit(&api, &json!({"type": "unserved", "payload": ""}))).collect();
    open(&tab, "tasks?type=unserved");
    rows(&tab, 3);
    tab.click_on("thead input");
    tab.click("Cancel them");
    tab.click_on("dialog button.danger");
    tab.shows("3 are cancelled or asked to stop");
    for id in pending {
        assert_eq!(stand.site.view(id).await.state, State::Cancelled);
    }
}

fn rows(tab: &Tab, count: usize) {
    tab.until(
        &format!("{count} rows"),
        &format!(
            "document.querySelectorAll('table.long tbody tr:not(.spacer)').length === {count}"
        ),
    );
}

fn mark(tab: &Tab, id: &str) {
    tab.click_on(&format!("input[aria-label=\"Mark {id}\"]"));
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_schedules_plugins_and_tokens_are_operated() {
    let stand = Stand::new().await;
    let api = stand.admin();
    let tab = stand.tab("admin");
    stand.site.ended("echo", "x").await;
    let queue = QueueName::default();
    let broker = stand.site.client.broker();

    open(&tab, "queues/default");
    tab.click_in(".head", "Pause");
    tab.shows("default is paused; what runs goes on");
    assert!(stand.site.stats().await.paused);
    let waits = stand.submit(&api, &json!({"type": "echo", "payload": "y"}));
    tab.until("it is in line", "[...document.querySelectorAll('.card')].some((card) => card.innerText.startsWith('Pending\\n\\n1') || /^Pending\\s+1$/.test(card.innerText.trim()))");
    tab.click("Purge pending");
    tab.shows("Remove all 1 pending tasks of default for good?");
    tab.click_on("dialog button.danger");
    tab.shows("1 tasks are gone");
    assert!(broker.inspect(&queue, &[waits]).await.expect("a broker")[0].is_none());
    tab.click_in(".head", "Resume");
    tab.shows("default hands out tasks again");
    assert!(!stand.site.stats().await.paused);
    stand.submit(&api, &json!({"type": "unserved", "payload": ""}));
    tab.click_on("button[title='Pause unserved in this queue']");
    tab.shows("unserved waits; what runs goes on");
    assert!(
        stand
            .site
            .stats()
            .await
            .by_type
            .iter()
            .any(|one| one.paused && one.task_type == "unserved")
    );
    tab.click_on("button[title='Resume unserved in this queue']");
    tab.shows("unserved is handed out again");
    tab.click("Examine");
    tab.shows("Tasks and indexes agree.");
    tab.click("Edit the policy");
    tab.write("Policy as JSON", "{\"concurrency\": 7}");
    tab.click("Replace it");
    tab.shows("The policy applies from the next claim on.");
    assert_eq!(broker.policy(&queue).await.expect("a policy").concurrency, Some(7));

    open(&tab, "schedules");
    tab.click("Define a schedule");
    for (label, text) in [
        ("Name", "often"),
        ("Cron expression", "0 4 * * *"),
        ("Time zone", "Europe/Paris"),
        ("Task type", "echo"),
        ("Payload (JSON)", "{\"by\": \"clock\"}"),
    ] {
        tab.write(label, text);
    }
    tab.click("Define it");
    tab.shows("often is defined");
    open(&tab, "schedules/default/often");
    tab.click("Fire now");
    tab.shows("is in line.");
    let schedule = "/v1/queues/default/schedules/often";
    assert_eq!(api.get(schedule).with(200)["fired"], 1);
    tab.click("Pause");
    tab.shows("often is paused");
    assert_eq!(api.get(schedule).with(200)["paused"], true);
    tab.click("Resume");
    tab.shows("often fires again");
    tab.click("Remove");
    tab.click_on("dialog button.danger");
    tab.shows("often is gone");
    assert_eq!(api.get(schedule).status, 404);

    open(&tab, "plugins");
    tab.click("Look through the folders");
    tab.shows("1 hosts look through their plugin folders");
    eventually("it looked", || async {
        let hosts = broker.hosts().await.ok()?;
        hosts.iter().any(|host| host.rescans > 0).then_some(())
    })
    .await;

    open(&tab, "journal");
    tab.click("Make a token");
    tab.write("Name", "visitor");
    tab.click("Make it");
    tab.shows("The token, shown this once");
    let made = tab.js("document.querySelector('dialog pre').innerText");
    let visitor = stand.api.with(made.as_str().expect("text"));
    assert_eq!(visitor.get("/v1/whoami").with(200)["scopes"], json!(["read"]));
    tab.click("Close");
    tab.click_on("button[title='Revoke visitor']");
    tab.click_on("dialog button.danger");
    tab.shows("visitor is revoked");
    eventually("it is worth nothing", || async {
        (visitor.get("/v1/whoami").status == 401).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_are_uploaded_looked_at_activated_rolled_back_and_forgotten() {
    let stand = Stand::new().await;
    let tab = stand.tab("admin");
    let files = tempfile::tempdir().expect("a folder");
    let mut digests = Vec::new();
    open(&tab, "plugins");
    for number in [1, 2] {
        let (bytes, digest) = version_of("unruly", number);
        let file = files.path().join("unruly.wasm");
        std::fs::write(&file, bytes).expect("written");
        tab.click("Upload a version");
        tab.choose("component", &file);
        tab.until(
            "it is named after its file",
            "document.querySelector('dialog input[name=name]').value === 'unruly'",
        );
        tab.click("Upload it");
        let short = digest.to_string()[..12].to_owned();
        tab.shows(&format!("{short} is kept"));
        tab.until("its dialog is gone", "!document.querySelector('dialog')");
        digests.push((digest.to_string(), short));
    }
    tab.expect_complaint("status of 422");
    let wrong = files.path().join("wrong.wasm");
    std::fs::write(&wrong, guest("wrongworld")).expect("written");
    tab.click("Upload a version");
    tab.choose("component", &wrong);
    tab.click("Upload it");
    tab.until(
        "it says why it refuses",
        "document.querySelector('dialog .failed').innerText.includes('world')",
    );
    tab.press("Escape");

    let [(first, one), (second, two)] = &digests[..] else { panic!("two versions") };
    tab.click_on(&format!("button[title='Look at {one}']"));
    for text in ["Grants", "Asks for", "needs no grant", "Handles", "Returns its payload."] {
        tab.shows(text);
    }
    tab.click("Close");
    for (digest, short) in [(first, one), (second, two)] {
        tab.click_on(&format!("button[title='Activate {short}']"));
        tab.click_on("dialog button.danger");
        tab.shows(&format!("{short} is active; hosts follow"));
        serves(&stand, digest).await;
    }
    tab.click("Roll back");
    tab.click_on("dialog button.danger");
    tab.shows(&format!("{one} is active again; hosts follow"));
    serves(&stand, first).await;
    tab.shows("Activated 3 times");
    stand.site.ended("reject", "no").await;
    tab.shows("1 of 1, 100 %");

    let api = stand.admin();
    for (button, said, end) in [("Stop", "old", "stopped"), ("Promote", "new", "promoted")] {
        tab.click_on(&format!("button[title='Try {two}']"));
        tab.click("Begin");
        tab.shows(&format!("{two} gets 5 %"));
        tab.shows("5 % of tasks, round 1 of 3");
        let runs = api.get("/v1/plugins/unruly/canary").with(200);
        assert_eq!((&runs["digest"], &runs["verdict"]), (&json!(second), &Value::Null));
        tab.click_on(&format!("button[title='{button} the canary of unruly']"));
        tab.click_on("dialog button.danger");
        tab.shows(&format!("The {said} version of unruly gets all tasks"));
        tab.shows("Last canary");
        let ended = api.get("/v1/plugins/unruly/canary").with(200);
        assert_eq!(ended["verdict"]["end"], end);
    }
    serves(&stand, second).await;
    tab.click("Forget");
    tab.click_on("dialog button.danger");
    tab.shows("unruly is kept no more");
    assert_eq!(api.get("/v1/plugins/unruly/history").status, 404);
    serves(&stand, &digest_of(&guest("unruly")).to_string()).await;
}

/// Wait until the host serves a version of `unruly`.
async fn serves(stand: &Stand, digest: &str) {
    eventually_within(Duration::from_secs(120), "the host follows", || async {
        let hosts = stand.site.client.broker().hosts().await.ok()?;
        let unruly = hosts[0].plugins.iter().find(|one| one.name == "unruly")?;
        (unruly.serving.as_ref()?.digest.to_string() == digest).then_some(())
    })
    .await;
}
