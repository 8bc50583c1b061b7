//! The waits between attempts as the attribute suggests them. They are one thing: an
//! attribute that names one part of them suggests all, the rest being the defaults.

use proc_macro2::Span;
use syn::Error;

/// The first wait, where the attribute does not say.
const INITIAL_MS: u64 = 1_000;

/// The longest wait, where the attribute does not say.
const MAX_MS: u64 = 600_000;

/// Most entries of a list of delays.
pub(crate) const MAX_DELAYS: usize = 64;

/// How the wait grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Growth {
    Fixed,
    Linear,
    Exponential,
}

/// What the attribute says of the waits; nothing where it is silent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Waits {
    pub(crate) growth: Option<Growth>,
    pub(crate) initial_ms: Option<u64>,
    pub(crate) max_ms: Option<u64>,
    pub(crate) delays_ms: Option<Vec<u64>>,
}

/// The waits, complete.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Backoff {
    Fixed { delay_ms: u64 },
    Linear { initial_ms: u64, max_ms: u64 },
    Exponential { initial_ms: u64, max_ms: u64 },
    Delays { delays_ms: Vec<u64> },
}

impl Waits {
    /// Whether the parts go together.
    pub(crate) fn check(&self) -> syn::Result<()> {
        let refuse = |message| Err(Error::new(Span::call_site(), message));
        let grows = self.growth.is_some() || self.initial_ms.is_some() || self.max_ms.is_some();
        if self.delays_ms.is_some() && grows {
            return refuse(
                "`delays` lists all waits; it does not go with `backoff`, `initial_delay` and \
                 `max_delay`",
            );
        }
        if self.growth == Some(Growth::Fixed) && self.max_ms.is_some() {
            return refuse("a fixed backoff has no `max_delay`; its wait is `initial_delay`");
        }
        match (self.initial_ms, self.max_ms) {
            (Some(initial), Some(max)) if initial > max => {
                refuse("`initial_delay` is longer than `max_delay`; make it shorter")
            }
            _ => Ok(()),
        }
    }

    /// The waits, if the attribute says anything of them. The longest wait is never
    /// shorter than the first.
    pub(crate) fn backoff(&self) -> Option<Backoff> {
        if *self == Self::default() {
            return None;
        }
        if let Some(delays_ms) = self.delays_ms.clone() {
            return Some(Backoff::Delays { delays_ms });
        }
        let max_ms = self.max_ms.unwrap_or(MAX_MS.max(self.initial_ms.unwrap_or(0)));
        let initial_ms = self.initial_ms.unwrap_or(INITIAL_MS.min(max_ms));
        Some(match self.growth.unwrap_or(Growth::Exponential) {
            Growth::Fixed => Backoff::Fixed { delay_ms: initial_ms },
            Growth::Linear => Backoff::Linear { initial_ms, max_ms },
            Growth::Exponential => Backoff::Exponential { initial_ms, max_ms },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_suggests_nothing_and_one_part_suggests_all() {
        assert_eq!(Waits::default().backoff(), None);
        let linear = Waits { growth: Some(Growth::Linear), ..Waits::default() };
        let expected = Backoff::Linear { initial_ms: 1_000, max_ms: 600_000 };
        assert_eq!(linear.backoff(), Some(expected));
        let fixed = Waits { growth: Some(Growth::Fixed), initial_ms: Some(7), ..Waits::default() };
        assert_eq!(fixed.backoff(), Some(Backoff::Fixed { delay_ms: 7 }));
    }

    #[test]
    fn the_longest_wait_is_never_the_shorter_one() {
        let short = Waits { max_ms: Some(10), ..Waits::default() };
        let expected = Backoff::Exponential { initial_ms: 10, max_ms: 10 };
        assert_eq!(short.backoff(), Some(expected));
        let long = Waits { initial_ms: Some(3_600_000), ..Waits::default() };
        let expected = Backoff::Exponential { initial_ms: 3_600_000, max_ms: 3_600_000 };
        assert_eq!(long.backoff(), Some(expected));
    }
}
