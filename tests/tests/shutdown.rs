//! The shutdown contract that `deploy/README.md` states, on the real process: what ends within
//! the grace ends, what does not goes back, and the exit code is 0.

use std::time::Duration;

use bulkhead_core::State;
use bulkhead_tests::{Site, eventually};

/// Longer than any of these takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_first_signal_drains_and_the_exit_code_is_zero() {
    for signal in ["TERM", "INT"] {
        let site = Site::new().await;
        let mut host = site.host("drains", &["--concurrency", "1"]).await;
        let runs = site.submit("sleep", "1500").await;
        site.running(runs).await;
        let waits = site.submit("echo", "for another host").await;
        host.signal(signal);
        assert_eq!(host.wait(PATIENCE).code(), Some(0), "{}", host.log());
        assert_eq!(site.view(runs).await.state, State::Completed);
        let left = site.view(waits).await;
        assert_eq!((left.state, left.attempts()), (State::Pending, 0), "nothing more is claimed");
        let hosts = site.client.broker().hosts().await.expect("a broker");
        assert!(hosts.is_empty(), "it has taken its leave");
    }
}

#[tokio::test]
async fn what_outlasts_the_grace_goes_back_uncounted() {
    let site = Site::new().await;
    let mut host = site.host("impatient", &["--grace", "100ms"]).await;
    let runs = site.submit("sleep", "25000").await;
    site.running(runs).await;
    host.signal("TERM");
    assert_eq!(host.wait(PATIENCE).code(), Some(0), "{}", host.log());
    let view = site.view(runs).await;
    assert_eq!((view.state, view.attempts()), (State::Pending, 0), "{view:?}");
}

#[tokio::test]
async fn a_second_signal_skips_the_grace() {
    let site = Site::new().await;
    let mut host = site.host("forced", &["--grace", "1h"]).await;
    let runs = site.submit("sleep", "25000").await;
    site.running(runs).await;
    host.signal("TERM");
    eventually("it drains", || async {
        host.log().contains("signal again to stop at once").then_some(())
    })
    .await;
    eventually("everybody sees it", || async {
        let hosts = site.client.broker().hosts().await.expect("a broker");
        (hosts.len() == 1 && hosts[0].draining).then(|| {
            assert_eq!(hosts[0].version, env!("CARGO_PKG_VERSION"));
            assert_eq!(hosts[0].in_flight, 1);
        })
    })
    .await;
    assert!(host.ended().is_none(), "the attempt may go on");
    host.signal("TERM");
    assert_eq!(host.wait(PATIENCE).code(), Some(0), "{}", host.log());
    let view = site.view(runs).await;
    assert_eq!((view.state, view.attempts()), (State::Pending, 0), "{view:?}");
}
