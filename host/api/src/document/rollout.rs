//! How far hosts have followed an activation: a pure look at what they say of themselves.

use bulkhead_core::Digest;
use bulkhead_queue::{HostInfo, PluginInfo, PushedState};
use serde::Serialize;
use utoipa::ToSchema;

/// Gates that hosts try again by themselves.
const PASSING: [&str; 1] = ["fetch"];

/// How far one host has followed an activation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Following {
    /// The host.
    pub host: String,
    /// Where it stands.
    pub state: FollowState,
    /// The gate at which it has refused the version, if it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub gate: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
}

/// Where a host stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FollowState {
    /// It serves the version.
    Serving,
    /// It has not said so yet.
    Waiting,
    /// It has refused the version.
    Refused,
    /// It takes no pushed plugins.
    Off,
}

/// How far hosts have followed the activation of this version of a plugin.
#[must_use]
pub fn followed(hosts: &[HostInfo], plugin: &str, digest: Digest) -> Vec<Following> {
    let of = |host: &HostInfo| {
        let follows =
            |state, gate, reason| Following { host: host.name.clone(), state, gate, reason };
        if !host.fleet {
            return follows(FollowState::Off, None, None);
        }
        let info = host.plugins.iter().find(|info| info.name == plugin);
        let serving = info.filter(|info| info.by_fleet).and_then(|info| info.serving.as_ref());
        if serving.is_some_and(|serving| serving.digest == digest) {
            return follows(FollowState::Serving, None, None);
        }
        match info.and_then(|info| refused(info, digest)) {
            Some((gate, reason)) => follows(FollowState::Refused, Some(gate), Some(reason)),
            None => follows(FollowState::Waiting, None, None),
        }
    };
    hosts.iter().map(of).collect()
}

/// Why a host has refused a version for as long as nothing changes, if it has.
fn refused(info: &PluginInfo, digest: Digest) -> Option<(String, String)> {
    let pushed = info.pushed.iter().find(|pushed| pushed.digest == digest)?;
    let gate = pushed.gate.clone().filter(|gate| !PASSING.contains(&gate.as_str()))?;
    let refused = pushed.state == PushedState::Rejected;
    refused.then(|| (gate, pushed.reason.clone().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use bulkhead_queue::{HostLatency, PushedVersion, ServingVersion};

    use super::*;

    fn digest(number: u8) -> Digest {
        Digest([number; 32])
    }

    /// A host that serves this version of `p`, pushed or not, and has judged others.
    fn host(name: &str, serves: Option<(u8, bool)>, judged: &[(u8, Option<&str>)]) -> HostInfo {
        let serving = |number| ServingVersion {
            version: String::new(),
            digest: digest(number),
            kind: String::new(),
            task_types: Vec::new(),
            tenants: Vec::new(),
            contested: Vec::new(),
            loaded_at: 0,
            attempts: 40,
            failed: 2,
        };
        let pushed = |&(number, gate): &(u8, Option<&str>)| PushedVersion {
            digest: digest(number),
            state: if gate.is_some() { PushedState::Rejected } else { PushedState::Ready },
            gate: gate.map(str::to_owned),
            reason: gate.map(|gate| format!("{gate}!")),
            at: 0,
        };
        let plugin = PluginInfo {
            name: "p".into(),
            owner: None,
            serving: serves.map(|(number, _)| serving(number)),
            rejected: None,
            by_fleet: serves.is_some_and(|(_, by_fleet)| by_fleet),
            shadowed: false,
            pushed: judged.iter().map(pushed).collect(),
        };
        HostInfo {
            name: name.into(),
            version: "0.1.0".into(),
            pid: 1,
            started_at: 0,
            seen_at: 0,
            concurrency: 1,
            in_flight: 0,
            memory: None,
            queues: Vec::new(),
            plugins: vec![plugin],
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

    #[test]
    fn a_host_serves_waits_has_refused_or_takes_none() {
        let hosts = [
            host("serves", Some((2, true)), &[]),
            host("file", Some((2, false)), &[]),
            host("old", Some((1, true)), &[(2, None)]),
            host("refused", Some((1, true)), &[(2, Some("trust")), (3, None)]),
            host("fetches", None, &[(2, Some("fetch"))]),
            HostInfo { fleet: false, ..host("off", Some((1, false)), &[]) },
        ];
        let states = followed(&hosts, "p", digest(2)).into_iter().map(|following| following.state);
        use FollowState::{Off, Refused, Serving, Waiting};
        let expected = [Serving, Waiting, Waiting, Refused, Waiting, Off];
        assert_eq!(states.collect::<Vec<_>>(), expected);
        let refused = &followed(&hosts, "p", digest(2))[3];
        assert_eq!(
            (refused.gate.as_deref(), refused.reason.as_deref()),
            (Some("trust"), Some("trust!"))
        );
        assert_eq!(followed(&hosts[..1], "q", digest(2))[0].state, Waiting);
    }

    #[test]
    fn hosts_are_mixed_where_they_serve_different_versions() {
        let [a, b, c] = ["a", "b", "c"].map(str::to_owned);
        let one = |name: &str| host(name, Some((1, true)), &[]);
        assert_eq!(HostInfo::mixed(&[one("a"), one("b")], "p"), None);
        let two = host("b", Some((2, false)), &[]);
        let expected =
            vec![(Some(digest(1)), vec![a.clone(), c]), (Some(digest(2)), vec![b.clone()])];
        assert_eq!(HostInfo::mixed(&[one("a"), two, one("c")], "p"), Some(expected));
        let none = host("b", None, &[]);
        let expected = vec![(Some(digest(1)), vec![a]), (None, vec![b])];
        assert_eq!(HostInfo::mixed(&[one("a"), none.clone()], "p"), Some(expected));
        // A file that one host has and another has not.
        assert_eq!(HostInfo::mixed(&[host("a", Some((1, false)), &[]), none.clone()], "p"), None);
        assert_eq!(HostInfo::mixed(&[one("a"), HostInfo { fleet: false, ..none }], "p"), None);
    }
}
