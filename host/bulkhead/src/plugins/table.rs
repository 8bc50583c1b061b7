//! Which plugin serves whose tasks of which type, at one moment.
//!
//! A task goes to its tenant's own plugin, else to one that was shared with its tenant by
//! name, else to one that was shared with everyone, else to the operator's. A host to which no
//! tenant brings plugins has the operator's table and nothing else.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bulkhead_core::{TaskType, TenantName};
use bulkhead_queue::Serves;

use super::settings::PluginSettings;
use super::tenants::Sharing;
use super::{Identity, Serving, Trial};

type ByType = HashMap<TaskType, Arc<Serving>>;

/// Which plugin serves whose tasks of which type, at one moment.
#[derive(Default)]
pub(crate) struct Table {
    /// For all tenants.
    operators: ByType,
    /// Where tenants brought plugins.
    brought: Option<Box<Brought>>,
    /// Where versions are on trial.
    trials: Option<Box<BTreeMap<Identity, Arc<Trial>>>>,
    serves: Vec<Serves>,
    takes_batches: bool,
    most_bytes: u64,
    /// Whether any plugin may run so many attempts only.
    is_bounded: bool,
}

/// What tenants brought.
#[derive(Default)]
struct Brought {
    /// A tenant's own, and what was shared with it by name.
    by_tenant: HashMap<TenantName, ByType>,
    /// What was shared with everyone.
    everyone: ByType,
}

/// What a table could not hold: by plugin, why it does not serve somebody with whom it is shared.
pub(super) type Contests = BTreeMap<Identity, BTreeSet<String>>;

impl Table {
    /// The table of all that serves, and what had to stand back in it.
    pub(super) fn of<'a>(
        serving: impl Iterator<Item = &'a Arc<Serving>>,
        settings: &PluginSettings,
    ) -> (Self, Contests) {
        let mut table = Self::default();
        let mut brought = Brought::default();
        let mut contests = Contests::new();
        let mut shared: Vec<(&Arc<Serving>, &Sharing)> = Vec::new();
        for serving in serving {
            table.takes_batches |=
                serving.plugin.description().handlers.iter().any(|h| h.max_batch > 1);
            table.is_bounded |= serving.room().is_some();
            table.most_bytes = table.most_bytes.max(serving.plugin.most_bytes());
            let Some(owner) = &serving.identity.owner else {
                table.operators.extend(of_each_type(serving));
                continue;
            };
            brought.by_tenant.entry(owner.clone()).or_default().extend(of_each_type(serving));
            shared.extend(
                settings.sharing(owner, &serving.identity.name).map(|sharing| (serving, sharing)),
            );
        }
        for (serving, sharing) in shared {
            brought.share(serving, sharing, &mut contests);
        }
        if !brought.by_tenant.is_empty() {
            table.brought = Some(Box::new(brought));
        }
        table.serves = table.offers();
        (table, contests)
    }

    /// The same with versions on trial.
    pub(super) fn with<'a>(mut self, trials: impl Iterator<Item = &'a Arc<Trial>>) -> Self {
        let of = |trial: &Arc<Trial>| (trial.serving.identity.clone(), trial.clone());
        let trials: BTreeMap<Identity, Arc<Trial>> = trials.map(of).collect();
        for trial in trials.values() {
            self.most_bytes = self.most_bytes.max(trial.serving.plugin.most_bytes());
        }
        self.trials = (!trials.is_empty()).then(|| Box::new(trials));
        self
    }

    /// What is on trial beside a version that serves.
    pub(crate) fn trial(&self, serving: &Serving) -> Option<&Arc<Trial>> {
        let trials = self.trials.as_ref()?;
        let trial = trials.get(&serving.identity)?;
        (trial.base == serving.plugin.digest()).then_some(trial)
    }

    /// Who serves this tenant's tasks of this type, if anybody does.
    pub(crate) fn get(&self, task_type: &TaskType, tenant: &TenantName) -> Option<&Arc<Serving>> {
        let brought = self.brought.as_ref().and_then(|brought| brought.get(task_type, tenant));
        brought.or_else(|| self.operators.get(task_type))
    }

    /// Whether any type is handled several tasks at a time.
    pub(crate) fn takes_batches(&self) -> bool {
        self.takes_batches
    }

    /// The most that one attempt of any type can come to, in bytes.
    pub(crate) fn most_bytes(&self) -> u64 {
        self.most_bytes
    }

    /// What is served, sorted: types for all tenants, then those of single tenants.
    pub(crate) fn serves(&self) -> &[Serves] {
        &self.serves
    }

    /// What may be claimed now, and how many tasks of it if that is bounded: what a plugin that
    /// runs as often as it may serves is left out, and all others' is there.
    pub(crate) fn claimable(&self) -> (Cow<'_, [Serves]>, Option<u32>) {
        if !self.is_bounded {
            return (Cow::Borrowed(&self.serves), None);
        }
        let (mut claimable, mut most) = (Vec::with_capacity(self.serves.len()), None::<u32>);
        for serves in &self.serves {
            let operators = self.operators.get(&serves.task_type);
            match operators.filter(|_| serves.tenant.is_none()).and_then(|s| s.room()) {
                // Those who have their own plugin for it need not wait for the operator's.
                Some(0) => claimable.extend(
                    self.brought.iter().flat_map(|brought| brought.tenants_with(&serves.task_type)),
                ),
                room => {
                    most = most.into_iter().chain(room).min();
                    claimable.push(serves.clone());
                }
            }
        }
        (Cow::Owned(claimable), most)
    }

    fn offers(&self) -> Vec<Serves> {
        let everyone = self.brought.iter().flat_map(|brought| brought.everyone.keys());
        let wide: BTreeSet<&TaskType> = self.operators.keys().chain(everyone).collect();
        let by_tenant = self.brought.iter().flat_map(|brought| &brought.by_tenant);
        let narrow = by_tenant.flat_map(|(tenant, by_type)| {
            let types = by_type.keys().filter(|task_type| !wide.contains(task_type));
            types.map(move |task_type| Serves::only(task_type.clone(), tenant.clone()))
        });
        let narrow: BTreeSet<Serves> = narrow.collect();
        wide.iter().map(|task_type| Serves::from((*task_type).clone())).chain(narrow).collect()
    }
}

impl Brought {
    fn get(&self, task_type: &TaskType, tenant: &TenantName) -> Option<&Arc<Serving>> {
        let own = self.by_tenant.get(tenant).and_then(|by_type| by_type.get(task_type));
        own.or_else(|| self.everyone.get(task_type))
    }

    /// The tenants that have their own plugin for a type, or one shared with them by name.
    fn tenants_with(&self, task_type: &TaskType) -> impl Iterator<Item = Serves> {
        let has = |by_type: &ByType| by_type.contains_key(task_type);
        let tenants = self.by_tenant.iter().filter(move |(_, by_type)| has(by_type));
        tenants.map(|(tenant, _)| Serves::only(task_type.clone(), tenant.clone()))
    }

    /// Enter a shared plugin. Plugins come in the order of their identities, and the first of
    /// those that want the same keeps it.
    fn share(&mut self, serving: &Arc<Serving>, sharing: &Sharing, contests: &mut Contests) {
        let mut contest = |holder: &Arc<Serving>, task_type: &TaskType, with: &str| {
            let reason = format!(
                "tasks of the type `{task_type}` {with} go to `{}`, which is shared with them too \
                 and comes first by name; end one of the two shares in bulkhead.toml",
                holder.identity
            );
            contests.entry(serving.identity.clone()).or_default().insert(reason);
        };
        for (task_type, serving) in of_each_type(serving) {
            let Sharing::With(tenants) = sharing else {
                match self.everyone.get(&task_type) {
                    Some(holder) => contest(holder, &task_type, "of all tenants"),
                    None => drop(self.everyone.insert(task_type, serving)),
                }
                continue;
            };
            for tenant in tenants {
                let by_type = self.by_tenant.entry(tenant.clone()).or_default();
                match by_type.get(&task_type) {
                    // What is its own goes first, and that is no contest.
                    Some(holder) if holder.identity.owner.as_ref() == Some(tenant) => {}
                    Some(holder) => {
                        contest(holder, &task_type, &format!("of the tenant `{tenant}`"));
                    }
                    None => drop(by_type.insert(task_type.clone(), serving.clone())),
                }
            }
        }
    }
}

fn of_each_type(serving: &Arc<Serving>) -> impl Iterator<Item = (TaskType, Arc<Serving>)> {
    let handlers = serving.plugin.description().handlers.iter();
    handlers.map(|handler| (handler.task_type.clone(), serving.clone()))
}
