//! Canaries: which tasks a new version of a plugin gets, and whether it is worse than the old one.
//!
//! All hosts choose alike and judge alike, for both are pure functions of what the broker keeps.
//! Nothing here knows where counts come from or what becomes of a verdict.

mod chance;
mod counts;
mod rule;

pub use counts::{Side, SideFigures, WallTimes};
pub use rule::{CanaryRule, Evidence, Judgement};

use sha2::{Digest as _, Sha256};

use crate::{Digest, FailureKind};

/// Shares are of so many.
pub const WHOLE_PERMILLE: u16 = 1_000;

/// Whether a canary of this version takes what has this key, at this share. What a share takes,
/// every larger share takes too.
#[must_use]
pub fn takes(version: &Digest, key: &[u8], share_permille: u16) -> bool {
    let hash = Sha256::new().chain_update(version.0).chain_update(key).finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(first) % u64::from(WHOLE_PERMILLE) < u64::from(share_permille)
}

/// Whether a handler is to blame for a failure of this kind, and not the host or somebody else.
#[must_use]
pub fn is_handlers(kind: FailureKind) -> bool {
    use FailureKind::{Cancelled, LeaseLost, NoHandler, Unreadable};
    !matches!(kind, Cancelled | LeaseLost | NoHandler | Unreadable)
}

/// Whether one more attempt may run on the new version, where `open` of them have not ended well
/// and so many tasks have ended: those that fail are never more than this share of all.
#[must_use]
pub fn may_open(open: u64, ended: u64, harm_permille: u16) -> bool {
    let (harm, whole) = (u64::from(harm_permille), u64::from(WHOLE_PERMILLE));
    harm >= whole || open.saturating_add(1).saturating_mul(whole) <= ended.saturating_mul(harm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_takes_about_as_many_and_a_larger_one_takes_them_too() {
        let version = Digest([7; 32]);
        let taken = |share: u16| -> Vec<u32> {
            (0..20_000_u32).filter(|key| takes(&version, &key.to_be_bytes(), share)).collect()
        };
        let (few, many) = (taken(50), taken(250));
        assert!((900..1_100).contains(&few.len()), "{}", few.len());
        assert!((4_700..5_300).contains(&many.len()), "{}", many.len());
        assert!(few.iter().all(|key| many.contains(key)));
        assert!(taken(0).is_empty() && taken(1_000).len() == 20_000);
        let other = (0..20_000_u32).filter(|key| takes(&Digest([8; 32]), &key.to_be_bytes(), 50));
        assert!(!other.eq(few), "another version takes others");
    }

    #[test]
    fn what_has_not_ended_well_is_never_more_than_the_bound() {
        assert!(!may_open(0, 99, 10) && may_open(0, 100, 10));
        assert!(!may_open(1, 199, 10) && may_open(1, 200, 10));
        assert!(may_open(500, 0, 1_000), "all of them is no bound");
        assert!(!may_open(0, u64::MAX, 0) && !may_open(u64::MAX, 1, 999));
    }
}
