//! The table of all metrics: name, kind, unit, labels, meaning. `docs/metrics.md` is made of
//! it, and nothing is exposed that is not in it.

use bulkhead_queue::{TIMES_MS, TIMES_US};

use super::family::{Counter, Declared, Exposed, Family, Gauge, Histogram};

/// From 10 µs to 25 ms, in microseconds.
const SHORT_TIMES_US: &[u64] = &[10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 25_000];

/// From 10 ms to two minutes, in microseconds.
const LONG_TIMES_US: &[u64] = &[
    10_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
];

/// From 64 KiB to 4 GiB.
const SIZES: &[u64] = &[
    64 << 10,
    256 << 10,
    1 << 20,
    4 << 20,
    16 << 20,
    64 << 20,
    128 << 20,
    256 << 20,
    512 << 20,
    1 << 30,
    4 << 30,
];

/// How many of what is counted inside make one of what is exposed.
const ONE: f64 = 1.0;
const MICROS: f64 = 1e6;
const MILLIS: f64 = 1e3;

macro_rules! kind {
    (Counter) => {
        "counter"
    };
    (Gauge) => {
        "gauge"
    };
    (Histogram) => {
        "histogram"
    };
}

macro_rules! families {
    ($($field:ident: $kind:ident $name:literal $unit:expr, $per_unit:expr, $bounds:expr,
        [$($label:literal),*], $help:literal;)*) => {
        /// Every family there is.
        pub(crate) struct Families {
            $(pub(crate) $field: Family<$kind>,)*
        }

        /// Every metric there is, in the order of the documentation.
        pub static TABLE: &[Declared] = &[$(Declared {
            name: $name,
            kind: kind!($kind),
            unit: $unit,
            help: $help,
            labels: &[$($label),*],
            per_unit: $per_unit,
            bounds: $bounds,
        },)*];

        impl Families {
            pub(crate) fn new() -> Self {
                let mut declared = TABLE.iter();
                // The table has as many rows as there are fields, in the same order.
                let mut next = || declared.next().unwrap_or(&TABLE[0]);
                Self { $($field: Family::new(next()),)* }
            }

            /// All of them, to be exposed.
            pub(crate) fn each(&self) -> impl Iterator<Item = &dyn Exposed> {
                [$(&self.$field as &dyn Exposed),*].into_iter()
            }
        }
    };
}

families! {
    // Tasks and attempts.
    tasks_ended: Counter "bulkhead_tasks_ended_total" None, ONE, &[],
        ["queue", "type", "tenant_class", "priority", "outcome"],
        "Tasks that this host brought to an end; outcome is completed, failed (a dead letter) or \
         cancelled.";
    attempts: Counter "bulkhead_attempts_total" None, ONE, &[], ["queue", "type", "outcome"],
        "Attempts that this host settled; outcome is done, the kind of failure, or returned for \
         one that was given back and does not count.";
    pickup: Histogram "bulkhead_pickup_seconds" Some("seconds"), MILLIS, TIMES_MS,
        ["queue", "priority"],
        "From when a task could begin to when its first attempt did; tasks that waited for others \
         are left out.";
    latency: Histogram "bulkhead_latency_seconds" Some("seconds"), MILLIS, TIMES_MS, ["queue"],
        "From when a task could begin to its completion, retries included; tasks that waited for \
         others are left out.";
    run: Histogram "bulkhead_run_seconds" Some("seconds"), MICROS, TIMES_US, ["queue", "type"],
        "How long attempts ran.";
    instantiate: Histogram "bulkhead_instantiate_seconds" Some("seconds"), MICROS, SHORT_TIMES_US,
        ["queue"], "Of which making the attempt's instance.";
    fuel: Counter "bulkhead_fuel_total" None, ONE, &[], ["queue", "type"],
        "Fuel that attempts used.";
    guest_cpu: Counter "bulkhead_guest_cpu_seconds_total" Some("seconds"), MICROS, &[],
        ["queue", "type"], "CPU time of attempts, host calls included.";
    peak_memory: Histogram "bulkhead_peak_memory_bytes" Some("bytes"), ONE, SIZES,
        ["queue", "type"], "The most memory that each attempt had.";
    host_calls: Counter "bulkhead_host_calls_total" None, ONE, &[], ["capability"],
        "Calls of guests to what the operator granted them.";
    stale: Counter "bulkhead_stale_settlements_total" None, ONE, &[], ["queue"],
        "Ends of attempts that did not count, because their lease was another's by then.";
    reclaimed: Counter "bulkhead_reclaimed_leases_total" None, ONE, &[], ["queue"],
        "Leases that ran out and that this host took back.";

    // The host.
    permits: Gauge "bulkhead_permits" None, ONE, &[], [], "Attempts that may run at once.";
    permits_used: Gauge "bulkhead_permits_used" None, ONE, &[], [],
        "Attempts that are claimed and have not ended.";
    pool_slots: Gauge "bulkhead_pool_slots" None, ONE, &[], [],
        "Places for instances in the sandbox's pool.";
    pool_slots_used: Gauge "bulkhead_pool_slots_used" None, ONE, &[], [],
        "Of which are taken by attempts and by plugins that are being looked at.";
    memory_budget: Gauge "bulkhead_memory_budget_bytes" Some("bytes"), ONE, &[], [],
        "Memory that attempts may come to together; 0 where it is not bounded.";
    memory_held: Gauge "bulkhead_memory_held_bytes" Some("bytes"), ONE, &[], [],
        "Of which is held by attempts and by ends that the broker has not been told of.";
    memory_waiting: Gauge "bulkhead_memory_waiting" None, ONE, &[], [],
        "Attempts that wait for memory.";
    in_flight: Gauge "bulkhead_in_flight" None, ONE, &[], ["queue"], "Attempts that run.";
    settlements_buffered: Gauge "bulkhead_settlements_buffered" None, ONE, &[], ["queue"],
        "Ends of attempts that the broker has not been told of.";
    broker_away: Gauge "bulkhead_broker_away" None, ONE, &[], ["queue"],
        "1 while the queue's steps fail because the broker does not answer.";
    lease_margin: Histogram "bulkhead_lease_margin_seconds" Some("seconds"), MILLIS, TIMES_MS,
        ["queue"], "What was left of the leases when they were renewed.";
    workers: Gauge "bulkhead_worker_processes" None, ONE, &[], [],
        "Worker processes in which guests run; 0 where they run on threads.";

    // The queues, as the broker tells of them.
    queue_tasks: Gauge "bulkhead_queue_tasks" None, ONE, &[], ["queue", "state"],
        "Tasks by state, over all hosts; state is pending, held_back, scheduled, blocked, running \
         or failed.";
    queue_oldest: Gauge "bulkhead_queue_oldest_seconds" Some("seconds"), MILLIS, &[], ["queue"],
        "How long the oldest pending task has been in line; 0 if there is none.";
    queue_paused: Gauge "bulkhead_queue_paused" None, ONE, &[], ["queue"],
        "1 while the queue hands out no tasks.";
    schedule_lag: Histogram "bulkhead_schedule_lag_seconds" Some("seconds"), MILLIS, TIMES_MS,
        ["queue"], "From when a schedule was due to when this host fired it.";

    // The broker.
    redis_calls: Histogram "bulkhead_redis_round_trip_seconds" Some("seconds"), MICROS, TIMES_US,
        ["call"],
        "From when a call was sent to its answer, waiting in the connection included; call is \
         script, command or long.";
    redis_scripts: Histogram "bulkhead_redis_script_seconds" Some("seconds"), MICROS, TIMES_US,
        ["script"], "The same of each script, as far as it was called.";
    redis_failures: Counter "bulkhead_redis_failures_total" None, ONE, &[], [],
        "Calls that Redis did not answer, or answered with an error.";
    redis_reconnects: Counter "bulkhead_redis_reconnects_total" None, ONE, &[], [],
        "Connections that were opened in place of one that broke.";

    // Plugins.
    plugin_loads: Counter "bulkhead_plugin_loads_total" None, ONE, &[], ["result"],
        "Plugin files that were taken through the gates; result is accepted, unchanged, or the \
         gate that refused them.";
    plugins: Gauge "bulkhead_plugins" None, ONE, &[], ["state"],
        "Plugins by state: serving, or rejected for those whose newest file was refused.";
    compile: Histogram "bulkhead_compile_seconds" Some("seconds"), MICROS, LONG_TIMES_US,
        ["cached"],
        "How long checking and compiling a plugin took; cached is true where it was found \
         compiled.";
    canary_verdicts: Counter "bulkhead_canary_verdicts_total" None, ONE, &[], ["verdict"],
        "Judgements of new plugin versions that ran beside old ones; verdict is promoted, \
         rolled_back or undecided.";

    // Scaling.
    autoscaler_target: Gauge "bulkhead_autoscaler_target" None, ONE, &[], [],
        "Attempts at once that the autoscaler wants; 0 where there is none.";
    autoscaler_decisions: Counter "bulkhead_autoscaler_decisions_total" None, ONE, &[],
        ["direction"], "What the autoscaler decided; direction is up, down or hold.";

    // Alerts and traces.
    alerts_firing: Gauge "bulkhead_alert_firing" None, ONE, &[], ["alert", "queue"],
        "1 while the alert of the configuration fires.";
    alert_webhooks: Counter "bulkhead_alert_webhooks_total" None, ONE, &[], ["result"],
        "Calls to the alerts' webhooks; result is delivered or failed.";
    spans: Counter "bulkhead_trace_spans_total" None, ONE, &[], ["result"],
        "Spans of traces; result is made, exported, or failed where the collector did not take them. \
         What is made and neither of these yet waits, or was dropped because too many waited.";
}
