//! Files that the compiler refused, by their content: they are not compiled again until they
//! change or the host restarts, so that a file that burns a budget burns it once.

use std::collections::VecDeque;

use bulkhead_core::Digest;
use parking_lot::Mutex;

use crate::Rejection;

/// Most files that are remembered; the oldest is forgotten first.
const MAX_REMEMBERED: usize = 1_024;

/// What was refused, and why.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<VecDeque<(Digest, Rejection)>>);

impl Refusals {
    /// Why a file of this content was refused, if it was.
    pub(super) fn get(&self, digest: Digest) -> Option<Rejection> {
        let known = self.0.lock();
        let found = known.iter().find(|(refused, _)| *refused == digest);
        found.map(|(_, why)| why.clone())
    }

    pub(super) fn remember(&self, digest: Digest, why: &Rejection) {
        let mut known = self.0.lock();
        if known.iter().any(|(refused, _)| *refused == digest) {
            return;
        }
        if known.len() >= MAX_REMEMBERED {
            known.pop_front();
        }
        known.push_back((digest, why.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Gate;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let refusals = Refusals::default();
        let digest = |at: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&at.to_le_bytes());
            Digest(bytes)
        };
        for at in 0..=MAX_REMEMBERED {
            let why = Rejection::new(Gate::Compile, at.to_string());
            refusals.remember(digest(at), &why);
            refusals.remember(digest(at), &Rejection::new(Gate::Compile, "again"));
        }
        assert_eq!(refusals.get(digest(0)), None);
        assert_eq!(refusals.get(digest(1)).unwrap().message, "1");
        assert_eq!(refusals.0.lock().len(), MAX_REMEMBERED);
    }
}
