//! Ten thousand rows stay smooth: only those in view are drawn, however far one scrolls.

use bulkhead_tests::Tab;
use serde_json::json;

use crate::stand::{Stand, open};

const ROWS: usize = 10_000;
/// Rows that may be drawn at once: those in view and a few around them.
const DRAWN: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_rows_stay_smooth() {
    let stand = Stand::new().await;
    let api = stand.admin();
    stand.site.submit_many(ROWS, "unserved", "x").await;
    stand.site.submit_many(ROWS, "reject", "x").await;
    let tab = stand.tab("read,operate");
    bulkhead_tests::eventually_within(
        std::time::Duration::from_secs(120),
        "all have failed",
        || async { (stand.site.stats().await.failed == ROWS as u64).then_some(()) },
    )
    .await;
    drop(api);
    for page in ["tasks?type=unserved", "dead"] {
        open(&tab, page);
        tab.until("rows are there", "document.querySelectorAll('table.long tbody tr').length > 10");
        let before = tab.js("document.querySelectorAll('*').length").as_u64().expect("a number");
        let seen = scrolled(&tab);
        let number = |name: &str| seen[name].as_f64().expect("a number");
        println!(
            "{page}: {} rows; {} frames, the median {:.1} ms apart, 95 of 100 within {:.1} ms; {} long tasks, {:.0} ms; at most {} rows and {} elements drawn",
            number("rows"),
            number("frames"),
            number("median_ms"),
            number("p95_ms"),
            number("long_tasks"),
            number("long_ms"),
            number("most_rows"),
            number("most_elements"),
        );
        assert_eq!(number("rows") as usize, ROWS);
        assert!(number("most_rows") as u64 <= DRAWN, "{seen}");
        assert!(number("most_elements") as u64 <= before + DRAWN * 20, "{seen} after {before}");
        // A frame changes the rows that come into view, and leaves the others as they are.
        assert!(number("most_changes") as u64 <= 3 * DRAWN, "{seen}");

        // All are marked at once without drawing them.
        tab.click_on("thead input");
        tab.shows("10,000 marked");
        let drawn = tab.js("document.querySelectorAll('table.long tbody tr').length").as_u64();
        assert!(drawn.is_some_and(|drawn| drawn <= DRAWN), "{drawn:?}");
    }
    tab.click("Drop them");
    tab.click_on("dialog button.danger");
    tab.shows("10,000 are gone");
    assert_eq!(stand.site.stats().await.failed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_breaks_off_says_so_and_is_loaded_again_once() {
    let stand = Stand::new().await;
    stand.site.submit_many(1_200, "unserved", "x").await;
    let tab = stand.tab("read");
    open(&tab, "tasks?type=unserved");
    tab.until("rows are there", "document.querySelectorAll('table.long tbody tr').length > 10");
    tab.js("window.whole = window.fetch; window.fetch = async () => { throw new TypeError('cut'); }; null");
    tab.js("document.querySelector('.scroller').scrollTop = 1e9; null");
    tab.until(
        "it says so",
        "document.querySelector('.loaded').textContent.includes('does not answer')",
    );
    // A reload that fails leaves what was there, and takes nothing twice.
    tab.press("r");
    tab.until(
        "it says so",
        "document.querySelector('.loaded').textContent.includes('does not answer')",
    );
    tab.js("window.fetch = window.whole; null");
    tab.press("r");
    tab.until("it goes on", "/loaded|in all/.test(document.querySelector('.loaded').textContent)");
    assert_eq!(scrolled(&tab)["rows"], 1_200);
}

/// Scroll a list to its end frame by frame; what that took.
fn scrolled(tab: &Tab) -> serde_json::Value {
    let script = r"(async () => {
      const frame = document.querySelector('.scroller');
      const body = frame.querySelector('tbody');
      let [long, longMs, changes] = [0, 0, 0];
      const tasks = new PerformanceObserver((list) => { for (const one of list.getEntries()) { long += 1; longMs += one.duration; } });
      tasks.observe({ type: 'longtask' });
      const changed = new MutationObserver((list) => { for (const one of list) changes += one.addedNodes.length + one.removedNodes.length; });
      changed.observe(body, { childList: true });
      const frames = [];
      let [rows, elements, most, at] = [0, 0, 0, performance.now()];
      let still = 0;
      while (still < 600) {
        changes = 0;
        const before = frame.scrollTop;
        frame.scrollTop += 700;
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        const now = performance.now();
        frames.push((now - at) / 2);
        at = now;
        rows = Math.max(rows, body.querySelectorAll('tr:not(.spacer)').length);
        elements = Math.max(elements, document.querySelectorAll('*').length);
        most = Math.max(most, changes);
        still = frame.scrollTop === before ? still + 1 : 0;
        if (still > 3 && document.querySelector('.loaded').textContent.includes('in all')) break;
      }
      frames.sort((a, b) => a - b);
      return { rows: Number(document.querySelector('.loaded').textContent.replace(/\D/g, '')), frames: frames.length * 2, median_ms: frames[Math.floor(frames.length / 2)], p95_ms: frames[Math.floor(frames.length * 0.95)],
        long_tasks: long, long_ms: longMs, most_rows: rows, most_elements: elements, most_changes: most };
    })()";
    let seen = tab.js(script);
    assert_ne!(seen, json!(null));
    seen
}
