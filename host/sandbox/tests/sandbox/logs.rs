//! Logs and standard streams: kept in bounds, counted beyond them, never a reason to
//! fail.

use bulkhead_core::{Limits, LogLevel};

use crate::rig::{done, run, unruly};

#[tokio::test]
async fn lines_are_kept_with_level_and_time() {
    let end = run(unruly().await, "log-flood", "3", Limits::default()).await;
    done(&end);
    assert_eq!(end.logs.len(), 3, "{:?}", end.logs);
    assert!(end.logs.iter().all(|line| line.level == LogLevel::Info && line.message.len() == 100));
    assert!(end.metering.log_bytes >= 300, "{:?}", end.metering);
    assert_eq!(end.metering.log_lines_dropped, 0);
}

#[tokio::test]
async fn a_log_flood_is_cut_and_counted() {
    let limits = Limits { log_bytes: 10_000, ..Limits::default() };
    let end = run(unruly().await, "log-flood", "5000", limits).await;
    done(&end);
    let kept: usize = end.logs.iter().map(|line| line.message.len()).sum();
    assert!(kept > 5_000 && kept <= 10_000, "{kept}");
    assert_eq!(end.logs.len() as u64 + end.metering.log_lines_dropped, 5_000);
    assert!(end.metering.log_bytes >= 500_000, "{:?}", end.metering);
    assert!(end.logs.iter().enumerate().all(|(at, line)| line.message.ends_with(&at.to_string())));
}

#[tokio::test]
async fn a_flood_on_the_standard_output_never_traps() {
    let limits = Limits { log_bytes: 10_000, ..Limits::default() };
    let end = run(unruly().await, "stdout-flood", "20000", limits).await;
    done(&end);
    assert_eq!(end.metering.log_bytes, 2_000_000);
    assert_eq!(end.logs.len() as u64 + end.metering.log_lines_dropped, 20_000);
    let first = &end.logs[0];
    assert_eq!(first.level, LogLevel::Info);
    assert_eq!(first.fields, [("stream".to_owned(), "stdout".to_owned())]);
}

#[tokio::test]
async fn no_log_at_all_is_a_limit_too() {
    let limits = Limits { log_bytes: 0, ..Limits::default() };
    let end = run(unruly().await, "log-flood", "7", limits).await;
    done(&end);
    assert!(end.logs.is_empty());
    assert_eq!(end.metering.log_lines_dropped, 7);
}
