//! A handler for every way to behave and misbehave, so that every limit and every
//! outcome of the sandbox can be shown on real guest code. Payloads are text unless
//! a handler says otherwise. Nothing here is an example to follow.

mod answer;
mod crash;
mod exhaust;
mod flood;
mod look;
mod together;

use bulkhead_guest::prelude::*;

plugin!(
    answer::noop,
    answer::echo,
    answer::retry,
    answer::reject,
    answer::flaky,
    answer::report_progress,
    answer::burn,
    crash::panics,
    crash::trap,
    crash::exit,
    exhaust::spin,
    exhaust::spin_hostcall,
    exhaust::sleep,
    exhaust::alloc,
    exhaust::recurse,
    exhaust::handles,
    flood::big_result,
    flood::log_flood,
    flood::stdout_flood,
    look::clock,
    look::probe,
    look::context,
    together::together,
    together::parents,
);

/// The number in `text`.
fn number<N: std::str::FromStr<Err: std::error::Error + 'static>>(
    text: &str,
) -> Result<N, Failure> {
    text.trim().parse().or_reject("the payload must be a number")
}
