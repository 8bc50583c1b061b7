//! What a server says, given to everything that reads it.

use bulkhead_core::{QueueName, TaskId};

use super::url::Address;
use super::{events, inspect, list, place, schedules, script, stats, step, submit};

/// Read bytes as a server's answer, by the readers of every call; how many made sense of it.
pub fn said(queue: &QueueName, id: TaskId, bytes: &[u8]) -> usize {
    let Ok(value) = redis::parse_redis_value(bytes) else { return 0 };
    let made_sense = [
        step::read_reply(queue, value.clone()).is_ok(),
        inspect::view(queue, id, value.clone()).is_ok(),
        events::parse(value.clone()).is_ok(),
        submit::read_answer(value.clone()).is_ok(),
        schedules::view(value.clone()).is_ok(),
        stats::pairs(value.clone()).is_ok(),
        place::read_slots(&Address::Tcp("127.0.0.1".to_owned(), 1), value.clone()).is_some(),
        script::text(value).is_ok_and(|member| list::id_of(&member).is_some()),
    ];
    made_sense.into_iter().filter(|made| *made).count()
}
