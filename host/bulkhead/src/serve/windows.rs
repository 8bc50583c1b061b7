//! Which part of what a host serves is said next, where it is more than a step may say.
//!
//! Each step says another window, and the line has nothing left only when all of them had
//! nothing in a row.

use std::borrow::Cow;

use bulkhead_queue::Serves;

#[derive(Default)]
pub(super) struct Windows {
    turn: usize,
    /// Windows in a row of which less came than was wanted.
    drained: usize,
}

impl Windows {
    /// What the next step says.
    pub(super) fn of<'a>(&self, serves: &'a [Serves]) -> Cow<'a, [Serves]> {
        match serves.len() <= Serves::MAX {
            true => Cow::Borrowed(serves),
            false => Cow::Owned(Serves::window(serves, self.turn)),
        }
    }

    /// Go on to the next window after one that gave less than was wanted, or not; whether all
    /// of them have nothing left, as far as is known.
    pub(super) fn have_drained(&mut self, is_drained: bool, serves: usize) -> bool {
        self.turn = self.turn.wrapping_add(1);
        self.drained = if is_drained { self.drained.saturating_add(1) } else { 0 };
        let all = self.drained >= serves.div_ceil(Serves::MAX).max(1);
        if all {
            self.drained = 0;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bulkhead_core::TaskType;

    use super::*;

    fn serves(count: usize) -> Vec<Serves> {
        (0..count).map(|n| TaskType::new(&format!("t{n}")).unwrap().into()).collect()
    }

    #[test]
    fn what_fits_a_step_is_said_whole_and_drains_at_once() {
        let (mut windows, few) = (Windows::default(), serves(Serves::MAX));
        assert_eq!(*windows.of(&few), few);
        assert!(!windows.have_drained(false, few.len()));
        assert!(windows.have_drained(true, few.len()));
        assert!(windows.have_drained(true, 0));
    }

    #[test]
    fn a_line_sleeps_only_when_all_windows_were_empty_in_a_row() {
        let (mut windows, many) = (Windows::default(), serves(2 * Serves::MAX + 1));
        let mut said = BTreeSet::new();
        for is_last in [false, false, true] {
            said.extend(windows.of(&many).iter().cloned());
            assert_eq!(windows.have_drained(true, many.len()), is_last);
        }
        assert_eq!(said.len(), many.len(), "all were looked at");
        assert!(!windows.have_drained(true, many.len()));
        assert!(!windows.have_drained(false, many.len()), "one was full");
        assert!(!windows.have_drained(true, many.len()));
        assert!(!windows.have_drained(true, many.len()));
        assert!(windows.have_drained(true, many.len()));
    }
}
