//! What hosts say of themselves.

use std::time::Duration;

use bulkhead_core::{AutoscalePolicy, Autoscaler, Digest, Observation};
use bulkhead_queue::{
    HostInfo, HostLatency, HostMemory, HostScaling, PluginInfo, PushedState, PushedVersion,
    ScalingChange, ServingVersion, Signal, TenantLoad, Topic, TypeFigures,
};

use crate::talk::Talk;

crate::every_broker![a_host_is_known_while_it_says_so, a_rescan_is_heard_by_all,];

fn scaling() -> HostScaling {
    let verdict = Autoscaler::new(AutoscalePolicy::default()).observe(&Observation::default());
    let change = ScalingChange { at: 5, verdict, explanation: verdict.to_string() };
    HostScaling { min: 1, max: 8, latest: Some(verdict), changes: vec![change] }
}

fn host(name: &str, in_flight: u32) -> HostInfo {
    HostInfo {
        name: name.into(),
        version: "0.1.0".into(),
        pid: 7,
        started_at: 1,
        seen_at: 2,
        concurrency: 8,
        in_flight,
        memory: Some(HostMemory { ceiling_bytes: 9, budget_bytes: 5, held_bytes: 3, waiting: 1 }),
        queues: vec!["default".into()],
        plugins: vec![PluginInfo {
            name: "resize".into(),
            owner: None,
            serving: Some(ServingVersion {
                version: "1.0.0".into(),
                digest: Digest([7; 32]),
                kind: "component".into(),
                task_types: vec!["resize".into()],
                tenants: vec!["*".into()],
                contested: Vec::new(),
                loaded_at: 3,
                attempts: 40,
                failed: 2,
            }),
            rejected: None,
            by_fleet: true,
            shadowed: true,
            pushed: vec![PushedVersion {
                digest: Digest([8; 32]),
                state: PushedState::Rejected,
                gate: Some("trust".into()),
                reason: Some("nobody signed it".into()),
                at: 5,
            }],
        }],
        rescans: 4,
        isolation: vec!["files".into()],
        fleet: true,
        scaling: Some(scaling()),
        draining: true,
        refusing: vec!["the CPU is busy".into()],
        types: vec![TypeFigures {
            task_type: "resize".into(),
            attempts: 5,
            failed: 2,
            fuel: 1 << 40,
            run: vec![0, 3, 2],
        }],
        tenants: vec![TenantLoad { tenant: "acme".into(), in_flight: 3 }],
        latency: HostLatency { pick_up: vec![4, 0, 1], run: vec![0, 3, 2] },
    }
}

async fn a_host_is_known_while_it_says_so(talk: Talk) {
    let minute = Duration::from_secs(60);
    talk.broker.announce_host(&host("one", 1), minute).await.unwrap();
    talk.broker.announce_host(&host("two", 1), minute).await.unwrap();
    talk.broker.announce_host(&host("one", 5), 2 * minute).await.unwrap();
    let hosts = async || -> Vec<HostInfo> {
        let mut hosts = talk.broker.hosts().await.unwrap();
        hosts.sort_by(|a, b| a.name.cmp(&b.name));
        hosts
    };
    assert_eq!(hosts().await, [host("one", 5), host("two", 1)]);
    talk.pass(90_000);
    assert_eq!(hosts().await, [host("one", 5)], "the other has not said so again");
    talk.broker.withdraw_host("one").await.unwrap();
    assert!(hosts().await.is_empty());
}

async fn a_rescan_is_heard_by_all(talk: Talk) {
    let mut one = talk.broker.subscribe(Topic::Rescan, Vec::new());
    let mut two = talk.broker.subscribe(Topic::Rescan, Vec::new());
    assert_eq!(one.recv().await, Some(Signal::Connected));
    assert_eq!(two.recv().await, Some(Signal::Connected));
    assert_eq!(talk.broker.request_rescan().await.unwrap(), 2);
    for signals in [&mut one, &mut two] {
        let heard = tokio::time::timeout(Duration::from_secs(20), signals.recv()).await;
        assert_eq!(heard.unwrap(), Some(Signal::Rescan));
    }
}
