//! The clock that a test moves is the one that its server reads.

use std::sync::Arc;
use std::time::Duration;

use bulkhead_stage::{RedisServer, StageClock};

fn time_us(connection: &mut redis::Connection) -> u64 {
    let (seconds, us): (u64, u64) = redis::cmd("TIME").query(connection).unwrap();
    seconds * 1_000_000 + us
}

#[test]
fn a_frozen_server_moves_only_with_its_clock_and_forgets_keys_by_it() {
    let clock = Arc::new(StageClock::frozen(1_900_000_000_000_000));
    let server = RedisServer::start_at(Arc::clone(&clock));
    let mut redis = server.connection();
    assert_eq!(time_us(&mut redis), 1_900_000_000_000_000);
    redis::cmd("SET").arg("k").arg("v").arg("PX").arg(5_000).exec(&mut redis).unwrap();
    clock.advance(Duration::from_millis(4_999));
    let left: i64 = redis::cmd("PTTL").arg("k").query(&mut redis).unwrap();
    assert_eq!(left, 1);
    clock.advance(Duration::from_millis(2));
    assert_eq!(time_us(&mut redis), clock.now_us());
    let gone: Option<String> = redis::cmd("GET").arg("k").query(&mut redis).unwrap();
    assert_eq!(gone, None);
    let script = "redis.call('SET', 'k', 'v', 'PX', 10) return redis.call('TIME')[2]";
    let us: u64 = redis::cmd("EVAL").arg(script).arg(0).query(&mut redis).unwrap();
    assert_eq!(us, clock.now_us() % 1_000_000);
}

#[test]
fn a_running_clock_keeps_running_where_it_was_moved_to() {
    let clock = Arc::new(StageClock::running());
    let server = RedisServer::start_at(Arc::clone(&clock));
    let mut redis = server.connection();
    clock.advance(Duration::from_secs(86_400));
    let before = clock.now_us();
    let then = time_us(&mut redis);
    assert!(before <= then && then <= clock.now_us());
}
