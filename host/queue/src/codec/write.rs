//! Writing: a new task's record, whole or in pieces, and the entries that follow.

use bulkhead_core::{AttemptReport, Task};
use serde::Serialize;

use super::VERSION;
use super::shape::{Bonds, BoundHead, Course, Envelope, Head};
use crate::view::{Entry, Next};

/// Write a new task's record.
pub(crate) fn encode_task(task: &Task) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let mut bytes = Vec::with_capacity(task.payload.data.len() + 160);
    let mut writer = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
    write_head(task, &mut writer)?;
    let envelope = Envelope(
        task.submitted_at,
        &task.payload.content_type,
        &task.payload.data,
        &task.metadata,
        task.trace.as_ref(),
        Some(&task.limits).filter(|limits| !limits.is_empty()),
        Course::of(&task.terms),
    );
    envelope.serialize(&mut writer)?;
    Ok(bytes)
}

type Writer<'a> = rmp_serde::Serializer<
    &'a mut Vec<u8>,
    rmp_serde::config::StructMapConfig<rmp_serde::config::DefaultConfig>,
>;

fn write_head(task: &Task, writer: &mut Writer<'_>) -> Result<(), rmp_serde::encode::Error> {
    let (task_type, tenant) = (task.task_type.as_str(), task.tenant.as_str());
    let level = task.priority.level();
    match Bonds::of(&task.terms) {
        None => Head(VERSION, task_type, tenant, level).serialize(writer),
        Some(bonds) => BoundHead(VERSION, task_type, tenant, level, bonds).serialize(writer),
    }
}

/// [`Entry::Ended`] without taking the report.
#[derive(Serialize)]
enum EntryRef<'a> {
    #[serde(rename = "E")]
    Ended(Next, &'a AttemptReport),
}

/// Write the entry of an ended attempt, to be appended to a record.
pub(crate) fn encode_entry(
    next: Next,
    report: &AttemptReport,
) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let mut bytes = Vec::with_capacity(224);
    rmp_serde::encode::write(&mut bytes, &EntryRef::Ended(next, report))?;
    Ok(bytes)
}

/// Write an entry that is made here, to be appended to a record.
pub(crate) fn encode_made(entry: &Entry) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    rmp_serde::to_vec(entry)
}

/// A new task's record in the pieces between which a script puts the submission's time and
/// further metadata: head, content type and payload, metadata, the rest.
pub(crate) struct Pieces {
    pub(crate) head: Vec<u8>,
    pub(crate) content: Vec<u8>,
    pub(crate) metadata: Vec<u8>,
    pub(crate) rest: Vec<u8>,
}

/// Write a new task's record in pieces.
pub(crate) fn encode_pieces(task: &Task) -> Result<Pieces, rmp_serde::encode::Error> {
    fn bytes(
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), rmp_serde::encode::Error>,
    ) -> Result<Vec<u8>, rmp_serde::encode::Error> {
        let mut bytes = Vec::new();
        write(&mut rmp_serde::Serializer::new(&mut bytes).with_struct_map())?;
        Ok(bytes)
    }
    let limits = Some(&task.limits).filter(|limits| !limits.is_empty());
    Ok(Pieces {
        head: bytes(|to| write_head(task, to))?,
        content: bytes(|to| {
            task.payload.content_type.serialize(&mut *to)?;
            serde_bytes::Bytes::new(&task.payload.data).serialize(to)
        })?,
        metadata: bytes(|to| task.metadata.iter().try_for_each(|pair| pair.serialize(&mut *to)))?,
        rest: bytes(|to| {
            task.trace.serialize(&mut *to)?;
            limits.serialize(&mut *to)?;
            Course::of(&task.terms).serialize(to)
        })?,
    })
}
