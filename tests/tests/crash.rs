//! Hosts that die, hang or are told to stop; servers and networks that go away. A ledger
//! of tasks proves that none is lost and that only attempts that were cut off repeat.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bulkhead_core::{State, TaskId};
use bulkhead_queue::{Entry, TaskView};
use bulkhead_tests::{
    Persistence, Proxy, RedisServer, Site, eventually, eventually_within, lost_leases, task,
};

const LEDGER: usize = 20_000;

/// Wait until nothing is left to do.
async fn drained(site: &Site, total: usize) {
    eventually_within(Duration::from_secs(150), "all tasks end", || async {
        let stats = site.client.broker().stats(&Default::default()).await.ok()?;
        let open = stats.pending + stats.scheduled + stats.running;
        (open == 0).then_some(())
    })
    .await;
    let stats = site.stats().await;
    let ended = stats.totals.get("completed").copied().unwrap_or(0);
    assert_eq!((ended, stats.failed), (total as u64, 0), "{stats:?}");
}

/// Every task completed once, and every further attempt is one that lost its lease or
/// was given back.
fn check_ledger(views: &[TaskView]) -> usize {
    let mut repeated = 0;
    for view in views {
        assert_eq!(view.state, State::Completed, "{view:?}");
        let ended = view.history.iter().filter(|e| matches!(e, Entry::Ended(..))).count();
        assert_eq!(ended, 1, "one end each: {view:?}");
        assert_eq!(view.history.len(), 1 + lost_leases(view), "{view:?}");
        repeated += lost_leases(view);
    }
    repeated
}

/// Wait until this share of the ledger is completed.
async fn completed(site: &Site, fifths: u64) {
    eventually("a share of the ledger is done", || async {
        let done = site.stats().await.totals.get("completed").copied().unwrap_or(0);
        (done >= fifths * LEDGER as u64 / 5).then_some(())
    })
    .await;
}

#[tokio::test]
async fn killed_hosts_lose_no_task() {
    let site = Site::new().await;
    let ids = site.submit_many(LEDGER, "burn", "200").await;
    let flags = ["--lease", "1s", "--concurrency", "32"];
    let mut cut_off = 0;
    for round in 0..3 {
        let mut host = site.host(&format!("victim-{round}"), &flags).await;
        completed(&site, round + 1).await;
        host.kill();
        cut_off += site.stats().await.running;
    }
    let _survivor = site.host("survivor", &flags).await;
    drained(&site, LEDGER).await;
    let repeated = check_ledger(&site.views(&ids).await);
    assert!(repeated as u64 <= cut_off, "{repeated} of {cut_off}");
}

#[tokio::test]
async fn paused_and_stopped_hosts_lose_no_task() {
    let site = Site::new().await;
    let ids = site.submit_many(LEDGER, "burn", "200").await;
    let flags = ["--lease", "1s", "--concurrency", "32"];
    let mut paused = Vec::new();
    let mut cut_off = 0;
    for round in 0..2 {
        let host = site.host(&format!("paused-{round}"), &flags).await;
        completed(&site, round + 1).await;
        host.signal("STOP");
        cut_off += site.stats().await.running;
        paused.push(host);
    }
    let mut stopped = site.host("stopped", &flags).await;
    completed(&site, 3).await;
    stopped.signal("TERM");
    assert!(stopped.wait(Duration::from_secs(30)).success(), "{}", stopped.log());
    let _survivor = site.host("survivor", &flags).await;
    completed(&site, 4).await;
    // The paused hosts come to long after their leases and settle what they held.
    for host in &paused {
        host.signal("CONT");
    }
    drained(&site, LEDGER).await;
    let repeated = check_ledger(&site.views(&ids).await);
    assert!(repeated as u64 <= cut_off, "{repeated} of {cut_off}");
}

#[tokio::test]
async fn recovery_begins_within_the_lease_and_a_second() {
    let site = Site::new().await;
    let id = site.submit("sleep", "9000").await;
    let mut victim = site.host("victim", &["--lease", "2s"]).await;
    site.running(id).await;
    let _survivor = site.host("survivor", &["--lease", "2s"]).await;
    victim.kill();
    let died = Instant::now();
    assert_eq!(site.view(id).await.state, State::Running, "the survivor was there in time");
    eventually("the survivor takes over", || async {
        let view = site.view(id).await;
        (view.holder.as_ref().is_some_and(|holder| holder.host.starts_with("survivor#")))
            .then_some(())
    })
    .await;
    let took = died.elapsed();
    assert!(took <= Duration::from_secs(3), "{took:?}");
    let view = site.wait(id).await;
    assert_eq!((view.state, view.attempts()), (State::Completed, 2));
}

#[tokio::test]
async fn a_task_that_kills_its_host_every_time_becomes_a_dead_letter() {
    let site = Site::new().await;
    let mut poison = task("sleep", "60000");
    poison.terms.retry =
        Some(bulkhead_core::RetryRequest { max_attempts: Some(2), ..Default::default() });
    let id = site.client.submit(poison).await.unwrap().id;
    for round in 0..2 {
        let mut host = site.host(&format!("victim-{round}"), &["--lease", "1s"]).await;
        site.running(id).await;
        host.kill();
        eventually("the lease runs out", || async {
            let probe = site.view(id).await.holder.map(|h| h.lease_until);
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            probe.is_none_or(|until| u128::from(until) < now.as_millis()).then_some(())
        })
        .await;
    }
    let _survivor = site.host("survivor", &["--lease", "1s"]).await;
    let view = site.wait(id).await;
    assert_eq!(view.state, State::Failed);
    let failure = bulkhead_tests::failure(&view);
    assert_eq!(failure.kind, bulkhead_core::FailureKind::LeaseLost, "{failure:?}");
}

#[tokio::test]
async fn a_paused_host_cannot_overwrite_its_successor() {
    let site = Site::new().await;
    let paused = site.host("paused", &["--lease", "1s"]).await;
    let id = site.submit("sleep", "1500").await;
    site.running(id).await;
    paused.signal("STOP");
    let _successor = site.host("successor", &["--lease", "1s"]).await;
    let view = site.wait(id).await;
    assert_eq!(view.last_report().unwrap().host, "successor");
    paused.signal("CONT");
    // The paused host comes to, finds its lease gone and serves again.
    eventually("the paused host serves again", || async {
        let probe = site.ended("noop", "").await;
        (probe.last_report().unwrap().host == "paused").then_some(())
    })
    .await;
    // Redis tells the time until it forgets a task, which is rounded at each look.
    let lasting = |view| TaskView { kept_until: None, ..view };
    assert_eq!(lasting(site.view(id).await), lasting(view), "nothing about the task has changed");
}

#[tokio::test]
async fn a_stopped_host_finishes_what_runs_and_gives_back_the_rest() {
    let site = Site::new().await;
    let flags = ["--grace", "2s", "--concurrency", "64"];
    let mut host = site.host("first", &flags).await;
    let quick = site.submit("sleep", "700").await;
    let slow = site.submit("sleep", "20000").await;
    site.running(quick).await;
    site.running(slow).await;
    let waiting = site.submit_many(2_000, "burn", "200000").await;
    host.signal("TERM");
    let status = host.wait(Duration::from_secs(20));
    assert!(status.success(), "{status:?}\n{}", host.log());
    let stats = site.stats().await;
    assert_eq!(stats.running, 0, "no lease is left behind");
    assert_eq!(site.view(quick).await.state, State::Completed);
    let view = site.view(slow).await;
    assert_eq!((view.state, view.attempts()), (State::Pending, 0), "no attempt spent");
    for view in site.views(&waiting).await {
        assert!(matches!(view.state, State::Pending | State::Completed));
        assert_eq!(lost_leases(&view), 0);
    }
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let site = Site::new().await;
    let mut host = site.host("first", &["--grace", "60s"]).await;
    let slow = site.submit("sleep", "50000").await;
    site.running(slow).await;
    host.signal("TERM");
    eventually("draining is logged or the host is draining", || async {
        // A task submitted now stays where it is once the host drains.
        let id = site.submit("noop", "").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        (site.view(id).await.state == State::Pending).then_some(())
    })
    .await;
    host.signal("INT");
    let asked = Instant::now();
    host.wait(Duration::from_secs(20));
    assert!(asked.elapsed() < Duration::from_secs(10));
    assert_eq!(site.view(slow).await.state, State::Pending);
}

#[tokio::test]
async fn a_restarted_server_loses_nothing_that_it_kept() {
    let mut site = Site::on(RedisServer::start_with(Persistence::Always)).await;
    let host = site.host("host", &["--lease", "2s", "--concurrency", "16"]).await;
    let ids = site.submit_many(3_000, "burn", "20000").await;
    for round in 1..=3u64 {
        eventually("some are done", || async {
            let done = site.stats().await.totals.get("completed").copied().unwrap_or(0);
            (done >= round * 500).then_some(())
        })
        .await;
        site.server.kill();
        site.server.restart();
        site.client = bulkhead_queue::Client::new(
            std::sync::Arc::new(site.server.broker().await),
            Default::default(),
        );
    }
    drained(&site, ids.len()).await;
    check_ledger(&site.views(&ids).await);
    drop(host);
}

#[tokio::test]
async fn a_cut_network_blames_no_task() {
    let site = Site::new().await;
    let proxy = Proxy::to(site.server.port()).await;
    let _host = site.host_on(&proxy.url(), "host", &["--lease", "2s"]).await;
    let ids = site.submit_many(2_000, "burn", "20000").await;
    let mut done_at_cut: HashMap<usize, u64> = HashMap::new();
    for round in 0..4usize {
        eventually("some are done", || async {
            let done = site.stats().await.totals.get("completed").copied().unwrap_or(0);
            (done >= (round as u64 + 1) * 300).then_some(())
        })
        .await;
        proxy.cut();
        done_at_cut.insert(round, site.stats().await.totals["completed"]);
        if round == 3 {
            // Longer than the lease: the attempts' ends are settled when it mends.
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        proxy.mend();
    }
    drained(&site, ids.len()).await;
    check_ledger(&site.views(&ids).await);
}

#[tokio::test]
async fn a_cancelled_task_stops_soon_on_its_host() {
    let site = Site::new().await;
    let _host = site.host("host", &[]).await;
    let id: TaskId = site.submit("spin", "").await;
    site.running(id).await;
    site.client.broker().cancel(&Default::default(), &[id], 60_000).await.unwrap();
    let asked = Instant::now();
    let view = site.wait(id).await;
    assert_eq!(view.state, State::Cancelled);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
}
