//! What a host logs of its tasks, and how that changes while it runs.

use bulkhead_tests::{HostProcess, Site, eventually};
use serde_json::Value;

/// A payload that no log may hold unless it was asked to.
const PAYLOAD: &str = "zqpayload\u{1b}[31m";

/// A host with this configuration beside it.
async fn configured(site: &Site, text: &str) -> HostProcess {
    let config = site.folder().join("bulkhead.toml");
    std::fs::write(&config, text).unwrap();
    site.host("logging", &["--config", config.to_str().unwrap()]).await
}

/// All that it logged.
fn lines(host: &HostProcess) -> Vec<Value> {
    let log = host.log();
    // The last line may be on its way.
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// The lines about tasks.
fn told(host: &HostProcess) -> Vec<Value> {
    let is_ours = |line: &Value| line["target"] == "bulkhead::task";
    lines(host).into_iter().filter(is_ours).collect()
}

/// The line of this event and task.
async fn line(host: &HostProcess, event: &str, task: &str) -> Value {
    eventually(&format!("`{event}` is told"), || async {
        told(host).into_iter().find(|line| line["event"] == event && line["task"] == task)
    })
    .await
}

#[tokio::test]
async fn a_tasks_life_is_told_by_stable_names_and_without_its_payload() {
    let site = Site::new().await;
    let text = "[log]\nlevel = \"trace\"\nformat = \"json\"\n";
    let host = configured(&site, text).await;
    let done = site.submit("echo", PAYLOAD).await;
    site.wait(done).await;
    let rejected = site.submit("reject", PAYLOAD).await;
    site.wait(rejected).await;
    let claimed = line(&host, "claimed", &done.to_string()).await;
    for (field, value) in [
        ("level", "DEBUG"),
        ("queue", "default"),
        ("task_type", "echo"),
        ("tenant", "default"),
        ("priority", "normal"),
    ] {
        assert_eq!(claimed[field], value, "{claimed}");
    }
    assert_eq!(claimed["attempt"], 1);
    let ended = line(&host, "done", &done.to_string()).await;
    assert!(ended["wall_us"].as_u64().unwrap() > 0, "{ended}");
    let failed = line(&host, "failed", &rejected.to_string()).await;
    assert_eq!((&failed["level"], &failed["outcome"]), (&"INFO".into(), &"reject".into()));
    assert_eq!(failed["next"], "dead_letter");
    // The handler's own words repeat what it was given; the host's do not.
    let mut host_words = lines(&host).into_iter().filter(|line| line["event"] != "failed");
    assert!(host_words.all(|line| !line.to_string().contains("zqpayload")));
    assert!(claimed.get("payload").is_none() && ended.get("result").is_none(), "{claimed}");
}

#[tokio::test]
async fn payloads_are_told_only_where_they_were_asked_for() {
    let site = Site::new().await;
    let text = "[log]\nlevel = \"debug\"\nformat = \"json\"\npayloads = true\n";
    let host = configured(&site, text).await;
    let done = site.submit("echo", format!("{PAYLOAD}{}", "x".repeat(5_000))).await;
    site.wait(done).await;
    let claimed = line(&host, "claimed", &done.to_string()).await;
    let payload = claimed["payload"].as_str().unwrap();
    assert!(payload.starts_with("zqpayload\\u{1b}[31mxxx"), "{payload}");
    assert!(payload.ends_with("xxx…") && payload.len() < 1_100, "{payload}");
    let ended = line(&host, "done", &done.to_string()).await;
    assert!(ended["result"].as_str().unwrap().starts_with("zqpayload\\u{1b}"), "{ended}");
    assert!(!host.log().contains('\u{1b}'));
}

#[tokio::test]
async fn a_hangup_reads_the_levels_again() {
    let site = Site::new().await;
    let config = |level: &str| format!("[log]\nlevel = \"{level}\"\nformat = \"json\"\n");
    let mut host = configured(&site, &config("info")).await;
    let quiet = site.submit("echo", "a").await;
    site.wait(quiet).await;
    let path = site.folder().join("bulkhead.toml");
    std::fs::write(&path, config("info,bulkhead::task=debug")).unwrap();
    host.signal("HUP");
    eventually("the levels change", || async {
        host.log().contains("log levels changed").then_some(())
    })
    .await;
    let loud = site.submit("echo", "b").await;
    site.wait(loud).await;
    line(&host, "done", &loud.to_string()).await;
    assert!(told(&host).iter().all(|line| line["task"] != quiet.to_string()));
    let mut debug = lines(&host).into_iter().filter(|line| line["level"] == "DEBUG");
    assert!(debug.all(|line| line["target"] == "bulkhead::task"), "one module's level");
    // What makes no sense changes nothing.
    std::fs::write(&path, config("wran")).unwrap();
    host.signal("HUP");
    eventually("it is refused", || async {
        host.log().contains("log levels stay as they are").then_some(())
    })
    .await;
    let still = site.submit("echo", "c").await;
    site.wait(still).await;
    line(&host, "done", &still.to_string()).await;
    assert_eq!(host.ended(), None);
}
