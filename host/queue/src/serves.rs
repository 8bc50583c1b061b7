//! What a host offers to do: a task type, for all tenants or for one of them only.
//!
//! A step says at most [`Serves::MAX`] of them. Both brokers look at them in one order, that
//! of [`Offers`], so that equal heads are decided alike. It knows nothing of plugins: which
//! handler serves which tenant is the host's affair.

use std::collections::HashMap;
use std::fmt;

use bulkhead_core::{TaskType, TenantName};

/// One thing that a host serves. Written `type`, or `type:tenant`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serves {
    /// The type it has a handler for.
    pub task_type: TaskType,
    /// The only tenant whose tasks it may be given; `None` for all tenants.
    pub tenant: Option<TenantName>,
}

impl Serves {
    /// The most that one step or wait says for a queue; what is over it is passed over. A host
    /// with more says them by windows.
    pub const MAX: usize = 1_000;

    /// A type, for this tenant only.
    #[must_use]
    pub fn only(task_type: TaskType, tenant: TenantName) -> Self {
        Self { task_type, tenant: Some(tenant) }
    }

    /// Whether a task of this type and tenant is among what it serves.
    #[must_use]
    pub fn is_for(&self, task_type: &TaskType, tenant: &TenantName) -> bool {
        self.task_type == *task_type && self.tenant.as_ref().is_none_or(|only| only == tenant)
    }

    /// Of more than [`Serves::MAX`] the part to say in this turn: the turns that follow each
    /// other say all of them, each as often as any other.
    #[must_use]
    pub fn window(all: &[Self], turn: usize) -> Vec<Self> {
        if all.len() <= Self::MAX {
            return all.to_vec();
        }
        let from = turn.wrapping_mul(Self::MAX) % all.len();
        all.iter().cycle().skip(from).take(Self::MAX).cloned().collect()
    }
}

/// For all tenants.
impl From<TaskType> for Serves {
    fn from(task_type: TaskType) -> Self {
        Self { task_type, tenant: None }
    }
}

impl fmt::Display for Serves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tenant {
            Some(tenant) => write!(f, "{}:{tenant}", self.task_type),
            None => self.task_type.fmt(f),
        }
    }
}

/// What a step serves, each once: first the types for all tenants, then the others, by type.
#[derive(Debug, Default)]
pub(crate) struct Offers<'a> {
    /// Types served for all tenants.
    pub(crate) types: Vec<&'a TaskType>,
    /// Types served for some tenants only, with those.
    pub(crate) narrow: Vec<(&'a TaskType, Vec<&'a TenantName>)>,
}

impl<'a> Offers<'a> {
    pub(crate) fn of(serves: &'a [Serves]) -> Self {
        let serves = &serves[..serves.len().min(Serves::MAX)];
        let mut offers = Self::default();
        // The place of each type among those for all tenants (none) or for some.
        let mut known: HashMap<&TaskType, Option<usize>> = HashMap::with_capacity(serves.len());
        for Serves { task_type, tenant } in serves {
            if tenant.is_none() && known.insert(task_type, None).is_none() {
                offers.types.push(task_type);
            }
        }
        for Serves { task_type, tenant } in serves {
            let Some(tenant) = tenant else { continue };
            let next = offers.narrow.len();
            match known.entry(task_type).or_insert(Some(next)) {
                None => {}
                Some(at) => match offers.narrow.get_mut(*at) {
                    Some((_, tenants)) => tenants.push(tenant),
                    None => offers.narrow.push((task_type, vec![tenant])),
                },
            }
        }
        for (_, tenants) in &mut offers.narrow {
            if tenants.len() > 1 {
                let mut seen = std::collections::HashSet::with_capacity(tenants.len());
                tenants.retain(|tenant| seen.insert(*tenant));
            }
        }
        offers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serves(text: &str) -> Serves {
        let (task_type, tenant) = match text.split_once(':') {
            Some((task_type, tenant)) => (task_type, Some(TenantName::new(tenant).unwrap())),
            None => (text, None),
        };
        Serves { task_type: TaskType::new(task_type).unwrap(), tenant }
    }

    fn offered(texts: &[&str]) -> Vec<String> {
        let all: Vec<Serves> = texts.iter().map(|text| serves(text)).collect();
        let offers = Offers::of(&all);
        let narrow = offers.narrow.iter().flat_map(|(task_type, tenants)| {
            tenants.iter().map(move |tenant| format!("{task_type}:{tenant}"))
        });
        offers.types.iter().map(ToString::to_string).chain(narrow).collect()
    }

    #[test]
    fn each_is_offered_once_and_one_for_all_tenants_covers_the_others() {
        assert_eq!(offered(&["b:x", "a", "b:y", "c:x", "b:x"]), ["a", "b:x", "b:y", "c:x"]);
        assert_eq!(offered(&["a:x", "a", "a", "a:y"]), ["a"]);
        assert_eq!(serves("a:x").to_string(), "a:x");
        assert_eq!(serves("a").to_string(), "a");
        assert!(offered(&[]).is_empty());
    }

    #[test]
    fn windows_say_each_as_often() {
        let all: Vec<Serves> = (0..2_500).map(|n| serves(&format!("t{n}"))).collect();
        let mut said: HashMap<Serves, u32> = HashMap::new();
        for turn in 0..5 {
            let window = Serves::window(&all, turn);
            assert_eq!(window.len(), Serves::MAX);
            window.into_iter().for_each(|one| *said.entry(one).or_default() += 1);
        }
        assert!(all.iter().all(|one| said.get(one) == Some(&2)), "each twice in five turns");
        assert_eq!(Serves::window(&all[..7], 3), all[..7]);
        let many: Vec<Serves> = all.iter().cloned().chain([serves("t1:x")]).collect();
        assert_eq!(Offers::of(&many).types.len(), Serves::MAX);
    }
}
