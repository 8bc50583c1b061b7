//! The way of a batch through a handler: decode each input, call once, encode each result.
//!
//! An input that does not decode fails its own task only, and the handler does not see it.
//! What the handler returns must be one result for each input that it was given; the
//! expansion of the attribute is the only caller.

use crate::codec::Format;
use crate::{Failure, Handler, Payload, Task};

type Answer = Result<Payload, Failure>;

/// A batch whose inputs were decoded.
#[derive(Debug)]
pub struct Batch {
    /// The tasks that the handler sees.
    tasks: Vec<Task>,
    formats: Vec<Format>,
    /// A failure where the input did not decode, nothing where the handler answers.
    answers: Vec<Option<Failure>>,
}

impl Batch {
    /// Decode the inputs of a batch.
    pub fn read<T>(
        items: Vec<(Task, Payload)>,
        mut decode: impl FnMut(Format, Payload) -> Result<T, Failure>,
    ) -> (Self, Vec<T>) {
        let mut batch = Self { tasks: Vec::new(), formats: Vec::new(), answers: Vec::new() };
        let mut inputs = Vec::with_capacity(items.len());
        for (task, payload) in items {
            let format = Format::of(&payload.content_type);
            batch.answers.push(match decode(format, payload) {
                Ok(input) => {
                    inputs.push(input);
                    batch.tasks.push(task);
                    batch.formats.push(format);
                    None
                }
                Err(failure) => Some(failure),
            });
        }
        (batch, inputs)
    }

    /// The tasks whose inputs were decoded, in their order.
    #[must_use]
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// Encode what the handler returned.
    ///
    /// # Panics
    ///
    /// If it returned another number of results than it was given inputs: nobody could
    /// tell whose they are.
    pub fn answer<R>(
        self,
        returned: Vec<R>,
        mut encode: impl FnMut(Format, R) -> Answer,
    ) -> Vec<Answer> {
        let (results, inputs) = (returned.len(), self.tasks.len());
        assert!(results == inputs, "the handler returned {results} results for {inputs} inputs");
        let mut returned = returned.into_iter().zip(self.formats);
        let answers = self.answers.into_iter().filter_map(|answer| match answer {
            Some(failure) => Some(Err(failure)),
            None => returned.next().map(|(returned, format)| encode(format, returned)),
        });
        answers.collect()
    }
}

/// One task through a handler that takes batches.
pub fn alone<H: Handler>(task: &Task, payload: Payload) -> Answer {
    let mut answers = H::handle_batch(vec![(task.clone(), payload)]);
    answers.pop().unwrap_or_else(|| Err(Failure::permanent("the handler gave no answer")))
}
