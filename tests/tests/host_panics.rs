//! The host's own code panics around an attempt. The attempt is lost, and nothing else: neither
//! its place in the host nor the work of others. A file of its own, since the panic comes by
//! way of what the whole process logs to.

use std::fmt::{self, Write as _};
use std::time::Duration;

use bulkhead::HostOptions;
use bulkhead_core::{FailureKind, RetryRequest, State, Terms};
use bulkhead_queue::NewTask;
use bulkhead_tests::{Inside, failure, lost_leases, task};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// What a task fails with of which the host is to panic.
const TRIGGER: &str = "make the host panic";

/// Panics where the host logs that a task failed with the trigger.
struct Trap;

impl Subscriber for Trap {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("bulkhead")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        assert!(!text.0.contains(TRIGGER), "on purpose");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "reason" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}

fn trigger(attempts: u32) -> NewTask {
    let retry = RetryRequest { max_attempts: Some(attempts), ..RetryRequest::default() };
    NewTask { terms: Terms { retry: Some(retry), ..Terms::default() }, ..task("panic", TRIGGER) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_loses_one_attempt_and_nothing_else() {
    tracing::subscriber::set_global_default(Trap).expect("the first one");
    for site in [Inside::embedded(), Inside::redis().await] {
        let lease = Duration::from_secs(1);
        // With one place, a place that is not given up is the end of all work.
        let options = HostOptions {
            concurrency: 1,
            lease,
            memory_bytes: Some(1 << 30),
            ..HostOptions::default()
        };
        let _host = site.host("host", options).await;
        let doomed = site.submit(trigger(2)).await;
        for _ in 0..3 {
            let other = site.ended("echo", "x").await;
            assert_eq!(other.state, State::Completed, "{other:?}");
        }
        let view = site.wait(doomed).await;
        assert_eq!(view.state, State::Failed, "{view:?}");
        assert_eq!(failure(&view).kind, FailureKind::LeaseLost);
        assert_eq!(lost_leases(&view), 2, "{view:?}");
        // Several at a time: those beside it are not hurt.
        let many: Vec<_> = (0..20).map(|_| task("echo", "y")).collect();
        let mut ids = Vec::new();
        ids.push(site.submit(trigger(1)).await);
        for one in many {
            ids.push(site.submit(one).await);
        }
        for id in &ids[1..] {
            let view = site.wait(*id).await;
            assert_eq!((view.state, view.attempts()), (State::Completed, 1), "{view:?}");
        }
        let held = site.broker.hosts().await.expect("hosts").remove(0).memory.expect("a ceiling");
        assert_eq!(held.waiting, 0);
    }
}
