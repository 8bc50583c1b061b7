//! Whether blocked tasks are known to what they wait for.

use bulkhead_core::{QueueName, TaskId};
use redis::Cmd;

use super::super::list::scan;
use super::super::{outbox, script};
use super::Examination;
use crate::error::QueueError;
use crate::finding::{Finding, FindingKind};

impl Examination<'_> {
    /// Blocked tasks whose parents know nothing of them: the link was lost.
    pub(super) async fn links(&mut self) -> Result<(), QueueError> {
        for child in scan(self.broker, "ZSCAN", &self.key("blocked")).await? {
            let reference = format!("{}/{child}", self.queue);
            let there = Cmd::exists(self.key(&format!("task:{child}")));
            if script::integer(self.broker.run(&there).await?)? == 0 {
                continue;
            }
            for parent in scan(self.broker, "SSCAN", &self.key(&format!("deps:{child}"))).await? {
                let mut lost = true;
                for _ in 0..2 {
                    lost = lost && !self.is_linked(&parent, &reference, &child).await?;
                }
                if !lost {
                    continue;
                }
                if self.repair {
                    let event = format!("l {parent} {reference}");
                    let key = self.key("outbox");
                    self.broker.run(&Cmd::zadd(key, event, 0)).await?;
                    outbox::carry_on(self.broker, self.queue, true).await;
                }
                self.findings.push(Finding {
                    kind: FindingKind::Stranded,
                    task: child.parse::<TaskId>().ok(),
                    detail: format!("it waits for `{parent}`, which knows nothing of it"),
                    repaired: self.repair,
                });
            }
        }
        Ok(())
    }

    /// Whether a parent will tell a child, or the child's queue will ask it; true also if
    /// the child does not wait any more.
    async fn is_linked(
        &self,
        parent: &str,
        reference: &str,
        child: &str,
    ) -> Result<bool, QueueError> {
        let asked = Cmd::zscore(self.key("outbox"), format!("l {parent} {reference}"));
        if self.broker.run(&asked).await? != redis::Value::Nil {
            return Ok(true);
        }
        let Some((queue, id)) = parent.split_once('/') else { return Ok(false) };
        let Ok(queue) = QueueName::new(queue) else { return Ok(false) };
        let there = self.broker.prefix(&queue);
        let known = Cmd::sismember(format!("{there}:kids:{id}"), reference);
        if script::integer(self.broker.run(&known).await?)? == 1 {
            return Ok(true);
        }
        let mut told = redis::cmd("ZSCAN");
        told.arg(format!("{there}:outbox")).arg(0).arg("MATCH").arg(format!("k {id}:*"));
        told.arg("COUNT").arg(100_000);
        let [_, told] = script::tuple::<2>(self.broker.run(&told).await?)?;
        if !script::array(told)?.is_empty() {
            return Ok(true);
        }
        let waits = Cmd::sismember(self.key(&format!("deps:{child}")), parent);
        Ok(script::integer(self.broker.run(&waits).await?)? == 0)
    }
}
