//! What every broker must do: `docs/queue.md`, sentence by sentence.
//!
//! A test is a function of a [`talk::Talk`], one host's conversation with a broker, and runs
//! once on each broker. All of them live by a clock that the test moves, so that nothing
//! waits for time. What only Redis can show is in `on_redis`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails, in its own functions too"
)]

mod archive;
mod batches;
mod cancel;
mod children;
mod claim;
mod dependencies;
mod events;
mod examine;
mod expiry;
mod fairness;
mod hosts;
mod kv;
mod lanes;
mod limits;
mod lines;
mod list;
mod narrow;
mod on_redis;
mod progress;
mod purge;
mod quotas;
mod rerun;
mod results;
mod retention;
mod schedules;
mod secrets;
mod settle;
mod stage;
mod stats;
mod submit;
mod talk;
mod unique;
mod usage;
mod wake;
mod words;

/// Run each of these tests on every broker.
macro_rules! every_broker {
    ($($test:ident),* $(,)?) => {
        mod on {
            $(mod $test {
                use crate::stage::Kind;
                use crate::talk::Talk;

                #[tokio::test]
                async fn redis() {
                    super::super::$test(Talk::on(Kind::Redis).await).await;
                }

                #[tokio::test]
                async fn memory() {
                    super::super::$test(Talk::on(Kind::Memory).await).await;
                }

                #[tokio::test]
                async fn durable() {
                    super::super::$test(Talk::on(Kind::Durable).await).await;
                }
            })*
        }
    };
}
pub(crate) use every_broker;
