//! Waiting for what must come true.

use std::future::Future;
use std::time::{Duration, Instant};

/// Wait up to 30 seconds until `check` gives a value.
///
/// # Panics
/// If it does not.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    check: impl FnMut() -> F,
) -> T {
    eventually_within(Duration::from_secs(30), what, check).await
}

/// Wait up to `bound` until `check` gives a value.
///
/// # Panics
/// If it does not.
pub async fn eventually_within<T, F: Future<Output = Option<T>>>(
    bound: Duration,
    what: &str,
    mut check: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + bound;
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {bound:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
