//! `wasi:clocks`: the time, as exactly as was granted.
//!
//! A coarse clock is worth nothing if waiting tells the time, so waits end on the same grid.
//! With frozen clocks a guest can wait and does not see that time passed.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bulkhead_core::UnixMs;
use wasmtime::component::{HasData, Resource};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::clocks::{
    HostMonotonicClock, HostWallClock, WasiClocks, WasiClocksCtxView, WasiClocksView as _,
};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::clocks::{self, monotonic_clock};

use super::{Capability, CapabilitySet, Interface, Standing};
use crate::compartment::Compartment;
use crate::grants::{Clocks, Grants};

/// What coarse clocks are rounded down to.
pub(crate) const GRID: Duration = Duration::from_millis(10);

pub(super) const CAPABILITY: Capability = Capability {
    grant: Some("clocks"),
    line: "clocks = \"exact\"",
    interfaces: &[
        Interface { name: "wasi:clocks/monotonic-clock", version: "0.2", link: Some(monotonic) },
        Interface { name: "wasi:clocks/wall-clock", version: "0.2", link: Some(wall) },
    ],
    standing,
};

fn standing(_: &Grants, _: CapabilitySet) -> Standing {
    Standing::Default
}

links! {
    monotonic => monotonic_clock, Timing, Compartment::timing;
    wall => clocks::wall_clock, WasiClocks, Compartment::clocks;
}

/// Milliseconds, rounded down to the grid.
pub(crate) fn coarse_ms(ms: u64) -> u64 {
    ms - ms % (GRID.as_millis() as u64)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn down(ns: u64) -> u64 {
    ns - ns % nanos(GRID)
}

fn up(ns: u64) -> u64 {
    ns.checked_next_multiple_of(nanos(GRID)).unwrap_or(u64::MAX)
}

/// Give a WASI context these clocks. `began` is the attempt's beginning, and `submitted_at`
/// the time at which frozen ones stand.
pub(crate) fn set(wasi: &mut WasiCtxBuilder, clocks: Clocks, began: Instant, submitted_at: UnixMs) {
    match clocks {
        Clocks::Exact => {}
        Clocks::Coarse => {
            wasi.wall_clock(Coarse { began }).monotonic_clock(Coarse { began });
        }
        Clocks::Frozen => {
            wasi.wall_clock(Frozen { submitted_at }).monotonic_clock(Frozen { submitted_at });
        }
    }
}

struct Coarse {
    began: Instant,
}

impl HostWallClock for Coarse {
    fn resolution(&self) -> Duration {
        GRID
    }

    fn now(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Duration::from_nanos(down(nanos(now)))
    }
}

impl HostMonotonicClock for Coarse {
    fn resolution(&self) -> u64 {
        nanos(GRID)
    }

    fn now(&self) -> u64 {
        down(nanos(self.began.elapsed()))
    }
}

struct Frozen {
    submitted_at: UnixMs,
}

impl HostWallClock for Frozen {
    fn resolution(&self) -> Duration {
        GRID
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.submitted_at)
    }
}

impl HostMonotonicClock for Frozen {
    fn resolution(&self) -> u64 {
        nanos(GRID)
    }

    fn now(&self) -> u64 {
        0
    }
}

/// The monotonic clock of an attempt, and its waits.
pub(crate) struct Timing<'a> {
    pub(crate) wasi: WasiClocksCtxView<'a>,
    pub(crate) clocks: Clocks,
    pub(crate) began: Instant,
}

/// The form in which a linker wants it.
impl HasData for Timing<'static> {
    type Data<'a> = Timing<'a>;
}

impl Timing<'_> {
    /// A wait of this many nanoseconds from now, to the end of its part of the grid.
    fn on_grid(&self, ns: u64) -> u64 {
        match self.clocks {
            Clocks::Coarse | Clocks::Frozen if ns > 0 => {
                let elapsed = nanos(self.began.elapsed());
                up(elapsed.saturating_add(ns)).saturating_sub(elapsed)
            }
            _ => ns,
        }
    }
}

impl monotonic_clock::Host for Timing<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        monotonic_clock::Host::now(&mut self.wasi)
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        monotonic_clock::Host::resolution(&mut self.wasi)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let now = monotonic_clock::Host::now(&mut self.wasi)?;
        match self.clocks {
            Clocks::Exact => self.wasi.subscribe_instant(when),
            Clocks::Coarse | Clocks::Frozen => self.subscribe_duration(when.saturating_sub(now)),
        }
    }

    fn subscribe_duration(&mut self, ns: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let ns = self.on_grid(ns);
        self.wasi.subscribe_duration(ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_has_no_finer_steps() {
        assert_eq!((coarse_ms(9), coarse_ms(10), coarse_ms(25)), (0, 10, 20));
        assert_eq!((down(9_999_999), down(10_000_000)), (0, 10_000_000));
        assert_eq!((up(1), up(10_000_000), up(u64::MAX)), (10_000_000, 10_000_000, u64::MAX));
    }
}
