//! `bulkhead:handler/progress`: how far the handler is, for those who wait. What a guest
//! says in a hurry is thinned out here, so that a sink costs little whatever a guest does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::{HasSelf, Linker};

use crate::bindings::bulkhead::handler::progress::{self, Host};
use crate::compartment::Compartment;
use crate::text::bounded;

/// Longest message of a report, in bytes.
const MAX_MESSAGE_BYTES: usize = 1 << 10;

/// Reports that a sink gets however fast they come.
const BURST: u32 = 16;

/// Beyond the burst, one report is let through in this time.
const PACE: Duration = Duration::from_millis(100);

/// Where progress reports go: at most 16 at once and ten a second. It is called on the
/// guest's thread: take the report and return, without waiting.
pub trait ProgressSink: Send + Sync {
    /// The guest says that `fraction` (0.0 to 1.0) is done. `message` is the guest's
    /// text, at most 1 KiB: escape it before showing it.
    fn report(&self, fraction: f32, message: &str);
}

/// The reports of one task on their way to its sink.
pub(crate) struct Reports {
    sink: Arc<dyn ProgressSink>,
    left: u32,
    /// Up to when reports were paid for.
    since: Instant,
}

impl Reports {
    pub(crate) fn to(sink: Arc<dyn ProgressSink>, now: Instant) -> Self {
        Self { sink, left: BURST, since: now }
    }

    pub(crate) fn report(&mut self, fraction: f32, message: &str, now: Instant) {
        let paces = now.saturating_duration_since(self.since).as_nanos() / PACE.as_nanos();
        match u32::try_from(paces) {
            Ok(paces) if self.left.saturating_add(paces) < BURST => {
                self.left += paces;
                self.since += PACE * paces;
            }
            _ => {
                self.left = BURST;
                self.since = now;
            }
        }
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            self.sink.report(fraction, message);
        }
    }
}

pub(super) fn add_to_linker(linker: &mut Linker<Compartment>) -> wasmtime::Result<()> {
    progress::add_to_linker::<_, HasSelf<_>>(linker, |compartment| compartment)
}

impl Host for Compartment {
    fn report(&mut self, fraction: f32, message: String) -> wasmtime::Result<()> {
        let fraction = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
        let mut message = bounded(message, MAX_MESSAGE_BYTES);
        if let Some(redactor) = self.powers.as_deref().and_then(|powers| powers.redactor()) {
            redactor.text(&mut message);
        }
        let now = Instant::now();
        for reports in self.seats.progress() {
            reports.report(fraction, &message, now);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<f32>>);

    impl ProgressSink for Heard {
        fn report(&self, fraction: f32, _: &str) {
            self.0.lock().push(fraction);
        }
    }

    #[test]
    fn a_hurried_guest_is_heard_ten_times_a_second() {
        let heard = Arc::new(Heard::default());
        let began = Instant::now();
        let mut reports = Reports::to(heard.clone(), began);
        for at in 0..1_000 {
            reports.report(0.0, "", began + Duration::from_millis(at));
        }
        let of_one_second = heard.0.lock().len();
        assert!((24..=26).contains(&of_one_second), "{of_one_second}");
        reports.report(1.0, "", began + Duration::from_secs(60));
        assert_eq!(heard.0.lock().last(), Some(&1.0));
        for _ in 0..100 {
            reports.report(0.5, "", began + Duration::from_secs(60));
        }
        assert_eq!(heard.0.lock().len(), of_one_second + BURST as usize);
    }
}
