//! Ctrl-C and SIGTERM as a value that waiting code looks at.
//!
//! A command that started servers must not end without stopping them. With this in
//! place a signal no longer ends the process; every wait does, with an error, and the
//! servers' guards run on the way out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Whether somebody asked this process to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on.
    pub(crate) fn listen() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, flag.clone())
                .context("cannot listen to signals")?;
        }
        Ok(Self(flag))
    }

    /// An error if the process was asked to end.
    pub(crate) fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        Ok(())
    }

    /// Looks again and again until `look` finds something, but no longer than `bound`.
    pub(crate) fn wait_until<T>(
        &self,
        what: &str,
        bound: Duration,
        mut look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let deadline = Instant::now() + bound;
        loop {
            self.check()?;
            if let Some(found) = look()? {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                bail!("waited {} s in vain until {what}", bound.as_secs());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_when_something_is_found_or_the_time_is_over_or_somebody_interrupts() {
        let interrupt = Interrupt::default();
        let mut looks = 0;
        let found = interrupt.wait_until("it is there", Duration::from_secs(60), || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(found.unwrap(), 3);

        let wait = |bound| interrupt.wait_until("pigs fly", bound, || Ok(None::<()>));
        let error = wait(Duration::ZERO).unwrap_err().to_string();
        assert_eq!(error, "waited 0 s in vain until pigs fly");

        interrupt.0.store(true, Ordering::Relaxed);
        assert_eq!(wait(Duration::from_secs(60)).unwrap_err().to_string(), "interrupted");
    }
}
