//! How it stands in a few figures.

use std::sync::Arc;
use std::time::Duration;

use bulkhead_api::v1::ApiOptions;
use bulkhead_api::{About, Alert, Complaint, Local, LocalType, Phase, Recent, SettingDocument};
use serde_json::json;

use super::Talk;

/// A host of which nothing is known.
struct Nowhere;

impl Local for Nowhere {
    fn about(&self) -> About {
        About::default()
    }

    fn phase(&self) -> Phase {
        Phase::Serving
    }

    fn metrics(&self) -> String {
        String::new()
    }

    fn alerts(&self) -> Vec<Alert> {
        Vec::new()
    }

    fn log_level(&self) -> String {
        String::new()
    }

    fn set_log_level(&self, _: &str) -> Result<bool, String> {
        Ok(false)
    }

    fn recent(&self, _: Duration) -> Recent {
        Recent::default()
    }

    fn types(&self) -> Vec<LocalType> {
        Vec::new()
    }

    fn settings(&self) -> Vec<SettingDocument> {
        Vec::new()
    }

    fn complaints(&self) -> Vec<Complaint> {
        Vec::new()
    }
}

#[tokio::test]
async fn however_many_queues_there_are_a_thousand_are_looked_at() {
    let talk = Talk::over(ApiOptions::default(), |api| api.of(Arc::new(Nowhere)));
    let tasks: Vec<_> = (0..1_001)
        .map(|number| json!({"type": "a", "queue": format!("q{number}"), "payload": 1}))
        .collect();
    for some in tasks.chunks(500) {
        let sent = talk.post("/v1/tasks/bulk", json!({"tasks": some}).to_string()).await.with(200);
        assert_eq!(sent["accepted"], some.len());
    }
    let status = talk.get("/v1/status").await.with(200);
    assert_eq!((&status["queues"], &status["pending"]), (&json!(1_001), &json!(1_000)));
}
