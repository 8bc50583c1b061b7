//! Handlers of every shape, run natively through decoding and encoding.

use std::time::Duration;

use bulkhead_guest::prelude::*;
use bulkhead_guest::testing::{self, Attempt};
use bulkhead_guest::{Backoff, Parent, ParentState, Retry};

#[derive(Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
struct Sum {
    left: u32,
    right: u32,
}

/// Adds two numbers.
///
/// Fails on overflow.
#[handler]
fn add(sum: Sum) -> Result<u32, Failure> {
    sum.left.checked_add(sum.right).ok_or_else(|| Failure::permanent("the sum is too large"))
}

#[handler(
    task_type = "swap.v2",
    description = "Swaps.",
    fuel = 7,
    memory = "1 MiB",
    timeout = "3s",
    max_attempts = 9,
    backoff = "fixed",
    initial_delay = "2s"
)]
fn swap(sum: Sum) -> Sum {
    Sum { left: sum.right, right: sum.left }
}

#[handler(max_attempts = 2)]
fn few_attempts(_: Payload) {}

#[handler(delays = "1s, 1m", max_age = "1h")]
fn listed_waits(_: Payload) {}

#[handler]
fn same_payload(payload: Payload) -> Payload {
    payload
}

#[handler]
fn reversed(mut data: Vec<u8>) -> Vec<u8> {
    data.reverse();
    data
}

#[handler]
fn upper(text: String) -> String {
    text.to_uppercase()
}

#[handler]
fn greeting(_: Payload) -> &'static str {
    "hello"
}

#[handler]
fn nothing(_: Payload) {}

#[handler]
fn io_error(_: Payload) -> std::io::Result<()> {
    Err(std::io::Error::other("disk"))
}

#[handler]
fn boxed_error(_: Payload) -> Result<(), Box<dyn std::error::Error>> {
    Err("boxed")?
}

#[handler]
fn any_error(_: Payload) -> anyhow::Result<String> {
    Err(anyhow::anyhow!("inner").context("outer"))
}

#[handler]
fn text_error(_: Payload) -> Result<Sum, String> {
    Err("text".to_owned())
}

#[handler]
fn circumstances(_: Payload, task: &Task) -> String {
    log::debug!(key = 5, name:? = "x"; "asked {}", task.meta("who").unwrap_or("nobody"));
    progress(0.5, "half");
    format!(
        "{} {} {} {} {}/{} {} {} {} {}",
        task.id,
        task.task_type,
        task.tenant,
        task.queue,
        task.attempt,
        task.max_attempts,
        task.is_last_attempt(),
        task.trace.as_ref().map_or("", |trace| &trace.traceparent),
        context::remaining() <= Duration::from_secs(5),
        context::cancelled(),
    )
}

/// Halves even numbers.
#[handler(batch = 8)]
fn halves(numbers: Vec<u32>, tasks: &[Task]) -> Vec<Result<u32, Failure>> {
    log::info!(tasks = tasks.len(); "halving");
    let halve = |(number, task): (u32, &Task)| {
        task.focus();
        log::info!("{number}");
        progress(0.5, task.id.as_str());
        if context::cancelled() || number % 2 == 1 {
            return Err(Failure::permanent(format!("{number} of {}", task.parents().len())));
        }
        Ok(number / 2)
    };
    numbers.into_iter().zip(tasks).map(halve).collect()
}

#[handler(batch = 2)]
fn bare_batch(texts: Vec<String>) -> Vec<usize> {
    texts.iter().map(String::len).collect()
}

#[handler(batch = 2)]
fn ragged(_: Vec<Payload>) -> Vec<()> {
    vec![()]
}

#[handler]
fn total(_: Payload, task: &Task) -> Result<u64, Failure> {
    task.parents().map(|parent| parent.output::<u64>()).sum()
}

mod elsewhere {
    use bulkhead_guest::prelude::*;

    #[handler]
    pub(crate) fn nested(_: Payload) {}
}

plugin!(add, swap, same_payload, halves, elsewhere::nested);

fn sum() -> Sum {
    Sum { left: 1, right: 2 }
}

#[test]
fn the_function_is_still_a_function() {
    assert_eq!(add(sum()), Ok(3));
}

#[test]
fn typed_output_has_the_format_of_the_input() {
    let json = testing::run::<swap>(Payload::json(&sum()).unwrap()).output.unwrap();
    assert_eq!(json, Payload::new("application/json", r#"{"left":2,"right":1}"#));

    let run = testing::run::<swap>(Payload::message_pack(&sum()).unwrap());
    assert_eq!(run.json::<Sum>().unwrap(), Sum { left: 2, right: 1 });
    assert_eq!(run.output.unwrap(), Payload::message_pack(&Sum { left: 2, right: 1 }).unwrap());
}

#[test]
fn raw_input_and_output_are_as_they_are() {
    let odd = Payload::new("image/x-odd", [0xff, 0, 1]);
    assert_eq!(testing::run::<same_payload>(odd.clone()).output, Ok(odd.clone()));
    assert_eq!(testing::run::<reversed>(odd).output, Ok(Payload::bytes([1, 0, 0xff])));
    assert_eq!(testing::run::<upper>(Payload::text("aé")).text().unwrap(), "AÉ");
    assert_eq!(testing::run::<greeting>(Payload::default()).text().unwrap(), "hello");
    assert_eq!(testing::run::<nothing>(Payload::text("x")).output, Ok(Payload::default()));
}

#[test]
fn input_that_cannot_be_decoded_is_refused_for_good_and_says_where() {
    let refused = |payload: Payload| {
        let failure = testing::run::<add>(payload).output.unwrap_err();
        assert!(!failure.is_retryable());
        failure.message().to_owned()
    };
    let message = refused(Payload::new("application/json", "{\"left\": 1,\n \"right\": -2}"));
    assert!(message.contains("not the expected JSON"), "{message}");
    assert!(message.contains("line 2 column 12"), "{message}");

    let message = refused(Payload::message_pack(&("x", 2)).unwrap());
    assert!(message.contains("not the expected MessagePack: "), "{message}");
    assert!(message.contains("at byte 2 of 4"), "{message}");
    let mut long = Payload::message_pack(&sum()).unwrap();
    long.data.push(0);
    let message = refused(long);
    assert!(message.contains("more bytes follow the value at byte 14 of 15"), "{message}");

    let message = refused(Payload::text("{}"));
    assert!(message.contains("the content type `text/plain; charset=utf-8`"), "{message}");
    assert!(message.contains("takes application/json or application/msgpack"), "{message}");

    let failure = testing::run::<upper>(Payload::text("").with(vec![b'a', 0xff])).output;
    let failure = failure.unwrap_err();
    assert!(failure.message().contains("from index 1"), "{failure}");
    assert!(!failure.is_retryable());
}

trait With {
    fn with(self, data: Vec<u8>) -> Payload;
}

impl With for Payload {
    fn with(self, data: Vec<u8>) -> Payload {
        Payload { data, ..self }
    }
}

#[test]
fn failures_arrive_as_they_were_meant() {
    let overflow = Payload::json(&Sum { left: u32::MAX, right: 1 }).unwrap();
    let failure = testing::run::<add>(overflow).output.unwrap_err();
    assert_eq!(failure, Failure::permanent("the sum is too large"));

    let none = Payload::default;
    assert_eq!(testing::run::<io_error>(none()).output, Err(Failure::retry("disk")));
    assert_eq!(testing::run::<boxed_error>(none()).output, Err(Failure::retry("boxed")));
    assert_eq!(testing::run::<any_error>(none()).output, Err(Failure::retry("outer: inner")));
    assert_eq!(testing::run::<text_error>(none()).output, Err(Failure::retry("text")));
}

#[test]
fn the_description_says_what_the_attribute_says() {
    let silent = add::describe();
    assert_eq!(silent.task_type, "add");
    assert_eq!(silent.description, "Adds two numbers.\n\nFails on overflow.");
    assert_eq!((silent.fuel, silent.memory_bytes, silent.timeout_ms), (None, None, None));
    assert_eq!(silent.retry, None);
    let schema: serde_json::Value =
        serde_json::from_str(silent.input_schema.as_deref().unwrap()).unwrap();
    assert_eq!(schema["required"], serde_json::json!(["left", "right"]));

    let loud = swap::describe();
    assert_eq!((loud.task_type, loud.description), ("swap.v2", "Swaps."));
    let limits = (loud.fuel, loud.memory_bytes, loud.timeout_ms);
    assert_eq!(limits, (Some(7), Some(1 << 20), Some(3_000)));
    let retry = Retry {
        max_attempts: Some(9),
        backoff: Some(Backoff::Fixed { delay_ms: 2_000 }),
        max_age_ms: None,
    };
    assert_eq!(loud.retry, Some(retry));
    let few = Retry { max_attempts: Some(2), ..Retry::default() };
    assert_eq!(few_attempts::describe().retry, Some(few));
    let listed = listed_waits::describe().retry.unwrap();
    assert_eq!(listed.backoff, Some(Backoff::Delays { delays_ms: vec![1_000, 60_000] }));
    assert_eq!((listed.max_attempts, listed.max_age_ms), (None, Some(3_600_000)));

    assert_eq!(same_payload::describe().input_schema, None);
    assert_eq!(upper::describe().input_schema, None);
}

#[test]
fn the_handler_sees_its_task_and_the_test_sees_what_it_said() {
    let attempt = Attempt::new(Payload::default())
        .id("id-1")
        .tenant("acme")
        .queue("slow")
        .attempt(4)
        .max_attempts(4)
        .meta("who", "me")
        .meta("who", "not me")
        .traceparent("00-aa-bb-01")
        .remaining(Duration::from_secs(5))
        .cancelled();
    let run = testing::run::<circumstances>(attempt);
    let expected = "id-1 circumstances acme slow 4/4 true 00-aa-bb-01 true true";
    assert_eq!(run.text().unwrap(), expected);
    assert_eq!(run.progress, [(0.5, "half".to_owned())]);
    let [line] = &run.logs[..] else { panic!("{:?}", run.logs) };
    assert_eq!((line.level, line.message.as_str()), (log::Level::Debug, "asked me"));
    assert_eq!((line.field("key"), line.field("name")), (Some("5"), Some("\"x\"")));

    let quiet = testing::run::<circumstances>(Payload::default());
    assert_eq!(quiet.logs[0].message, "asked nobody");
    assert!(quiet.text().unwrap().ends_with("1/3 false  false false"));
}

#[test]
fn a_nested_run_does_not_mix_with_the_outer_one() {
    #[handler]
    fn outer(_: Payload) -> String {
        progress(0.1, "before");
        let inner = testing::run::<circumstances>(Payload::default());
        progress(0.9, "after");
        format!("{}", inner.progress.len())
    }
    let run = testing::run::<outer>(Payload::default());
    assert_eq!(run.text().unwrap(), "1");
    assert_eq!(run.progress.len(), 2);
}

#[test]
fn each_task_of_a_batch_has_its_own_end_and_its_own_words() {
    let number = |n: u32| Attempt::new(Payload::json(&n).unwrap()).id(format!("id-{n}"));
    let odd = number(3).parent(Parent::ended(ParentState::Failed));
    let runs = testing::run_batch::<halves>([
        number(8),
        odd,
        Attempt::new(Payload::text("no number")),
        Attempt::from(Payload::message_pack(&6_u32).unwrap()).cancelled(),
        number(10),
    ]);
    let [eight, three, none, six, ten] = &runs[..] else { panic!("{runs:?}") };
    assert_eq!((eight.json::<u32>(), ten.json::<u32>()), (Ok(4), Ok(5)));
    assert_eq!(three.output, Err(Failure::permanent("3 of 1")));
    assert_eq!(six.output, Err(Failure::permanent("6 of 0")), "it is cancelled");
    assert!(none.output.as_ref().unwrap_err().message().contains("takes application/json"));

    let words = |run: &testing::Run| -> Vec<String> {
        run.logs.iter().map(|line| line.message.clone()).collect()
    };
    assert_eq!(words(eight), ["halving", "8"], "what all share, then its own");
    assert_eq!(words(none), ["halving"]);
    assert_eq!(eight.logs[0].field("tasks"), Some("4"), "without the one that did not decode");
    assert_eq!(ten.progress, [(0.5, "id-10".to_owned())]);
}

#[test]
fn a_batch_handler_takes_single_tasks_too() {
    let run = testing::run::<halves>(Payload::json(&4).unwrap());
    assert_eq!(run.json::<u32>(), Ok(2));
    assert_eq!(run.logs.len(), 2);
    assert_eq!(halves::describe().max_batch, Some(8));
    assert_eq!((halves::MAX_BATCH, add::MAX_BATCH), (8, 1));
    let schema = halves::describe().input_schema.unwrap();
    assert!(schema.contains("\"integer\""), "of one input: {schema}");

    let lengths = testing::run_batch::<bare_batch>([Payload::text("a"), Payload::text("bc")]);
    let lengths: Vec<_> = lengths.iter().map(|run| run.json::<usize>()).collect();
    assert_eq!(lengths, [Ok(1), Ok(2)]);
}

#[test]
fn a_handler_without_batches_runs_once_for_each() {
    let runs = testing::run_batch::<add>([Payload::json(&sum()).unwrap(), Payload::default()]);
    assert_eq!(runs[0].json::<u32>(), Ok(3));
    assert!(runs[1].output.is_err());
}

#[test]
#[should_panic(expected = "the handler returned 1 results for 2 inputs")]
fn a_wrong_number_of_results_is_nobodys() {
    testing::run_batch::<ragged>([Payload::default(), Payload::default()]);
}

#[test]
fn a_child_reads_what_its_parents_produced() {
    let counted = |n: u64| Parent::completed(Payload::message_pack(&n).unwrap());
    let child = || Attempt::new(Payload::default());
    let run = testing::run::<total>(child().parent(counted(2)).parent(counted(5)));
    assert_eq!(run.json::<u64>(), Ok(7));
    assert_eq!(testing::run::<total>(child()).json::<u64>(), Ok(0));

    let lost = Parent::ended(ParentState::Cancelled);
    let failure = testing::run::<total>(child().parent(counted(2)).parent(lost));
    let failure = failure.output.unwrap_err();
    assert!(!failure.is_retryable() && failure.message().contains("Cancelled"), "{failure}");
}
