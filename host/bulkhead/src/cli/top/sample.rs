//! Figures made up for tests.

use std::collections::BTreeMap;
use std::time::Duration;

use bulkhead::core::{
    AutoscalePolicy, Autoscaler, Digest, Observation, QueueName, QueuePolicy, TaskId, TenantName,
    TenantPolicy, UnixMs,
};
use bulkhead::queue::{
    HeldBy, HeldTenant, HostInfo, HostLatency, HostMemory, HostScaling, PluginInfo, QueueStats,
    ScalingChange, ServingVersion, TIMES_MS, TIMES_US, TenantDepth, TenantLoad, TypeDepth,
    TypeFigures,
};
use bulkhead_api::document::{Look, Overview};

use super::board::Board;
use super::looks::{Seen, TaskLine};
use super::typed::Window;

/// When the samples are looked at.
pub(super) const NOW: UnixMs = 1_795_300_000_000;

pub(super) fn queue(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

pub(super) fn host(name: &str) -> HostInfo {
    HostInfo {
        name: name.into(),
        version: "0.1.0".into(),
        pid: 7,
        started_at: NOW - 3_600_000,
        seen_at: NOW - 1_000,
        concurrency: 8,
        in_flight: 2,
        memory: None,
        queues: vec!["default".into()],
        plugins: Vec::new(),
        rescans: 0,
        isolation: Vec::new(),
        fleet: true,
        scaling: None,
        draining: false,
        refusing: Vec::new(),
        types: Vec::new(),
        tenants: Vec::new(),
        latency: HostLatency::default(),
    }
}

pub(super) fn look(at: UnixMs, queues: Vec<(QueueName, QueueStats)>, hosts: Vec<HostInfo>) -> Look {
    Look { at, queues, left_out: 0, hosts }
}

fn totals(submitted: u64, completed: u64, retried: u64) -> BTreeMap<String, u64> {
    let totals = [("submitted", submitted), ("completed", completed), ("retried", retried)];
    totals.map(|(name, total)| (name.to_owned(), total)).into()
}

fn stats(pending: u64, totals: BTreeMap<String, u64>) -> QueueStats {
    QueueStats {
        pending,
        running: pending.min(10),
        oldest_pending_at: (pending > 0).then_some(NOW - 90_000),
        by_tenant: vec![TenantDepth { tenant: "acme".into(), open: pending + 10 }],
        totals,
        ..QueueStats::default()
    }
}

fn busy(at: UnixMs, attempts: u64) -> HostInfo {
    let mut run = vec![0; TIMES_US.len() + 1];
    (run[4], run[9]) = (attempts * 9 / 10, attempts / 10);
    let mut pick_up = vec![0; TIMES_MS.len() + 1];
    (pick_up[1], pick_up[5]) = (attempts * 9 / 10, attempts / 10);
    let latency = HostLatency { pick_up, run: run.clone() };
    let verdict = Autoscaler::new(AutoscalePolicy::default()).observe(&Observation::default());
    let explanation = "up from 4 to 8: more work waits than there are slots".to_owned();
    let change = ScalingChange { at: NOW - 65_000, verdict, explanation };
    let serving = ServingVersion {
        version: "1.4.0".into(),
        digest: Digest([7; 32]),
        kind: "component".into(),
        task_types: vec!["mail".into()],
        tenants: vec!["*".into()],
        contested: Vec::new(),
        loaded_at: NOW,
        attempts: 40,
        failed: 2,
    };
    HostInfo {
        seen_at: at,
        in_flight: 8,
        memory: Some(HostMemory {
            ceiling_bytes: 4 << 30,
            budget_bytes: 3 << 30,
            held_bytes: 180 << 20,
            waiting: 0,
        }),
        plugins: vec![PluginInfo {
            name: "mailer".into(),
            owner: None,
            serving: Some(serving),
            rejected: None,
            by_fleet: false,
            shadowed: false,
            pushed: Vec::new(),
        }],
        scaling: Some(HostScaling {
            min: 1,
            max: 16,
            latest: Some(verdict),
            changes: vec![change],
        }),
        types: vec![TypeFigures {
            task_type: "mail".into(),
            attempts,
            failed: attempts / 8,
            fuel: attempts * 1_000_000,
            run,
        }],
        tenants: vec![TenantLoad { tenant: "acme".into(), in_flight: 8 }],
        latency,
        ..host("site-1")
    }
}

fn dead(id: u128, task_type: &str, what: &str) -> TaskLine {
    TaskLine {
        id: TaskId(uuid::Uuid::from_u128(id)),
        queue: "mail".into(),
        task_type: task_type.into(),
        tenant: "acme".into(),
        attempts: 3,
        at: Some(NOW - 125_000),
        what: what.into(),
    }
}

/// What hostile guests and tenants would like a terminal to do.
pub(super) const HOSTILE: &str = "reject: \u{1b}[2J\u{1b}]0;owned\u{7}\r\n\u{202e}gnihton\u{9b}31m 日本語の理由 e\u{301}\u{301}\u{301}\u{301}";

/// Two queues, three hosts, a tenant at its bound, dead letters.
pub(super) fn seen() -> Seen {
    let first = vec![
        (queue("default"), stats(0, totals(50, 50, 0))),
        (queue("mail"), stats(1_200, totals(90_000, 88_000, 10))),
    ];
    let mut window = Window::default();
    let before = look(NOW - 2_000, first, vec![busy(NOW - 4_000, 800)]);
    window.observe(&before.hosts);
    let mut mail = stats(1_234, totals(90_300, 88_246, 13));
    mail.failed = 2;
    mail.scheduled = 17;
    mail.concurrency = Some(64);
    mail.by_type = vec![TypeDepth { task_type: "mail".into(), pending: 1_234, paused: false }];
    mail.held_tenants =
        vec![HeldTenant { tenant: "acme".into(), by: HeldBy::Fuel, until: Some(NOW + 12_000) }];
    let mut idle = stats(0, totals(50, 50, 0));
    idle.paused = true;
    let full =
        HostInfo { refusing: vec!["its memory is full".into()], in_flight: 0, ..host("site-2") };
    let gone = HostInfo { seen_at: NOW - 12_000, ..host("site-3") };
    let stops = HostInfo { draining: true, in_flight: 3, ..host("site-4") };
    let queues = vec![(queue("default"), idle), (queue("mail"), mail)];
    let now = look(NOW, queues, vec![busy(NOW - 1_000, 1_100), full, gone, stops]);
    window.observe(&now.hosts);
    let first = Overview::of(&before, None);
    let tenant = TenantPolicy { in_flight: Some(8), ..TenantPolicy::default() };
    let policy = QueuePolicy {
        tenants: [(TenantName::new("acme").unwrap(), tenant)].into(),
        ..QueuePolicy::default()
    };
    Seen {
        overview: Overview::of(&now, Some(&first)),
        types: window.types(&now),
        look: now,
        policies: [(queue("mail"), policy)].into(),
        dead: vec![
            dead(1, "mail", HOSTILE),
            dead(2, "thumbnail", "out_of_fuel: out of fuel: the attempt used all of `fuel` = 5000"),
        ],
        tasks: None,
    }
}

/// A board that has just taken it.
pub(super) fn board() -> Board {
    let mut board = Board::new("redis://127.0.0.1:6379".into(), Duration::from_secs(1));
    board.take(Ok(Box::new(seen())), NOW);
    board.throughput = [0.0, 12.0, 50.0, 90.0, 123.0].into();
    board
}
