//! The figures at the head: how all hosts and queues together stand.

use bulkhead::core::UnixMs;
use bulkhead_api::document::QueueNow;

use super::board::{Board, has_rates, rate};
use super::looks::Seen;
use super::panes::{SILENT_MS, per_second};
use super::text::{bars, joined, safe, width};
use crate::cli::figures;

/// Columns that are kept for the bars.
const BARS: usize = 12;

/// How up to date the display is.
pub(super) enum Standing {
    Looking,
    Live,
    Frozen,
    Away(String),
}

/// How up to date the display is.
pub(super) fn standing(board: &Board, now: UnixMs) -> Standing {
    if board.frozen {
        return Standing::Frozen;
    }
    let seen_at = board.seen.as_ref().map(|seen| seen.overview.at);
    let age = seen_at.map(|at| now.saturating_sub(at));
    match (&board.away, age) {
        (Some((since, why)), _) => {
            let since = figures::seconds(now.saturating_sub(*since) / 1_000);
            Standing::Away(format!("away for {since}: {}", safe(why)))
        }
        (None, Some(age)) if age > board.late_ms => {
            Standing::Away(format!("nothing heard for {}", figures::seconds(age / 1_000)))
        }
        (None, None) => Standing::Looking,
        _ => Standing::Live,
    }
}

/// The two lines of figures, each at most so many columns wide.
pub(super) fn lines(board: &Board, columns: usize, now: UnixMs) -> [String; 2] {
    let Some(seen) = board.seen.as_deref() else { return [String::new(), String::new()] };
    let flow = joined(&flow(seen), columns.saturating_sub(BARS));
    let left = columns.saturating_sub(width(&flow) + 3);
    let bars = bars(board.throughput.iter(), left);
    let flow = if bars.is_empty() { flow } else { format!("{flow}   {bars}") };
    [joined(&stock(seen, now), columns), flow]
}

/// The same as one frame without an end to its width.
pub(super) fn plain(seen: &Seen, now: UnixMs) -> String {
    format!("{}\n{}\n", stock(seen, now).join("   "), flow(seen).join("   "))
}

fn stock(seen: &Seen, now: UnixMs) -> Vec<String> {
    let hosts = &seen.look.hosts;
    let alive = hosts.iter().filter(|h| now.saturating_sub(h.seen_at) <= SILENT_MS).count();
    // Leases are told at once, hosts tell of themselves every few seconds.
    let running: u64 = seen.overview.queues.iter().map(|queue| queue.running).sum();
    let slots: u64 = hosts.iter().map(|host| u64::from(host.concurrency)).sum();
    let oldest = seen.overview.queues.iter().filter_map(|queue| queue.oldest_pending_ms).max();
    let pending: u64 = seen.overview.queues.iter().map(|queue| queue.pending).sum();
    let mut parts = vec![
        match hosts.len() - alive {
            0 => format!("hosts {alive}"),
            silent => format!("hosts {alive}, {silent} silent"),
        },
        format!("running {running}/{slots}"),
    ];
    if let Some(oldest) = oldest {
        parts.push(format!("oldest {}", figures::seconds(oldest / 1_000)));
    }
    let bounded: Vec<_> = hosts.iter().filter_map(|host| host.memory).collect();
    if !bounded.is_empty() {
        let held = bounded.iter().map(|memory| memory.held_bytes).sum();
        let budget = bounded.iter().map(|memory| memory.budget_bytes).sum();
        parts.push(format!("memory {}/{}", figures::bytes(held), figures::bytes(budget)));
    }
    parts.push(format!("pending {}", figures::count(pending)));
    if seen.look.left_out > 0 {
        parts.push(format!("{} queues left out", seen.look.left_out));
    }
    parts
}

fn flow(seen: &Seen) -> Vec<String> {
    if !has_rates(&seen.overview) {
        return vec!["done -/s".into(), "failed -/s".into(), "in -/s".into()];
    }
    let of = |totals: &[&str]| per_second(rate(&seen.overview, totals));
    let mut parts = vec![
        format!("done {}/s", of(&["completed"])),
        format!("failed {}/s", of(&QueueNow::FAILED)),
        format!("in {}/s", of(&["submitted"])),
    ];
    let fuel: Vec<f64> = seen.types.iter().filter_map(|of| of.fuel_rate).collect();
    if !fuel.is_empty() {
        parts.push(format!("fuel {}/s", per_second(fuel.iter().sum())));
    }
    if let Some(pick_up) = seen.overview.latency.pick_up {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative")]
        let p95_us = (pick_up.p95_ms * 1_000.0) as u64;
        parts.push(format!("wait {}", figures::micros(p95_us)));
    }
    parts
}
