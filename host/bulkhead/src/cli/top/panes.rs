//! What each pane has in its table. Every text that is not ours is made harmless here.

use std::collections::BTreeMap;

use bulkhead::core::{TenantName, UnixMs};
use bulkhead::queue::{HeldBy, HostInfo, QueueStats};
use bulkhead_api::document::QueueNow;

use super::board::{Board, Pane, STATES, Tab, has_rates};
use super::looks::{Seen, TaskLine};
use super::sheet::{Cell, Column, Row, Sheet, Tone, number, text};
use super::text::safe;
use super::typed::TypeNow;
use crate::cli::figures;

/// A host that has not been heard of for so long is silent.
pub(super) const SILENT_MS: u64 = 7_000;
/// The share of failures from which on a type is in trouble.
const MANY: f64 = 0.05;

const QUEUES: &[Column] = &[
    text("QUEUE", 9, 8),
    number("PENDING", 8),
    number("RUNNING", 7),
    number("SCHED", 2),
    number("BLOCKED", 1),
    number("DEAD", 6),
    number("IN/s", 3),
    number("DONE/s", 5),
    number("FAIL/s", 3),
    number("OLDEST", 4),
    text("REMARK", 2, 6),
];

const TYPES: &[Column] = &[
    text("TYPE", 9, 8),
    number("PENDING", 4),
    number("RUNS/s", 8),
    number("FAILED", 7),
    number("P50", 5),
    number("P95", 6),
    number("FUEL/s", 2),
    text("REMARK", 1, 6),
];

const HOSTS: &[Column] = &[
    text("HOST", 9, 8),
    number("RUNS", 8),
    number("SLOTS", 8),
    number("LOAD", 6),
    text("STATE", 7, 16),
    number("MEMORY", 5),
    number("SEEN", 3),
    text("SCALING", 4, 12),
    text("PLUGINS", 2, 10),
];

const TENANTS: &[Column] = &[
    text("TENANT", 9, 8),
    number("OPEN", 8),
    number("MAY BE", 4),
    number("RUNS", 7),
    number("MAY RUN", 5),
    text("HELD BACK", 6, 10),
    text("QUEUES", 3, 8),
];

const DEAD: &[Column] = &[
    number("AGO", 8),
    text("TYPE", 7, 8),
    text("QUEUE", 4, 7),
    text("TENANT", 2, 7),
    number("TRIES", 1),
    text("ID", 0, usize::MAX),
    text("REASON", 9, 12),
];

const TASKS: &[Column] = &[
    text("TYPE", 9, 8),
    text("TENANT", 3, 7),
    number("TRIES", 2),
    number("TIME", 5),
    text("WHAT", 7, 10),
    text("ID", 6, 12),
];

/// The table of what is on display.
pub(super) fn sheet(board: &Board, now: UnixMs) -> Sheet {
    let Some(seen) = board.seen.as_deref() else {
        let nothing = "the first look has not come back yet".to_owned();
        return Sheet { columns: QUEUES, rows: Vec::new(), nothing };
    };
    match &board.pane {
        Pane::Tab(tab) => of(*tab, seen, now),
        Pane::Queue(queue, state) => {
            let known = seen
                .tasks
                .as_ref()
                .filter(|(of, in_state, _)| of == queue && *in_state == STATES[*state]);
            let rows = known.map_or_else(Vec::new, |(_, _, lines)| {
                lines.iter().map(|line| task(line, now)).collect()
            });
            let nothing = match known {
                Some(_) => format!("no {} tasks", STATES[*state]),
                None => "looking".to_owned(),
            };
            Sheet { columns: TASKS, rows, nothing }
        }
    }
}

/// The table of a tab.
pub(super) fn of(tab: Tab, seen: &Seen, now: UnixMs) -> Sheet {
    let (columns, rows, nothing) = match tab {
        Tab::Queues => (QUEUES, queues(seen), "no queues: no task was ever submitted"),
        Tab::Types => (TYPES, seen.types.iter().map(task_type).collect(), "no task types yet"),
        Tab::Hosts => (
            HOSTS,
            seen.look.hosts.iter().map(|of| host(of, now)).collect(),
            "no running host; start one with `bulkhead run`",
        ),
        Tab::Tenants => (TENANTS, tenants(seen, now), "no tenant has tasks"),
        Tab::Dead => {
            (DEAD, seen.dead.iter().map(|line| dead(line, now)).collect(), "no dead letters")
        }
    };
    Sheet { columns, rows, nothing: nothing.to_owned() }
}

fn count(count: u64) -> Cell {
    let shown = if count < 100_000 { count.to_string() } else { figures::count(count) };
    Cell::number(shown, count as f64)
}

fn toned(cell: Cell, tone: Tone, if_so: bool) -> Cell {
    if if_so { cell.toned(tone) } else { cell }
}

/// A number a second.
pub(super) fn per_second(rate: f64) -> String {
    match rate {
        ..0.005 => "0".to_owned(),
        ..9.95 => format!("{rate:.1}"),
        ..99_999.5 => format!("{rate:.0}"),
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative")]
        _ => figures::count(rate as u64),
    }
}

fn rate(rate: Option<f64>) -> Cell {
    rate.map_or_else(|| Cell::number("-", -1.0), |rate| Cell::number(per_second(rate), rate))
}

fn queues(seen: &Seen) -> Vec<Row> {
    let knows = has_rates(&seen.overview);
    let both = seen.overview.queues.iter().zip(&seen.look.queues);
    both.map(|(now, (name, stats))| {
        let of = |totals: &[&str]| rate(knows.then(|| now.rate(totals)));
        let failing = now.rate(&QueueNow::FAILED) > 0.0;
        let oldest = now.oldest_pending_ms.map_or_else(
            || Cell::number("-", -1.0),
            |ms| Cell::number(figures::seconds(ms / 1_000), ms as f64),
        );
        let cells = vec![
            Cell::text(safe(&now.queue)),
            count(now.pending),
            count(now.running),
            count(now.scheduled),
            count(now.blocked),
            toned(count(now.failed), Tone::Bad, now.failed > 0),
            of(&["submitted"]),
            of(&["completed"]),
            toned(of(&QueueNow::FAILED), Tone::Bad, failing),
            oldest,
            Cell::text(remark(stats)).toned(Tone::Doubtful),
        ];
        Row { key: name.to_string(), cells }
    })
    .collect()
}

fn remark(stats: &QueueStats) -> String {
    let mut parts = Vec::new();
    if stats.paused {
        parts.push("paused".to_owned());
    } else if stats.by_type.iter().any(|depth| depth.paused) {
        parts.push("types paused".to_owned());
    }
    if stats.held_back > 0 {
        parts.push(format!("{} held back", stats.held_back));
    }
    if let Some(limit) = stats.concurrency {
        parts.push(format!("limit {limit}"));
    }
    parts.join(", ")
}

fn task_type(now: &TypeNow) -> Row {
    let share = now.failed.map_or_else(
        || Cell::number("-", -1.0),
        |share| {
            let tone = if share >= MANY { Tone::Bad } else { Tone::Plain };
            Cell::number(format!("{:.1}%", share * 100.0), share).toned(tone)
        },
    );
    let time = |us: Option<u64>| match us {
        Some(us) => Cell::number(figures::micros(us), us as f64),
        None => Cell::number("-", -1.0),
    };
    let fuel = now
        .fuel_rate
        .map_or_else(|| Cell::number("-", -1.0), |rate| Cell::number(per_second(rate), rate));
    let cells = vec![
        Cell::text(safe(&now.task_type)),
        count(now.pending),
        rate(now.rate),
        share,
        time(now.p50_us),
        time(now.p95_us),
        fuel,
        Cell::text(if now.paused { "paused" } else { "" }).toned(Tone::Doubtful),
    ];
    Row { key: now.task_type.clone(), cells }
}

fn host(host: &HostInfo, now: UnixMs) -> Row {
    let slots = f64::from(host.concurrency.max(1));
    let load = f64::from(host.in_flight) / slots;
    let silent_ms = now.saturating_sub(host.seen_at);
    let state = if silent_ms > SILENT_MS {
        Cell::text("silent").toned(Tone::Bad)
    } else if host.draining {
        Cell::text("draining").toned(Tone::Doubtful)
    } else if host.refusing.is_empty() {
        Cell::text("serves").toned(Tone::Good)
    } else {
        let why = host.refusing.join(", ");
        Cell::text(safe(&format!("claims nothing: {why}"))).toned(Tone::Doubtful)
    };
    let memory = host.memory.map_or_else(
        || Cell::number("-", -1.0),
        |memory| {
            let (held, of) = (memory.held_bytes, memory.budget_bytes);
            let waits = if memory.waiting > 0 { Tone::Doubtful } else { Tone::Plain };
            let shown = format!("{}/{}", figures::bytes(held), figures::bytes(of));
            Cell::number(shown, held as f64).toned(waits)
        },
    );
    let scaling = host.scaling.as_ref().map_or_else(String::new, |scaling| {
        let last = scaling.changes.first().map(|change| {
            format!(", {}: {}", figures::relative(change.at, now), change.explanation)
        });
        let last = last.or_else(|| Some(format!(", {}", scaling.latest?)));
        format!("{} to {}{}", scaling.min, scaling.max, last.unwrap_or_default())
    });
    let serving = host
        .plugins
        .iter()
        .filter_map(|plugin| Some(format!("{} {}", plugin.name, plugin.serving.as_ref()?.version)));
    let refused = host.plugins.iter().filter(|plugin| plugin.rejected.is_some()).count();
    let mut plugins = serving.collect::<Vec<_>>().join(", ");
    if refused > 0 {
        plugins = format!("{refused} refused; {plugins}");
    }
    let tone = if refused > 0 { Tone::Bad } else { Tone::Plain };
    let cells = vec![
        Cell::text(safe(&host.name)),
        count(host.in_flight.into()),
        count(host.concurrency.into()),
        toned(Cell::number(format!("{:.0}%", load * 100.0), load), Tone::Doubtful, load >= 1.0),
        state,
        memory,
        Cell::number(figures::seconds(silent_ms / 1_000), silent_ms as f64),
        Cell::text(safe(&scaling)),
        Cell::text(safe(&plugins)).toned(tone),
    ];
    Row { key: host.name.clone(), cells }
}

#[derive(Default)]
struct Tenant {
    open: u64,
    runs: u64,
    may_run: Option<u64>,
    may_be: Option<u64>,
    held: Vec<String>,
    queues: Vec<String>,
}

/// Tenants over all queues; what they may is the sum over the queues that bound them.
fn tenants(seen: &Seen, now: UnixMs) -> Vec<Row> {
    let mut tenants: BTreeMap<&str, Tenant> = BTreeMap::new();
    for (queue, stats) in &seen.look.queues {
        for depth in &stats.by_tenant {
            let tenant = tenants.entry(&depth.tenant).or_default();
            tenant.open += depth.open;
            tenant.queues.push(queue.to_string());
            let policy = seen.policies.get(queue);
            let Some((policy, name)) = policy.zip(TenantName::new(&depth.tenant).ok()) else {
                continue;
            };
            let policy = policy.tenant(&name);
            if let Some(most) = policy.in_flight {
                *tenant.may_run.get_or_insert(0) += u64::from(most);
            }
            if let Some(most) = policy.pending {
                *tenant.may_be.get_or_insert(0) += most;
            }
        }
        for held in &stats.held_tenants {
            let tenant = tenants.entry(&held.tenant).or_default();
            let by = match held.by {
                HeldBy::InFlight => "runs as many as it may",
                HeldBy::Rate => "rate",
                HeldBy::Fuel => "fuel",
                HeldBy::Memory => "memory",
            };
            let until = held.until.map(|until| format!(" {}", figures::relative(until, now)));
            tenant.held.push(format!("{by}{}", until.unwrap_or_default()));
        }
    }
    for load in seen.look.hosts.iter().flat_map(|host| &host.tenants) {
        tenants.entry(&load.tenant).or_default().runs += u64::from(load.in_flight);
    }
    let bound = |most: Option<u64>| most.map_or_else(|| Cell::number("-", -1.0), count);
    let rows = tenants.into_iter().map(|(name, tenant)| {
        let full = tenant.may_run.is_some_and(|most| tenant.runs >= most);
        let cells = vec![
            Cell::text(safe(name)),
            count(tenant.open),
            bound(tenant.may_be),
            toned(count(tenant.runs), Tone::Doubtful, full),
            bound(tenant.may_run),
            Cell::text(tenant.held.join(", ")).toned(Tone::Doubtful),
            Cell::text(safe(&tenant.queues.join(", "))),
        ];
        Row { key: name.to_owned(), cells }
    });
    rows.collect()
}

fn when(at: Option<UnixMs>, now: UnixMs) -> Cell {
    let Some(at) = at else { return Cell::number("-", f64::MIN) };
    let away = figures::seconds(at.abs_diff(now) / 1_000);
    let shown = if at > now { format!("in {away}") } else { away };
    Cell::number(shown, at as f64)
}

fn dead(line: &TaskLine, now: UnixMs) -> Row {
    let cells = vec![
        when(line.at, now),
        Cell::text(safe(&line.task_type)),
        Cell::text(safe(&line.queue)),
        Cell::text(safe(&line.tenant)),
        count(line.attempts.into()),
        Cell::text(line.id.to_string()),
        Cell::text(safe(&line.what)).toned(Tone::Bad),
    ];
    Row { key: line.id.to_string(), cells }
}

fn task(line: &TaskLine, now: UnixMs) -> Row {
    let cells = vec![
        Cell::text(safe(&line.task_type)),
        Cell::text(safe(&line.tenant)),
        count(line.attempts.into()),
        when(line.at, now),
        Cell::text(safe(&line.what)),
        Cell::text(line.id.to_string()),
    ];
    Row { key: line.id.to_string(), cells }
}
