//! Alerts of a host: in its log's place the metric, the handle and a webhook of our own.

use bulkhead_core::{AlertState, QueueName};
use bulkhead_tests::{Exposition, Inside, Received, Receiver, Running, eventually, task};
use serde_json::Value;

fn state(host: &Running, alert: &str) -> Option<AlertState> {
    let status = host.alerts.status();
    status.into_iter().find(|status| status.alert == alert).map(|status| status.state)
}

async fn is(host: &Running, alert: &str, wanted: fn(AlertState) -> bool) {
    eventually(&format!("the state of {alert} changes"), || async {
        state(host, alert).filter(|state| wanted(*state))
    })
    .await;
}

fn told(request: &Received) -> (String, Value) {
    let notice: Value = serde_json::from_slice(&request.body).expect("JSON");
    (
        format!("{} {}", notice["alert"].as_str().unwrap(), notice["change"].as_str().unwrap()),
        notice,
    )
}

#[tokio::test]
async fn a_depth_fires_after_a_while_and_is_over_at_the_other_threshold() {
    let inside = Inside::redis().await;
    let receiver = Receiver::start().await;
    // Two tries fail before one is taken.
    receiver.answer(&[500, 503]);
    let options = inside.configured(&format!(
        r#"
        [telemetry]
        sample_every = "1s"
        [alerts.deep]
        signal = "depth"
        queue = "default"
        above = 5
        clear = 2
        for = "1s"
        webhook = "{}"
        [alerts.elsewhere]
        signal = "depth"
        queue = "unserved"
        above = 0
        "#,
        receiver.url("/hook?token=s3cret"),
    ));
    let queue = QueueName::default();
    inside.broker.pause(&queue, None).await.unwrap();
    let host = inside.host("deep", options).await;
    is(&host, "deep", |state| state == AlertState::Quiet).await;
    let tasks = (0..9).map(|at| task("echo", format!("{at}"))).collect();
    inside.client.submit_many(tasks).await.unwrap();
    is(&host, "deep", |state| matches!(state, AlertState::Firing { .. })).await;
    let firing = [("alert", "deep"), ("queue", "default")];
    let exposed = Exposition::read(&host.metrics.render());
    assert_eq!(exposed.value("bulkhead_alert_firing", &firing), Some(1.0));
    inside.broker.resume(&queue, None).await.unwrap();
    is(&host, "deep", |state| state == AlertState::Quiet).await;
    let exposed = Exposition::read(&host.metrics.render());
    assert_eq!(exposed.value("bulkhead_alert_firing", &firing), Some(0.0));
    assert_eq!(state(&host, "elsewhere"), None, "nobody watches a queue that is not served");

    let received = eventually("both were told of", || async {
        let received = receiver.received();
        (received.len() == 4).then_some(received)
    })
    .await;
    let names: Vec<String> = received.iter().map(|request| told(request).0).collect();
    assert_eq!(names, ["deep fired", "deep fired", "deep fired", "deep resolved"]);
    let (_, fired) = told(&received[2]);
    assert_eq!(fired["host"], "deep");
    assert_eq!(fired["queue"], "default");
    assert_eq!(fired["signal"], "depth");
    assert_eq!(fired["bound"]["above"], 5.0);
    assert_eq!(fired["value"], 9.0);
    assert!(received.iter().all(|request| request.path == "/hook?token=s3cret"));
    eventually("the delivery is counted", || async {
        let exposed = Exposition::read(&host.metrics.render());
        let delivered = exposed.value("bulkhead_alert_webhooks_total", &[("result", "delivered")]);
        (delivered == Some(2.0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn rates_and_times_are_of_what_the_host_settled() {
    let inside = Inside::redis().await;
    let options = inside.configured(
        r#"
        [alerts.errors]
        signal = "error_rate"
        above = 0.5
        window = "1m"
        [alerts.success]
        signal = "success_rate"
        below = 0.5
        window = "1m"
        [alerts.slow]
        signal = "p95_latency"
        above = "100ms"
        window = "1m"
        [alerts.quick]
        signal = "p95_latency"
        above = "1h"
        "#,
    );
    let host = inside.host("rates", options).await;
    is(&host, "errors", |state| state == AlertState::Quiet).await;
    inside.ended("sleep", "400").await;
    is(&host, "slow", |state| matches!(state, AlertState::Firing { .. })).await;
    assert_eq!(state(&host, "errors"), Some(AlertState::Quiet));
    for _ in 0..3 {
        inside.ended("reject", "no").await;
    }
    is(&host, "errors", |state| matches!(state, AlertState::Firing { .. })).await;
    is(&host, "success", |state| matches!(state, AlertState::Firing { .. })).await;
    for _ in 0..4 {
        inside.ended("noop", "").await;
    }
    is(&host, "errors", |state| state == AlertState::Quiet).await;
    assert_eq!(state(&host, "quick"), Some(AlertState::Quiet));
    let status = host.alerts.status();
    let errors = status.iter().find(|status| status.alert == "errors").unwrap();
    assert_eq!(errors.value, Some(3.0 / 8.0));
    let document = serde_json::to_value(&status).unwrap();
    assert_eq!(document[0]["alert"], "errors");
    assert_eq!(document[0]["state"], "quiet");
}
