//! One change to a queue's policy.

use std::str::FromStr;

use anyhow::Result;
use bulkhead::config::quantity::Size;
use bulkhead::core::{
    Bounds, QueueName, QueuePolicy, Rate, TaskType, TenantName, TenantPolicy, WhenSpent,
};
use clap::Args;

use super::policy;
use crate::cli::exit::{Exit, usage};
use crate::cli::session::Session;

/// Which limit, and what it is from now on.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("whose"))]
pub(crate) struct Limit {
    /// Name of the queue
    name: QueueName,
    /// Of a task type
    #[arg(long = "type", value_name = "TYPE", group = "whose", help_heading = "Whose limit")]
    task_type: Option<TaskType>,
    /// Of a key, or of each key with a prefix: `smtp:*`
    #[arg(long, value_name = "KEY", group = "whose", help_heading = "Whose limit")]
    key: Option<String>,
    /// Of a tenant
    #[arg(long, value_name = "NAME", group = "whose", help_heading = "Whose limit")]
    tenant: Option<TenantName>,
    /// Of each tenant that has no policy of its own
    #[arg(long, group = "whose", help_heading = "Whose limit")]
    other_tenants: bool,
    /// Tasks at once over all hosts, of the queue, a type or a key
    #[arg(long, value_name = "N|none", value_parser = change::<u32>)]
    concurrency: Option<Change<u32>>,
    /// How often tasks may start, such as 10/s, 600/m or `10/s burst 20`
    #[arg(long, value_name = "RATE|none", value_parser = change::<Rate>)]
    rate: Option<Change<Rate>>,
    /// A tenant's share relative to others', from 1 to 1000; 10 is normal
    #[arg(long, value_name = "N")]
    weight: Option<u32>,
    /// A tenant's tasks at once over all hosts
    #[arg(long, value_name = "N|none", value_parser = change::<u32>)]
    in_flight: Option<Change<u32>>,
    /// A tenant's tasks that have not ended; more are refused
    #[arg(long, value_name = "N|none", value_parser = change::<u64>)]
    pending: Option<Change<u64>>,
    /// The size of a tenant's task; larger ones are refused
    #[arg(long = "payload", value_name = "SIZE|none", value_parser = change::<Size>)]
    payload_bytes: Option<Change<Size>>,
    /// Fuel that a tenant's attempts may use a minute
    #[arg(long, value_name = "N|none", value_parser = change::<u64>)]
    fuel_per_minute: Option<Change<u64>>,
    /// Memory × time that a tenant's attempts may use a minute, in GiB·s
    #[arg(long, value_name = "N|none", value_parser = change::<u64>)]
    gib_seconds_per_minute: Option<Change<u64>>,
    /// What becomes of a tenant's new tasks while one of these two is spent
    #[arg(long, value_name = "wait|refuse", value_parser = when_spent)]
    when_spent: Option<WhenSpent>,
    /// How many of the queue's lifecycle events are kept
    #[arg(long, value_name = "N|none", value_parser = change::<u32>)]
    events: Option<Change<u32>>,
    /// Forget the limits of the type, the key or the tenants
    #[arg(long, requires = "whose", conflicts_with_all = ["concurrency", "rate", "weight",
        "in_flight", "pending", "payload_bytes", "fuel_per_minute", "gib_seconds_per_minute",
        "when_spent", "events"])]
    remove: bool,
}

/// What becomes of a bound.
#[derive(Debug, Clone, Copy)]
enum Change<T> {
    Lift,
    Set(T),
}

fn change<T: FromStr<Err: ToString>>(text: &str) -> Result<Change<T>, String> {
    match text {
        "none" => Ok(Change::Lift),
        text => text.parse().map(Change::Set).map_err(|e: T::Err| e.to_string()),
    }
}

fn when_spent(text: &str) -> Result<WhenSpent, String> {
    match text {
        "wait" => Ok(WhenSpent::Wait),
        "refuse" => Ok(WhenSpent::Refuse),
        _ => Err("write wait or refuse".into()),
    }
}

fn apply<T: Copy>(change: Option<Change<T>>, bound: &mut Option<T>) {
    match change {
        None => {}
        Some(Change::Lift) => *bound = None,
        Some(Change::Set(value)) => *bound = Some(value),
    }
}

impl Limit {
    /// Do it.
    pub(crate) async fn run(&self, session: &Session) -> Result<Exit> {
        self.check_flags().map_err(usage)?;
        let broker = session.broker().await?;
        let mut policy = broker.policy(&self.name).await?;
        self.change(&mut policy);
        broker.set_policy(&self.name, &policy).await?;
        policy::print(session, &self.name, &policy)
    }

    /// Refuse what would change nothing.
    fn check_flags(&self) -> Result<(), String> {
        let of_tenants = self.tenant.is_some() || self.other_tenants;
        let of_queue = !of_tenants && self.task_type.is_none() && self.key.is_none();
        let given = [
            ("--concurrency", self.concurrency.is_some(), !of_tenants),
            ("--rate", self.rate.is_some(), true),
            ("--weight", self.weight.is_some(), of_tenants),
            ("--in-flight", self.in_flight.is_some(), of_tenants),
            ("--pending", self.pending.is_some(), of_tenants),
            ("--payload", self.payload_bytes.is_some(), of_tenants),
            ("--fuel-per-minute", self.fuel_per_minute.is_some(), of_tenants),
            ("--gib-seconds-per-minute", self.gib_seconds_per_minute.is_some(), of_tenants),
            ("--when-spent", self.when_spent.is_some(), of_tenants),
            ("--events", self.events.is_some(), of_queue),
        ];
        if let Some((flag, ..)) = given.iter().find(|(_, given, fits)| *given && !fits) {
            return Err(match *flag {
                "--concurrency" => "tenants have no --concurrency; use --in-flight".into(),
                "--events" => "--events is of the whole queue; name no type, key or tenant".into(),
                flag => format!("{flag} is of tenants; add --tenant or --other-tenants"),
            });
        }
        if !self.remove && given.iter().all(|(_, given, _)| !given) {
            return Err(
                "no limit is given; `bulkhead queue policy show` shows those there are".into()
            );
        }
        Ok(())
    }

    /// Change the policy.
    fn change(&self, policy: &mut QueuePolicy) {
        if self.remove {
            if let Some(task_type) = &self.task_type {
                policy.types.remove(task_type);
            }
            if let Some(key) = &self.key {
                policy.keys.remove(key);
            }
            if let Some(tenant) = &self.tenant {
                policy.tenants.remove(tenant);
            }
            if self.other_tenants {
                policy.other_tenants = None;
            }
        } else if let Some(task_type) = &self.task_type {
            self.change_bounds(policy.types.entry(task_type.clone()).or_default());
        } else if let Some(key) = &self.key {
            self.change_bounds(policy.keys.entry(key.clone()).or_default());
        } else if let Some(tenant) = &self.tenant {
            // A policy of its own stands in place of the others', so it begins as theirs.
            let present = policy.tenant(tenant);
            self.change_tenant(policy.tenants.entry(tenant.clone()).or_insert(present));
        } else if self.other_tenants {
            self.change_tenant(policy.other_tenants.get_or_insert_default());
        } else {
            apply(self.concurrency, &mut policy.concurrency);
            apply(self.rate, &mut policy.rate);
            apply(self.events, &mut policy.events);
        }
    }

    fn change_bounds(&self, bounds: &mut Bounds) {
        apply(self.concurrency, &mut bounds.concurrency);
        apply(self.rate, &mut bounds.rate);
    }

    fn change_tenant(&self, tenant: &mut TenantPolicy) {
        tenant.weight = self.weight.unwrap_or(tenant.weight);
        apply(self.in_flight, &mut tenant.in_flight);
        apply(self.rate, &mut tenant.rate);
        apply(self.pending, &mut tenant.pending);
        let mut size = tenant.payload_bytes.map(Size);
        apply(self.payload_bytes, &mut size);
        tenant.payload_bytes = size.map(|size| size.0);
        apply(self.fuel_per_minute, &mut tenant.fuel_per_minute);
        match self.gib_seconds_per_minute {
            None => {}
            Some(Change::Lift) => tenant.kib_ms_per_minute = None,
            Some(Change::Set(gib_seconds)) => {
                let kib_ms = gib_seconds.saturating_mul(TenantPolicy::GIB_SECOND);
                tenant.kib_ms_per_minute = Some(kib_ms);
            }
        }
        tenant.when_spent = match self.when_spent {
            // Without a quota there is nothing to refuse for.
            None if !tenant.is_metered() => WhenSpent::Wait,
            when => when.unwrap_or(tenant.when_spent),
        };
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        limit: Limit,
    }

    fn limit(args: &str) -> Result<Limit, String> {
        let args = ["limit", "q"].into_iter().chain(args.split_whitespace());
        let Line { limit } = Line::try_parse_from(args).map_err(|e| e.to_string())?;
        limit.check_flags().map(|()| limit)
    }

    fn changed(policy: &mut QueuePolicy, args: &str) {
        limit(args).unwrap().change(policy);
        policy.check().unwrap();
    }

    #[test]
    fn each_change_leaves_the_rest_of_the_policy_alone() {
        let mut policy = QueuePolicy::default();
        changed(&mut policy, "--concurrency 5 --rate 10/s --events 100");
        changed(&mut policy, "--type mail --concurrency 2");
        changed(&mut policy, "--key smtp:* --rate 1/s");
        changed(&mut policy, "--other-tenants --pending 100 --payload 1MiB");
        changed(&mut policy, "--tenant acme --weight 20");
        changed(&mut policy, "--tenant acme --fuel-per-minute 1000 --when-spent refuse");
        changed(&mut policy, "--tenant acme --gib-seconds-per-minute 60");
        changed(&mut policy, "--rate none");
        assert_eq!((policy.concurrency, policy.rate, policy.events), (Some(5), None, Some(100)));
        let mail = policy.types[&TaskType::new("mail").unwrap()];
        assert_eq!(mail, Bounds { concurrency: Some(2), rate: None });
        assert_eq!(policy.keys["smtp:*"].rate, Rate::new(1, 1_000_000, 1));
        let acme = policy.tenants[&TenantName::new("acme").unwrap()];
        assert_eq!((acme.weight, acme.pending), (20, Some(100)));
        assert_eq!(acme.payload_bytes, Some(1 << 20));
        assert_eq!((acme.fuel_per_minute, acme.when_spent), (Some(1_000), WhenSpent::Refuse));
        assert_eq!(acme.kib_ms_per_minute, Some(60 * 1_048_576_000));
        changed(&mut policy, "--tenant acme --fuel-per-minute none --gib-seconds-per-minute none");
        let acme = policy.tenants[&TenantName::new("acme").unwrap()];
        assert_eq!((acme.is_metered(), acme.when_spent), (false, WhenSpent::Wait));
        for which in ["--type mail", "--key smtp:*", "--tenant acme", "--other-tenants"] {
            changed(&mut policy, &format!("{which} --remove"));
        }
        changed(&mut policy, "--concurrency none --events none");
        assert_eq!(policy, QueuePolicy::default());
    }

    #[test]
    fn what_does_not_fit_is_refused_with_a_hint() {
        for (args, says) in [
            ("", "no limit is given"),
            ("--tenant a --concurrency 1", "--in-flight"),
            ("--weight 2", "--other-tenants"),
            ("--type a --pending 2", "--other-tenants"),
            ("--type a --events 2", "whole queue"),
            ("--type a --fuel-per-minute 2", "--other-tenants"),
            ("--tenant a --when-spent never", "wait or refuse"),
            ("--type a --key b --rate 1/s", "cannot be used with"),
            ("--remove", "required"),
            ("--rate sometimes", "is no rate"),
            ("--concurrency many", "invalid digit"),
        ] {
            let error = limit(args).unwrap_err();
            assert!(error.contains(says), "{args}: {error}");
        }
    }
}
