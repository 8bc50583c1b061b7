//! Every limit, obeyed and violated.

use bulkhead_core::{FailureKind, Limits};
use bulkhead_sandbox::{Sandbox, SandboxConfig};

use crate::rig::{done, failed, load, load_bytes, run, sandbox, unruly};
use crate::shapes;

#[tokio::test]
async fn fuel() {
    let plenty = run(unruly().await, "burn", "10000", Limits::default()).await;
    let used = plenty.metering.fuel;
    let exact = Limits { fuel: used, ..Limits::default() };
    let end = run(unruly().await, "burn", "10000", exact).await;
    assert_eq!(done(&end), done(&plenty));
    assert_eq!(end.metering.fuel, used, "the same work costs the same");

    let short = Limits { fuel: used / 2, ..Limits::default() };
    let end = run(unruly().await, "burn", "10000", short).await;
    let failure = failed(&end, FailureKind::OutOfFuel);
    assert!(failure.message.contains(&format!("`fuel` = {}", used / 2)), "{}", failure.message);
    assert_eq!(end.metering.fuel, used / 2);
}

#[tokio::test]
async fn memory() {
    let limits = Limits { memory_bytes: 16 << 20, ..Limits::default() };
    let end = run(unruly().await, "alloc", &(8 << 20).to_string(), limits).await;
    assert_eq!(done(&end), (8 << 20).to_string());
    assert!(end.metering.peak_memory_bytes > 8 << 20, "{:?}", end.metering);

    let end = run(unruly().await, "alloc", &(17 << 20).to_string(), limits).await;
    let failure = failed(&end, FailureKind::OutOfMemory);
    assert!(failure.message.contains("`memory` is 16777216 bytes"), "{}", failure.message);
    assert!(end.metering.peak_memory_bytes <= 16 << 20, "{:?}", end.metering);
    assert!(!failure.backtrace.is_empty());
}

#[tokio::test]
async fn memory_before_the_first_call() {
    let limits = Limits { memory_bytes: 1 << 16, ..Limits::default() };
    let end = run(unruly().await, "echo", "", limits).await;
    failed(&end, FailureKind::OutOfMemory);
}

#[tokio::test]
async fn memory_over_several_memories() {
    let grow = |pages: u32| {
        format!(
            "(drop (memory.grow 0 (i32.const {pages}))) (drop (memory.grow 1 (i32.const {pages})))"
        )
    };
    let limits = Limits { memory_bytes: 20 << 16, ..Limits::default() };
    for (pages, fits) in [(8, true), (9, false)] {
        let shape = shapes::handler("(memory $second 1)", &grow(pages));
        let plugin = load_bytes(sandbox().await, shape).await.unwrap();
        let end = run(&plugin, "shape", "", limits).await;
        if fits {
            done(&end);
            assert_eq!(end.metering.peak_memory_bytes, (2 + 1 + 16) << 16);
        } else {
            failed(&end, FailureKind::OutOfMemory);
        }
    }
}

#[tokio::test]
async fn memory_of_tables() {
    let limits = Limits { memory_bytes: 3 << 16, ..Limits::default() };
    for (elements, fits) in [(8_000, true), (9_000, false)] {
        let grow = format!("(drop (table.grow (ref.null func) (i32.const {elements})))");
        let shape = shapes::handler("(table 0 funcref)", &grow);
        let plugin = load_bytes(sandbox().await, shape).await.unwrap();
        let end = run(&plugin, "shape", "", limits).await;
        if fits {
            done(&end);
        } else {
            failed(&end, FailureKind::OutOfMemory);
        }
    }
}

#[tokio::test]
async fn growth_beyond_its_own_maximum_is_the_guests_affair() {
    let items = "(memory $second 1 2)";
    let handle = "(if (i32.ne (memory.grow 1 (i32.const 5)) (i32.const -1)) (then unreachable))";
    let plugin = load_bytes(sandbox().await, shapes::handler(items, handle)).await.unwrap();
    let end = run(&plugin, "shape", "", Limits::default()).await;
    done(&end);
    assert_eq!(end.metering.peak_memory_bytes, 8 << 16, "what was wanted at most");
}

#[tokio::test]
async fn stack() {
    let handle = "(call $deeper (i32.const 1000000))";
    let items = "(func $deeper (param i32)
        (if (local.get 0) (then (call $deeper (i32.sub (local.get 0) (i32.const 1))))))";
    let plugin = load_bytes(sandbox().await, shapes::handler(items, handle)).await.unwrap();
    let end = run(&plugin, "shape", "", Limits::default()).await;
    let failure = failed(&end, FailureKind::StackOverflow);
    assert!(failure.message.contains("524288 bytes"), "{}", failure.message);
    assert_eq!(failure.backtrace.len(), 32, "bounded");

    let shallow = handle.replace("1000000", "1000");
    let plugin = load_bytes(sandbox().await, shapes::handler(items, &shallow)).await.unwrap();
    done(&run(&plugin, "shape", "", Limits::default()).await);
}

#[tokio::test]
async fn stack_of_a_rust_guest() {
    let end = run(unruly().await, "recurse", "", Limits::default()).await;
    failed(&end, FailureKind::StackOverflow);
}

#[tokio::test]
async fn result_bytes() {
    let content_type = "application/octet-stream".len() as u64;
    let limits = Limits { result_bytes: 1_000 + content_type, ..Limits::default() };
    assert_eq!(done(&run(unruly().await, "big-result", "1000", limits).await).len(), 1_000);
    let end = run(unruly().await, "big-result", "1001", limits).await;
    let failure = failed(&end, FailureKind::ResultTooLarge);
    assert!(failure.message.contains("`result`"), "{}", failure.message);
}

#[tokio::test]
async fn result_bytes_beyond_what_a_host_call_takes() {
    let limits = Limits { hostcall_bytes: 10_000, ..Limits::default() };
    done(&run(unruly().await, "big-result", "9000", limits).await);
    let end = run(unruly().await, "big-result", "11000", limits).await;
    let failure = failed(&end, FailureKind::ResultTooLarge);
    assert!(failure.message.contains("10000 bytes"), "{}", failure.message);
}

#[tokio::test]
async fn hostcall_bytes() {
    let roomy = Limits { hostcall_bytes: 1_000, ..Limits::default() };
    done(&run(unruly().await, "log-flood", "3", roomy).await);
    let tight = Limits { hostcall_bytes: 90, ..Limits::default() };
    let end = run(unruly().await, "log-flood", "3", tight).await;
    let failure = failed(&end, FailureKind::HostcallTooLarge);
    assert!(failure.message.contains("`hostcall` = 90"), "{}", failure.message);
}

#[tokio::test]
async fn handles() {
    let limits = Limits { handles: 100, ..Limits::default() };
    assert_eq!(done(&run(unruly().await, "handles", "90", limits).await), "90");
    let end = run(unruly().await, "handles", "200", limits).await;
    let failure = failed(&end, FailureKind::TooManyHandles);
    assert!(failure.message.contains("`handles` = 100"), "{}", failure.message);
}

#[tokio::test]
async fn instances() {
    let shape = shapes::command(5, "");
    let plugin = load_bytes(sandbox().await, shape).await.unwrap();
    let five = Limits { instances: 5, ..Limits::default() };
    done(&run(&plugin, "shape", "", five).await);
    let four = Limits { instances: 4, ..Limits::default() };
    let failure = run(&plugin, "shape", "", four).await;
    let failure = failed(&failure, FailureKind::TooManyInstances);
    assert!(failure.message.contains("`instances` = 4"), "{}", failure.message);
}

#[tokio::test]
async fn no_attempt_gets_more_than_the_hosts_ceilings() {
    let ceilings = Limits { memory_bytes: 4 << 20, fuel: 50_000_000, ..Limits::default() };
    let sandbox = Sandbox::new(SandboxConfig { ceilings, ..Default::default() }).unwrap();
    let plugin = load(&sandbox, "unruly").await;
    let asked = Limits { memory_bytes: u64::MAX, fuel: u64::MAX, ..Limits::default() };
    let end = run(&plugin, "alloc", &(8 << 20).to_string(), asked).await;
    failed(&end, FailureKind::OutOfMemory);
    failed(&run(&plugin, "spin", "", asked).await, FailureKind::OutOfFuel);
}

#[tokio::test]
async fn concurrency_beyond_the_pool_is_the_hosts_affair() {
    let config = SandboxConfig { concurrency: 1, concurrent_loads: 1, ..Default::default() };
    let sandbox = Sandbox::new(config).unwrap();
    let plugin = load(&sandbox, "unruly").await;
    let sleeping = || run(&plugin, "sleep", "200", Limits::default());
    let task = crate::rig::task("sleep", "0");
    let late = async {
        // Both compartments are taken by the time this is polled.
        plugin.attempt(crate::rig::attempt(&task)).await
    };
    let (first, second, late) = tokio::join!(sleeping(), sleeping(), late);
    done(&first);
    done(&second);
    let late = late.unwrap_err();
    assert!(late.to_string().contains("raise `concurrency`"), "{late}");
    done(&run(&plugin, "echo", "free again", Limits::default()).await);
}
