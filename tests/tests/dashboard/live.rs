//! Figures come in by themselves, and again after the host was away.

use serde_json::json;

use crate::stand::{Stand, open};

const PENDING: &str = "[...document.querySelectorAll('.card')].find((card) => card.innerText.startsWith('Pending')).querySelector('.value').firstChild.textContent";

#[tokio::test(flavor = "multi_thread")]
async fn figures_come_in_by_themselves_and_again_after_a_restart() {
    let mut stand = Stand::new().await;
    let api = stand.admin();
    let tab = stand.tab("read");
    tab.js("window.loaded = 'once'");
    tab.shows("live");
    tab.until("nothing is pending", &format!("{PENDING} === '0'"));
    for _ in 0..3 {
        stand.submit(&api, &json!({"type": "unserved", "payload": ""}));
    }
    tab.until("it is told of them", &format!("{PENDING} === '3'"));

    // What somebody was at stays as it is: the focus, what was folded open.
    tab.js("document.querySelector('td a[href=\"#/queues/default\"]').focus()");
    let drawn =
        tab.js("document.querySelector('figure.chart svg path.s0:not(.fill)').getAttribute('d')");
    tab.until("plots go on", &format!("document.querySelector('figure.chart svg path.s0:not(.fill)').getAttribute('d') !== {drawn}"));
    assert_eq!(tab.js("document.activeElement.getAttribute('href')"), "#/queues/default");

    // A list follows too.
    open(&tab, "tasks?type=unserved");
    tab.until(
        "three rows",
        "document.querySelectorAll('table.long tbody tr:not(.spacer)').length === 3",
    );
    stand.submit(&api, &json!({"type": "unserved", "payload": ""}));
    tab.until(
        "four rows",
        "document.querySelectorAll('table.long tbody tr:not(.spacer)').length === 4",
    );

    for said in [
        "ERR_CONNECTION_REFUSED",
        "ERR_INCOMPLETE_CHUNKED_ENCODING",
        "ERR_CONNECTION_RESET",
        "ERR_EMPTY_RESPONSE",
        "ERR_NETWORK_CHANGED",
    ] {
        tab.expect_complaint(said);
    }
    stand.host.kill();
    tab.shows("no connection");
    stand.restart(&[]).await;
    tab.shows("live");
    open(&tab, "");
    stand.submit(&api, &json!({"type": "unserved", "payload": ""}));
    tab.until("news come in again", &format!("{PENDING} === '5'"));
    assert_eq!(tab.js("window.loaded"), "once", "the page was never loaded again");

    // While the broker is away nothing comes in, and the page says so.
    stand.site.server.freeze();
    tab.shows("no news for");
    stand.site.server.thaw();
    tab.shows("live");
}
