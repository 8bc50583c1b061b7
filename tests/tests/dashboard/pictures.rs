//! The pictures of the documents, taken of a host at work.
//!
//! They are put below `target`; `cargo xtask screenshots` copies them into `docs/images`.

use std::path::Path;
use std::time::Duration;

use bulkhead_tests::{Http, Persistence, RedisServer, Scheme, Site, Tab};
use serde_json::json;

use crate::stand::{Stand, open, page_of};

/// Points that a plot must have before it is worth a picture.
const POINTS: usize = 32;
/// The largest that a picture may be.
const MOST_BYTES: usize = 200 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn pictures_of_a_host_at_work() {
    let server = RedisServer::start_with(Persistence::Always);
    let stand = Stand::on(Site::on(server).await, 0).await;
    let api = stand.admin();
    let policy = json!({"tenants": {"acme": {"weight": 20, "pending": 5000}, "globex": {"weight": 10, "pending": 800}}});
    api.send("PUT", "/v1/queues/default/policy", &policy.to_string()).with(200);
    let tab = stand.tab("admin");
    tab.size(1360, 900);
    tab.prefer(Scheme::Light, true);
    let points = "(document.querySelector('figure.chart path.s0:not(.fill)')?.getAttribute('d').match(/[ML]/g) ?? []).length";
    let mut round = 0;
    loop {
        work(&api, round);
        round += 1;
        if tab.js(points).as_u64().is_some_and(|drawn| drawn as usize >= POINTS) {
            break;
        }
        assert!(round < 2_000, "the plots do not fill");
        // The pace of the work, not a wait for anything.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    taken(&tab, "overview");
    tab.prefer(Scheme::Dark, true);
    taken(&tab, "overview-dark");
    tab.prefer(Scheme::Light, true);
    let story = json!({"type": "flaky", "payload": "2", "backoff": "fixed", "retry_delay": "400ms", "tenant": "acme", "metadata": {"order": "4711"}});
    let story = stand.submit(&api, &story);
    stand.site.wait(story).await;
    open(&tab, &page_of(story));
    tab.shows("done at attempt 3");
    taken(&tab, "task");
    open(&tab, "tenants");
    tab.shows("Worth");
    taken(&tab, "tenants");
    tab.size(390, 844);
    open(&tab, "");
    tab.until("it is drawn", "document.querySelectorAll('figure.chart svg').length > 4");
    taken(&tab, "phone");
}

/// Work of a tide that comes and goes.
fn work(api: &Http, round: usize) {
    let tide = 8.0 + 6.0 * (round as f64 / 25.0).sin() + 3.0 * (round as f64 / 4.0).sin();
    let tasks: Vec<_> = (0..tide as usize)
        .map(|n| {
            let at = round * 31 + n * 7;
            let tenant = ["acme", "acme", "acme", "globex", "globex", "initech"][at % 6];
            let (task_type, payload) = match at % 40 {
                0 => ("reject", "x".to_owned()),
                1..=3 => ("flaky", "1".to_owned()),
                4..=18 => ("burn", format!("{}", 2_000 + (at % 9) * 30_000)),
                19..=24 => ("sleep", format!("{}", 20 + (at % 7) * 30)),
                25..=32 => ("text-stats", "some words of a text that is counted ".repeat(20)),
                _ => ("echo", format!("order {at}")),
            };
            json!({"type": task_type, "payload": payload, "tenant": tenant})
        })
        .collect();
    api.post("/v1/tasks/bulk", &json!({"tasks": tasks}).to_string()).with(200);
}

fn taken(tab: &Tab, name: &str) {
    // What was said at the edge is no part of the page.
    tab.js("document.getElementById('notes').replaceChildren()");
    let picture = tab.picture();
    assert!(picture.len() <= MOST_BYTES, "{name} has {} bytes", picture.len());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tmp/dashboard");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join(format!("dashboard-{name}.png")), picture).expect("written");
}
