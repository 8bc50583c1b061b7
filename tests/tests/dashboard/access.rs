//! Whoever looks: axe finds no breach of WCAG AA in light, in dark, and on a phone.

use std::path::Path;

use bulkhead_stage::Node;
use bulkhead_tests::{Scheme, Tab};
use serde_json::{Value, json};

use crate::stand::{DRAWN, Stand, open, page_of};

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_no_breach_on_any_page_in_light_in_dark_and_on_a_phone() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dashboard/package.json");
    let packages = Node::with("axe", &package);
    let axe = packages.folder().join("node_modules/axe-core/axe.min.js");
    let axe = std::fs::read_to_string(axe).expect("axe");

    let stand = Stand::new().await;
    let api = stand.admin();
    let failed =
        stand.submit(&api, &json!({"type": "panic", "payload": "boom", "max_attempts": 1}));
    let done = stand.submit(&api, &json!({"type": "echo", "payload": {"text": "words", "number": 1, "none": null}, "tenant": "acme", "metadata": {"trace": "t1"}}));
    let logged = stand.submit(&api, &json!({"type": "together", "payload": "log something"}));
    for id in [failed, done, logged] {
        stand.site.wait(id).await;
    }
    let runs = stand
        .submit(&api, &json!({"type": "progress", "payload": "600000", "limits": {"wall": "10m"}}));
    stand.site.running(runs).await;
    for state in ["scheduled", "pending"] {
        let delay = if state == "scheduled" { json!("1h") } else { Value::Null };
        let mut task = json!({"type": "unserved", "payload": ""});
        if !delay.is_null() {
            task["delay"] = delay;
        }
        stand.submit(&api, &task);
    }
    let schedule =
        json!({"cron": "0 3 * * *", "zone": "UTC", "task": {"type": "echo", "payload": 1}});
    api.send("PUT", "/v1/queues/default/schedules/nightly", &schedule.to_string()).with(200);
    let policy = json!({"tenants": {"acme": {"weight": 30, "pending": 50, "in_flight": 4, "fuel_per_minute": 1_000_000_000}}});
    api.send("PUT", "/v1/queues/default/policy", &policy.to_string()).with(200);

    let mut pages: Vec<String> = [
        "",
        "queues",
        "queues/default",
        "tasks",
        "dead",
        "schedules",
        "schedules/default/nightly",
        "plugins",
        "tenants",
        "hosts",
        "journal",
        "nowhere",
    ]
    .map(str::to_owned)
    .to_vec();
    pages.extend([failed, done, logged, runs].map(page_of));
    let stranger = stand.stranger();
    let tab = stand.tab("admin");
    tab.until(
        "plots are drawn",
        "document.querySelectorAll('figure.chart svg path[d]').length >= 12",
    );
    // It is awake: it finds one that is made for it.
    tab.js("document.getElementById('notes').append(new Image())");
    assert!(breaches_of(&tab, &axe).iter().any(|found| found.contains("image-alt")));
    tab.js("document.querySelector('#notes img').remove()");

    let mut breaches = Vec::new();
    for (scheme, width) in
        [(Scheme::Light, 1360), (Scheme::Dark, 1360), (Scheme::Light, 390), (Scheme::Dark, 390)]
    {
        for tab in [&tab, &stranger] {
            tab.prefer(scheme, true);
            tab.size(width, 850);
        }
        let mut look = |tab: &Tab, page: &str| {
            let found = breaches_of(tab, &axe);
            breaches.extend(
                found.into_iter().map(|found| format!("{page} {scheme:?} {width}: {found}")),
            );
            let over = tab
                .js("document.documentElement.scrollWidth - document.documentElement.clientWidth");
            if over != 0 {
                let widest = tab.js("[...document.querySelectorAll('main *')].filter((one) => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest('.across, pre, .scroller')).map((one) => one.outerHTML.slice(0, 150)).slice(0, 3)");
                breaches
                    .push(format!("{page} {scheme:?} {width}: {over} pixels too wide: {widest}"));
            }
        };
        look(&stranger, "sign in");
        for page in &pages {
            open(&tab, page);
            tab.until(
                "it is drawn",
                &format!("{DRAWN} || document.querySelector('main > div > p')"),
            );
            look(&tab, page);
        }
        open(&tab, &page_of(done));
        tab.click("Edit and run");
        look(&tab, "a dialog");
        tab.press("Escape");
    }
    assert!(breaches.is_empty(), "{} breaches:\n{}", breaches.len(), breaches.join("\n"));

    // A theme is chosen and kept, whatever the system prefers.
    let ground = "getComputedStyle(document.documentElement).backgroundColor";
    let dark = tab.js(ground);
    tab.click("Theme: as the system");
    tab.until("it is light", &format!("{ground} !== '{}'", dark.as_str().expect("a colour")));
    tab.reload();
    tab.click("Theme: light");
    tab.until("it is dark", &format!("{ground} === '{}'", dark.as_str().expect("a colour")));
    tab.click("Theme: dark");
    tab.shows("Theme: as the system");

    // Who prefers less motion gets none.
    let moving = "(() => { const one = document.createElement('div'); one.className = 'note'; document.getElementById('notes').append(one); const style = getComputedStyle(one); const button = getComputedStyle(document.querySelector('button')); const said = [style.animationName, button.transitionDuration]; one.remove(); return said; })()";
    assert_eq!(tab.js(moving), json!(["none", "0s"]));
    tab.prefer(Scheme::Light, false);
    assert_eq!(tab.js(moving)[0], "rise", "others get a little");
}

/// What axe finds, as one line each.
fn breaches_of(tab: &Tab, axe: &str) -> Vec<String> {
    // Through the protocol: the policy of the page would not let it in.
    if tab.js("typeof axe") == "undefined" {
        tab.js(axe);
    }
    let run = "axe.run(document, { resultTypes: ['violations'], runOnly: { type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] } })\
        .then(({ violations }) => violations.flatMap((one) => one.nodes.slice(0, 3).map((node) => `${one.id}: ${node.html.slice(0, 200)} ${node.failureSummary.slice(0, 300)}`)))";
    let found = tab.js(run);
    found.as_array().expect("a list").iter().map(Value::to_string).collect()
}
