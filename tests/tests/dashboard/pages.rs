//! Every page shows what a real host has and did.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_tests::eventually;
use serde_json::json;

use crate::stand::{HOSTILE_NAME, Stand, go, open, page_of};

#[tokio::test(flavor = "multi_thread")]
async fn every_page_shows_what_the_host_has() {
    let stand = Stand::new().await;
    let api = stand.admin();
    let acme =
        json!({"weight": 30, "in_flight": 4, "pending": 500, "fuel_per_minute": 2_000_000_000_u64});
    let policy = json!({"tenants": {"acme": acme}, "concurrency": 50});
    api.send("PUT", "/v1/queues/default/policy", &policy.to_string()).with(200);
    let order = json!({"type": "echo", "payload": {"order": 4711, "express": true}, "tenant": "acme", "metadata": {"trace": "t-77"}});
    let order = stand.submit(&api, &order);
    let flaky = stand.submit(
        &api,
        &json!({"type": "flaky", "payload": "1", "backoff": "fixed", "retry_delay": "10ms"}),
    );
    let packed = STANDARD.encode(b"\x82\xa7harbour\x07\xa4list\x93\x01\xc3\xc0");
    let packed = stand.submit(
        &api,
        &json!({"type": "echo", "payload_base64": packed, "content_type": "application/msgpack"}),
    );
    let bytes = stand.submit(&api, &json!({"type": "echo", "payload_base64": STANDARD.encode([0, 1, 2, 0xff, b'h', b'i']), "content_type": "application/octet-stream"}));
    let dead = stand.submit(&api, &json!({"type": "trap", "payload": "", "max_attempts": 1}));
    stand.submit(&api, &json!({"type": "reject", "payload": "abc"}));
    for id in [order, flaky, packed, bytes, dead] {
        stand.site.wait(id).await;
    }
    let halfway = stand
        .submit(&api, &json!({"type": "progress", "payload": "600000", "limits": {"wall": "10m"}, "tenant": "acme"}));
    stand.site.running(halfway).await;
    let nightly = json!({"cron": "30 3 * * *", "zone": "Europe/Berlin", "task": {"type": "echo", "payload": {"report": "sales"}}});
    api.send("PUT", "/v1/queues/default/schedules/nightly", &nightly.to_string()).with(200);

    let tab = stand.tab("admin");
    tab.shows("Overview");
    tab.shows("harbour");
    tab.shows("refused a version of");
    tab.until(
        "all plots are drawn",
        "document.querySelectorAll('figure.chart svg path[d]').length >= 12",
    );
    tab.until("fuel comes in", &format!("!{}.includes('–')", card("Fuel")));
    let later = stand.submit(&api, &json!({"type": "echo", "payload": "later"}));
    tab.until("so do percentiles", &format!("!{}.includes('–')", card("Run time, p95")));
    stand.site.wait(later).await;
    tab.point_at("section:nth-of-type(2) > figure.chart");
    tab.until(
        "a plot tells the values of the moment that is pointed at",
        r"/^\d\d:\d\d:\d\d$/.test(document.querySelector('.keys .when')?.innerText)",
    );
    tab.until("and marks it", "document.querySelectorAll('figure.chart .dot').length === 3");

    go(&tab, "Queues");
    tab.until("the queue is listed", "document.querySelector('td a[href=\"#/queues/default\"]')");
    tab.click("default");
    for text in [
        "Queue default",
        "Throughput of default",
        "In line by type",
        "weight 30, 4 at once, 500 not ended",
    ] {
        tab.shows(text);
    }

    go(&tab, "Tasks");
    tab.until(
        "all are listed",
        "document.querySelectorAll('table.long tbody tr:not(.spacer)').length === 8",
    );
    tab.write("Type", "flaky");
    tab.click("Search");
    tab.until(
        "one is found",
        "document.querySelectorAll('table.long tbody tr:not(.spacer)').length === 1",
    );
    tab.write("Task by its id", &order.to_string());
    tab.click("Show");
    for text in ["completed", "acme", "t-77", "\"order\": 4711", "Attempt 1", "fuel", "unruly"] {
        tab.shows(text);
    }
    assert_eq!(
        tab.js("document.querySelectorAll('.json .j-key').length"),
        4,
        "payload and output are coloured"
    );

    let kept = tempfile::tempdir().expect("a folder");
    tab.downloads_into(kept.path());
    tab.js("[...document.querySelectorAll('button')].findLast((one) => one.innerText === 'Download').click()");
    eventually("the output is kept as a file", || async {
        let file = std::fs::read_dir(kept.path()).ok()?.next()?.ok()?;
        let named = file.file_name().to_string_lossy().starts_with(&order.to_string());
        let whole = std::fs::read(file.path()).ok()? == br#"{"express":true,"order":4711}"#;
        (named && whole).then_some(())
    })
    .await;

    open(&tab, &page_of(flaky));
    for text in ["Attempt 2", "attempt 1 of 1 that fail", "done at attempt 2", "then retry"] {
        tab.shows(text);
    }
    assert_eq!(
        tab.js("document.querySelectorAll('svg.spans rect').length"),
        2,
        "attempts are drawn over time"
    );
    open(&tab, &page_of(packed));
    tab.shows("\"harbour\": 7");
    tab.until("it is told in hex as well", "[...document.querySelectorAll('.tabs button')].filter((one) => one.innerText === 'Hex')[0]?.click() === undefined");
    tab.shows("82 a7 68 61 72 62 6f 75 72");
    open(&tab, &page_of(bytes));
    tab.shows("00 01 02 ff 68 69");
    open(&tab, &page_of(dead));
    tab.shows("trapped");
    tab.shows("Backtrace,");
    tab.until("it has frames", "document.querySelectorAll('details pre div').length > 0");
    open(&tab, &page_of(halfway));
    tab.shows("half");
    tab.shows("50 %");

    go(&tab, "Dead letters");
    tab.until(
        "both are listed",
        "document.querySelectorAll('table.long tbody tr:not(.spacer)').length === 2",
    );
    tab.js("document.querySelector('select[name=failure]').value = 'reject'");
    tab.click("Search");
    tab.until(
        "one is left",
        "document.querySelectorAll('table.long tbody tr:not(.spacer)').length === 1",
    );
    tab.shows("reject: never");

    go(&tab, "Schedules");
    tab.shows("30 3 * * *");
    tab.until(
        "it is listed twice, by time too",
        "document.querySelectorAll('a[href=\"#/schedules/default/nightly\"]').length === 2",
    );
    open(&tab, "schedules/default/nightly");
    tab.shows("\"report\": \"sales\"");
    tab.until("its next fires are told", "document.querySelectorAll('main tbody tr').length >= 5");

    go(&tab, "Plugins");
    for text in [
        "unruly",
        "text-stats",
        "serving",
        HOSTILE_NAME,
        "Refused at the gate",
        "is no plugin name",
        "it is no WebAssembly binary",
    ] {
        tab.shows(text);
    }
    go(&tab, "Tenants");
    for text in ["What they used", "acme", "Worth", "weight 30", "in flight", "1 of 4"] {
        tab.shows(text);
    }
    for said in ["^in flight: 1 of 4$", r"^not ended: \d+ of 500$", "^fuel this minute: .+ of 2 G$"]
    {
        let labels =
            "[...document.querySelectorAll('td .gauge [role=img]')].map((bar) => bar.ariaLabel)";
        tab.until(said, &format!("{labels}.some((label) => /{said}/.test(label))"));
    }
    go(&tab, "Hosts");
    for text in ["harbour", "1 of", "Memory held", "2 serve, 2 refused"] {
        tab.shows(text);
    }
    go(&tab, "Journal");
    for text in ["somebody", "token.create", "PUT /v1/queues/{queue}/policy"] {
        tab.shows(text);
    }
    open(&tab, "nowhere");
    tab.shows("There is no such page");
}

/// What a card says.
fn card(name: &str) -> String {
    format!(
        "[...document.querySelectorAll('.card')].find((card) => card.innerText.startsWith({})).innerText",
        json!(name)
    )
}
