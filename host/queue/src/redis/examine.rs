//! Examination: tasks, indexes and counters held against each other.
//!
//! All keys of a queue are walked with SCAN, and small scripts look at a few items each,
//! atomically. Traffic goes on meanwhile, so what disagrees is looked at again, and only
//! what disagrees twice is reported; the second look repairs, if asked. What has to be
//! summed up over many calls counts as wrong if it is off by the same number twice.

mod links;
mod sums;

use std::collections::HashMap;

use bulkhead_core::QueueName;
use redis::Cmd;

use super::list::scan;
use super::{RedisBroker, inspect, outbox, script};
use crate::error::QueueError;
use crate::finding::{Finding, FindingKind};

/// Items in one call of a script.
const CALL_ITEMS: usize = 100;
/// Findings reported at most.
const FINDINGS: usize = 10_000;
/// How long an event may wait before that is a finding.
const UNDELIVERED_MS: u64 = 60_000;

/// The keys of a queue that there is one of, and their types.
const KEYS: [(&str, &str); 28] = [
    ("scheduled", "zset"),
    ("leases", "zset"),
    ("dead", "zset"),
    ("blocked", "zset"),
    ("expiry", "zset"),
    ("outbox", "zset"),
    ("parked", "zset"),
    ("lanes", "zset"),
    ("batches", "zset"),
    ("fires", "zset"),
    ("ended", "list"),
    ("config", "hash"),
    ("stats", "hash"),
    ("vtime", "hash"),
    ("live", "hash"),
    ("laned", "hash"),
    ("running", "hash"),
    ("limits", "hash"),
    ("progress", "hash"),
    ("starts", "hash"),
    ("schedules", "hash"),
    ("types", "set"),
    ("rings", "set"),
    ("cancel", "set"),
    ("waiters", "set"),
    ("linked", "set"),
    ("paused", "set"),
    ("token", "string"),
];

/// The keys of which there are many, by what follows the prefix, and their types.
const FAMILIES: [(&str, &str); 19] = [
    ("ready:", "zset"),
    ("ring:", "zset"),
    ("lane:", "zset"),
    ("wake:", "list"),
    ("parked:", "set"),
    ("let:", "set"),
    ("use:", "set"),
    ("deps:", "set"),
    ("kids:", "set"),
    ("told:", "set"),
    ("sent:", "string"),
    ("batch:", "hash"),
    ("schedule:", "hash"),
    ("usage:", "hash"),
    ("history:", "hash"),
    ("unique:", "string"),
    ("result:", "string"),
    ("rate:", "string"),
    ("task:", "string"),
];

/// Something to look at: an item and what belongs to it, as the `check` script takes them.
type Item = (String, String);

struct Examination<'a> {
    broker: &'a RedisBroker,
    queue: &'a QueueName,
    repair: bool,
    prefix: String,
    findings: Vec<Finding>,
}

pub(super) async fn examine(
    broker: &RedisBroker,
    queue: &QueueName,
    repair: bool,
) -> Result<Vec<Finding>, QueueError> {
    let prefix = broker.prefix(queue);
    let mut examination = Examination { broker, queue, repair, prefix, findings: Vec::new() };
    examination.run().await?;
    // What repairs ask of other queues, or of this one.
    outbox::carry_on(broker, queue, repair && !examination.findings.is_empty()).await;
    examination.findings.truncate(FINDINGS);
    Ok(examination.findings)
}

fn kind_of(name: &str) -> Option<FindingKind> {
    Some(match name {
        "stranded" => FindingKind::Stranded,
        "dangling" => FindingKind::Dangling,
        "duplicated" => FindingKind::Duplicated,
        "unringed" => FindingKind::Unringed,
        "miscounted" => FindingKind::Miscounted,
        "leaked" => FindingKind::Leaked,
        "damaged" => FindingKind::Damaged,
        _ => return None,
    })
}

impl Examination<'_> {
    async fn run(&mut self) -> Result<(), QueueError> {
        let names = self.names().await?;
        // Keys of the wrong type first: nothing else can be told while they stand.
        let types = KEYS.iter().map(|(name, is)| ((*name).to_owned(), (*is).to_owned())).chain(
            names.iter().filter_map(|name| {
                let family = FAMILIES.iter().find(|(family, _)| name.starts_with(family))?;
                let is = if name.ends_with(":open") { "set" } else { family.1 };
                Some((name.clone(), is.to_owned()))
            }),
        );
        let before = self.findings.len();
        self.check("type", types.collect()).await?;
        if !self.repair && self.findings.len() > before {
            return Ok(());
        }
        self.outbox().await?;
        for (what, command) in [
            ("scheduled", "ZSCAN"),
            ("blocked", "ZSCAN"),
            ("dead", "ZSCAN"),
            ("expiry", "ZSCAN"),
            ("leases", "ZSCAN"),
            ("linked", "SSCAN"),
            ("cancel", "SSCAN"),
            ("waiters", "SSCAN"),
            ("progress", "HSCAN"),
            ("starts", "HSCAN"),
            ("fires", "ZSCAN"),
        ] {
            let members = scan(self.broker, command, &self.key(what)).await?;
            self.check(what, with_nothing(members)).await?;
        }
        let schedules = scan(self.broker, "HSCAN", &self.key("schedules")).await?;
        self.check("schedule", with_nothing(schedules)).await?;
        self.families(&names).await?;
        self.tasks(&names).await?;
        self.links().await?;
        self.check("running", vec![(String::new(), String::new())]).await?;
        self.sums().await
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    /// The names of all keys of the queue, without its prefix.
    async fn names(&self) -> Result<Vec<String>, QueueError> {
        let mut names = std::collections::BTreeSet::new();
        let mut cursor = "0".to_owned();
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(&cursor)
                .arg("MATCH")
                .arg(format!("{}:*", self.prefix))
                .arg("COUNT")
                .arg(1_000);
            let [next, page] = script::tuple::<2>(self.broker.run(&scan).await?)?;
            for key in script::array(page)? {
                // What is no text is no key of ours.
                let Ok(key) = script::text(key) else { continue };
                if let Some(name) = key.strip_prefix(&self.prefix) {
                    names.insert(name.trim_start_matches(':').to_owned());
                }
            }
            cursor = script::text(next)?;
            if cursor == "0" {
                return Ok(names.into_iter().collect());
            }
        }
    }

    /// Look at items, and again at those that disagree.
    async fn check(&mut self, what: &str, items: Vec<Item>) -> Result<(), QueueError> {
        for items in items.chunks(CALL_ITEMS) {
            let mut suspects = Vec::new();
            for (at, _) in self.look(what, items, false).await? {
                if let Some((item, belongs)) = items.get(at) {
                    // The lease that was known before may be another by now.
                    let belongs = if what == "task" { "?" } else { belongs.as_str() };
                    suspects.push((item.clone(), belongs.to_owned()));
                }
            }
            suspects.dedup();
            if !suspects.is_empty() {
                let twice = self.look(what, &suspects, self.repair).await?;
                self.findings.extend(twice.into_iter().map(|(_, finding)| finding));
            }
        }
        Ok(())
    }

    async fn look(
        &self,
        what: &str,
        items: &[Item],
        repair: bool,
    ) -> Result<Vec<(usize, Finding)>, QueueError> {
        let mut args: Vec<&[u8]> = vec![what.as_bytes(), if repair { b"1" } else { b"0" }];
        args.extend(items.iter().flat_map(|(item, more)| [item.as_bytes(), more.as_bytes()]));
        let reply = self.broker.scripts.check.call(self.broker, self.queue, &args).await?;
        script::array(reply)?
            .into_iter()
            .map(|found| {
                let [item, kind, task, detail, repaired] = script::tuple::<5>(found)?;
                let kind = script::text(kind)?;
                let kind = kind_of(&kind)
                    .ok_or_else(|| QueueError::Protocol(format!("a finding of kind `{kind}`")))?;
                let detail = String::from_utf8_lossy(&script::bytes(detail)?).into_owned();
                let finding = Finding {
                    kind,
                    task: script::text(task).ok().and_then(|id| id.parse().ok()),
                    detail,
                    repaired: script::integer(repaired)? == 1,
                };
                let at = usize::try_from(script::integer(item)? - 1).unwrap_or(usize::MAX);
                Ok((at, finding))
            })
            .collect()
    }

    /// Events that have waited for too long: nobody looks at this queue.
    async fn outbox(&mut self) -> Result<(), QueueError> {
        let time = script::array(self.broker.run(&redis::cmd("TIME")).await?)?;
        let seconds = time.into_iter().next().map_or(Ok(0), script::integer)?.unsigned_abs();
        let late = (seconds * 1_000).saturating_sub(UNDELIVERED_MS);
        let mut events = redis::cmd("ZRANGEBYSCORE");
        events.arg(self.key("outbox")).arg("-inf").arg(late).arg("LIMIT").arg(0).arg(CALL_ITEMS);
        let events = script::array(self.broker.run(&events).await?)?;
        if events.is_empty() {
            return Ok(());
        }
        let repaired = self.repair && outbox::deliver(self.broker, self.queue).await? > 0;
        for event in events {
            let event = String::from_utf8_lossy(&script::bytes(event)?).into_owned();
            let detail = format!("`{event}` has waited for over a minute");
            let kind = FindingKind::Undelivered;
            self.findings.push(Finding { kind, task: None, detail, repaired });
        }
        Ok(())
    }

    /// Lines, rings, lanes and what belongs to single tasks.
    async fn families(&mut self, names: &[String]) -> Result<(), QueueError> {
        for name in names {
            let Some((family, rest)) = name.split_once(':') else { continue };
            let rest = rest.to_owned();
            let mut items = vec![(rest.clone(), String::new())];
            let (what, command) = match family {
                "ready" => ("line", Some("ZSCAN")),
                "lane" => ("lane", Some("ZSCAN")),
                "ring" => ("ring", Some("ZSCAN")),
                "let" => ("let", Some("SSCAN")),
                "use" => ("use", Some("SSCAN")),
                "parked" => ("parked", None),
                "unique" => ("unique", None),
                "deps" => ("deps", None),
                "kids" => ("kids", None),
                "told" => ("told", None),
                "sent" => ("sent", None),
                "batch" if rest.ends_with(":open") => {
                    self.batch(name, rest.trim_end_matches(":open")).await?;
                    continue;
                }
                _ => continue,
            };
            if let Some(command) = command {
                if matches!(what, "ring" | "let" | "use") {
                    items.clear();
                }
                let members = scan(self.broker, command, &self.key(name)).await?;
                items.extend(members.into_iter().map(|member| (rest.clone(), member)));
            }
            self.check(what, items).await?;
        }
        Ok(())
    }

    /// A batch's open members in this queue that have ended.
    async fn batch(&mut self, name: &str, id: &str) -> Result<(), QueueError> {
        let batch = format!("{}/{id}", self.queue);
        let own = format!("{}/", self.queue);
        let members = scan(self.broker, "SSCAN", &self.key(name)).await?;
        let own = members.iter().filter_map(|member| member.strip_prefix(&own));
        let items = own.map(|id| (batch.clone(), id.to_owned())).collect();
        let before = self.findings.len();
        self.check("members", items).await?;
        if !self.repair {
            return Ok(());
        }
        let mut counted = false;
        for finding in &mut self.findings[before..] {
            let Some(task) = finding.task else { continue };
            let view = inspect::inspect(self.broker, self.queue, &[task]).await?.pop().flatten();
            let Some(kind) = view.and_then(|view| outbox::letter(view.state)) else { continue };
            let event = format!("b {batch} {}/{task} {kind}", self.queue);
            let key = format!("{}:outbox", self.prefix);
            self.broker.run(&Cmd::zadd(key, event, 0)).await?;
            (finding.repaired, counted) = (true, true);
        }
        outbox::carry_on(self.broker, self.queue, counted).await;
        Ok(())
    }

    /// Every task, with the lease it is known to have.
    async fn tasks(&mut self, names: &[String]) -> Result<(), QueueError> {
        let leases: HashMap<String, String> = scan(self.broker, "ZSCAN", &self.key("leases"))
            .await?
            .into_iter()
            .filter_map(|member| Some((member.get(..36)?.to_owned(), member)))
            .collect();
        let ids = names.iter().filter_map(|name| name.strip_prefix("task:"));
        let items =
            ids.map(|id| (id.to_owned(), leases.get(id).cloned().unwrap_or_default())).collect();
        self.check("task", items).await
    }
}

fn with_nothing(members: Vec<String>) -> Vec<Item> {
    members.into_iter().map(|member| (member, String::new())).collect()
}
