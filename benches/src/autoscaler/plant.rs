//! A simulated host under a simulated load: a fluid of tasks that come, wait for a slot, wait by
//! themselves and take CPU time. No clock and no chance: the same policy gives the same run.

use bulkhead_core::{AutoscalePolicy, Autoscaler, MemoryLoad, Observation, Pace, Verdict, Work};

/// Time goes on by so much.
const STEP_MS: u64 = 100;
/// Between two observations.
const INTERVAL_MS: u64 = 2_000;
/// CPUs of the simulated host.
pub(crate) const CPUS: u32 = 4;

/// What the load is like for a while.
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    pub(crate) seconds: u64,
    /// Tasks that come in a second, at the begin and at the end.
    pub(crate) load: (f64, f64),
    /// How long a task waits for others, and how much CPU time it takes, in milliseconds.
    pub(crate) wait_ms: f64,
    pub(crate) cpu_ms: f64,
    /// What it asks serves so many at once; those beyond it time out.
    pub(crate) upstream: f64,
    /// The share of memory that is resident without attempts, and what each adds.
    pub(crate) memory: (f64, f64),
}

const PLAIN: Phase = Phase {
    name: "",
    seconds: 120,
    load: (20.0, 20.0),
    wait_ms: 95.0,
    cpu_ms: 5.0,
    upstream: f64::INFINITY,
    memory: (0.2, 0.002),
};

/// One run through everything that the autoscaler follows. Each phase begins with an empty queue.
pub(crate) const PHASES: [Phase; 9] = [
    Phase { name: "quiet", ..PLAIN },
    Phase { name: "burst", load: (400.0, 400.0), ..PLAIN },
    Phase { name: "quiet", seconds: 300, ..PLAIN },
    Phase { name: "slow upstream", load: (60.0, 60.0), wait_ms: 695.0, seconds: 180, ..PLAIN },
    Phase {
        name: "overloaded upstream",
        load: (100.0, 100.0),
        wait_ms: 395.0,
        upstream: 12.0,
        seconds: 300,
        ..PLAIN
    },
    Phase { name: "memory", load: (400.0, 400.0), memory: (0.4, 0.03), seconds: 240, ..PLAIN },
    Phase {
        name: "CPU-bound",
        load: (120.0, 120.0),
        wait_ms: 0.0,
        cpu_ms: 40.0,
        seconds: 300,
        ..PLAIN
    },
    Phase { name: "ramp", load: (20.0, 500.0), seconds: 180, ..PLAIN },
    Phase { name: "idle", load: (0.0, 0.0), seconds: 600, ..PLAIN },
];

/// The bounds of the simulated host.
pub(crate) fn policy() -> AutoscalePolicy {
    AutoscalePolicy {
        min: 2,
        max: 64,
        up: Pace { signals: 2, cooldown_ms: 10_000 },
        down: Pace { signals: 6, cooldown_ms: 30_000 },
        pick_up_target_ms: Some(1_000),
        cpus: CPUS,
    }
}

/// How the host stood at one observation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moment {
    pub(crate) at_ms: u64,
    pub(crate) phase: usize,
    /// Tasks that came, and that ended, in a second.
    pub(crate) offered: f64,
    pub(crate) served: f64,
    pub(crate) in_flight: u32,
    pub(crate) backlog: f64,
    pub(crate) verdict: Verdict,
}

/// What has gone on since the last observation.
#[derive(Default)]
struct Since {
    offered: f64,
    served: f64,
    failed: f64,
    in_flight_ms: f64,
    cpu_ms: f64,
}

/// Run through the phases.
pub(crate) fn run(policy: AutoscalePolicy, phases: &[Phase]) -> Vec<Moment> {
    let mut scaler = Autoscaler::new(policy);
    let (mut moments, mut at_ms) = (Vec::new(), 0);
    let mut since = Since::default();
    for (number, phase) in phases.iter().enumerate() {
        let mut backlog = 0.0_f64;
        let steps = phase.seconds * 1_000 / STEP_MS;
        for step in 0..steps {
            at_ms += STEP_MS;
            let (from, to) = phase.load;
            let per_second = from + (to - from) * step as f64 / steps as f64;
            let seconds = STEP_MS as f64 / 1_000.0;
            let slots = f64::from(scaler.current());
            let (run_ms, cpu_bound) =
                (phase.wait_ms + phase.cpu_ms, f64::from(CPUS) * 1_000.0 / phase.cpu_ms);
            let most = (slots * 1_000.0 / run_ms).min(cpu_bound);
            let offered = per_second * seconds;
            let served = (backlog + offered).min(most * seconds);
            backlog += offered - served;
            // Who waits for a CPU is in flight, too.
            let in_flight = match backlog >= 1.0 {
                true => slots,
                false => (served / seconds * run_ms / 1_000.0).min(slots),
            };
            since.offered += offered;
            since.served += served;
            since.failed += served * (1.0 - phase.upstream / in_flight.max(1e-9)).max(0.0);
            since.in_flight_ms += in_flight * STEP_MS as f64;
            since.cpu_ms += served * phase.cpu_ms;
            if at_ms % INTERVAL_MS > 0 {
                continue;
            }
            let in_flight = (since.in_flight_ms / INTERVAL_MS as f64).round() as u32;
            let (resident, each) = phase.memory;
            let resident = resident + each * f64::from(in_flight);
            let verdict = scaler.observe(&Observation {
                at_ms,
                in_flight,
                pending: [0, backlog as u64, 0, 0],
                work: Work {
                    ended: since.served as u64,
                    overloaded: since.failed as u64,
                    run_us: (since.in_flight_ms * 1_000.0) as u64,
                    cpu_us: (since.cpu_ms * 1_000.0) as u64,
                },
                cpu_busy: since.cpu_ms / (f64::from(CPUS) * INTERVAL_MS as f64),
                pick_up_ms: (since.served >= 1.0).then_some((backlog / most * 1_000.0) as u64),
                memory: Some(MemoryLoad { resident, fits: 64, waiting: 0 }),
            });
            let a_second = 1_000.0 / INTERVAL_MS as f64;
            let (offered, served) = (since.offered * a_second, since.served * a_second);
            moments.push(Moment {
                at_ms,
                phase: number,
                offered,
                served,
                in_flight,
                backlog,
                verdict,
            });
            since = Since::default();
        }
    }
    moments
}
