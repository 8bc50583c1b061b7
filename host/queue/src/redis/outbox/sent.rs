//! Tasks that tasks of this queue submitted to others. Each waits in this queue's slot, since its
//! parent's completion put it there, until its own queue has it.

use std::collections::BTreeMap;

use bulkhead_core::{QueueName, Task, TaskRef};
use redis::{Cmd, Value};

use super::super::submit::{announce, write_record};
use super::super::{ahead, script};
use super::{Round, fitting};
use crate::codec;
use crate::error::QueueError;

/// The answer to tasks of which not all was there that was sent ahead.
const UNSENT: i64 = 2;

/// A task on its way to its queue.
pub(super) struct Sent {
    /// The event that tells of it.
    pub(super) text: String,
    pub(super) child: TaskRef,
    /// Of its record, as the event says.
    pub(super) bytes: usize,
}

impl Round<'_> {
    /// Store tasks in their queues, in calls bounded by number and bytes. Returns the events
    /// that are done with.
    pub(super) async fn adopt(&mut self, sent: Vec<Sent>) -> Result<Vec<String>, QueueError> {
        let mut by_queue: BTreeMap<QueueName, Vec<Sent>> = BTreeMap::new();
        for sent in sent {
            by_queue.entry(sent.child.queue.clone()).or_default().push(sent);
        }
        let mut done = Vec::new();
        for (queue, sent) in by_queue {
            announce(self.broker, &queue).await?;
            let mut sent = sent.as_slice();
            while !sent.is_empty() {
                let (n, bytes) = fitting(sent.iter().map(|sent| sent.bytes));
                let (now, later) = sent.split_at(n);
                self.store(&queue, now, bytes).await?;
                done.extend(now.iter().map(|sent| sent.text.clone()));
                sent = later;
            }
        }
        Ok(done)
    }

    /// Store tasks in their queue, then forget their records here.
    async fn store(
        &mut self,
        queue: &QueueName,
        sent: &[Sent],
        bytes: usize,
    ) -> Result<(), QueueError> {
        let prefix = self.broker.prefix(self.queue);
        let keys: Vec<String> =
            sent.iter().map(|sent| format!("{prefix}:sent:{}", sent.child)).collect();
        let found = self.broker.connection.send_long(&Cmd::mget(&keys)).await?;
        let records = script::array(found)?;
        let mut tasks = Vec::with_capacity(sent.len());
        for (Sent { child, .. }, record) in sent.iter().zip(records) {
            // Another carrier was here first.
            if record == Value::Nil {
                continue;
            }
            let record = script::bytes(record)?;
            match codec::decode(&child.queue, child.id, &record) {
                Ok(read) => tasks.push((read.task, record)),
                // Written by no step: nobody can carry it.
                Err(unreadable) => {
                    tracing::warn!(queue = %self.queue, %child, error = %unreadable,
                        "a submitted task cannot be read and is dropped");
                }
            }
        }
        if !tasks.is_empty() {
            let mut said = Vec::with_capacity(tasks.len());
            for (task, record) in &tasks {
                said.push(ahead::send_if_long(self.broker, queue, task.id, record).await?);
            }
            let said = said
                .iter()
                .zip(&tasks)
                .map(|(ahead, (task, record))| (task, ahead.as_deref().unwrap_or(record)));
            let mut reply = self.adopt_these(queue, said, bytes).await?;
            if reply == Value::Int(UNSENT) {
                let whole = tasks.iter().map(|(task, record)| (task, &record[..]));
                reply = self.adopt_these(queue, whole, bytes).await?;
            }
            self.note(queue, reply)?;
        }
        self.broker.run(&Cmd::unlink(&keys)).await?;
        Ok(())
    }

    async fn adopt_these<'t>(
        &self,
        queue: &QueueName,
        tasks: impl ExactSizeIterator<Item = (&'t Task, &'t [u8])>,
        bytes: usize,
    ) -> Result<Value, QueueError> {
        let script = &self.broker.scripts.adopt;
        let mut command = script.prepare(self.broker, queue, tasks.len() * 6, bytes);
        for (task, record) in tasks {
            write_record(&mut command, task, record);
        }
        script.send(self.broker, &command).await
    }
}
