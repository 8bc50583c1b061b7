//! Everything is reached and used with keys alone, and the focus is always seen.

use bulkhead_core::State;
use bulkhead_tests::Tab;
use serde_json::json;

use crate::stand::{DRAWN, Stand, page_of, stands};

/// What has the focus, in a few words.
const FOCUS: &str = "(document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText ?? '').trim()";

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_reached_and_used_by_keys() {
    let stand = Stand::new().await;
    let api = stand.admin();
    let mut dead = Vec::new();
    for n in 0..40 {
        dead.push(stand.submit(&api, &json!({"type": "reject", "payload": format!("{n}")})));
    }
    for id in &dead {
        stand.site.wait(*id).await;
    }
    let tab = stand.tab("admin");
    tab.until("it is drawn", "document.querySelector('main table')");

    // The first key leads past the navigation; then everything that can be pressed comes by.
    tab.reload();
    tab.until("it is drawn again", "document.querySelector('main table')");
    tab.press("Tab");
    assert_eq!(tab.js(FOCUS), "Skip to the content");
    seen(&tab);
    tab.press("Enter");
    tab.until("the content has the focus", "document.activeElement.id === 'main'");
    for page in ["o", "q", "t", "d", "s", "p", "n", "h", "j"] {
        if page != "o" {
            tab.js("document.querySelector('main > *').dataset.left = ''");
        }
        tab.press("g");
        tab.press(page);
        stands(&tab);
        tab.until("the page is drawn", DRAWN);
        all_come_by(&tab);
    }

    // From a list to a task and back, with the arrows and Enter.
    tab.press("g");
    tab.press("d");
    tab.until("rows are there", "document.querySelectorAll('table.long tbody tr').length > 10");
    to(&tab, "Mark all that are loaded");
    tab.press("Tab");
    tab.press("ArrowDown");
    tab.press("ArrowDown");
    let third = "document.activeElement.closest('tr').getAttribute('aria-rowindex')";
    assert_eq!(tab.js(third), "4");
    tab.press("End");
    assert_eq!(tab.js(third), "41");
    assert_eq!(tab.js("(() => { const [a, b] = [document.activeElement, document.querySelector('.scroller')].map((one) => one.getBoundingClientRect()); return a.top >= b.top && a.bottom <= b.bottom; })()"), true, "it is in view");
    tab.press("Home");
    tab.press("Space");
    tab.shows("1 marked");
    to(&tab, "Drop them");
    tab.press("Enter");
    tab.until("it is asked", "document.querySelector('dialog[open]')");
    assert_eq!(tab.js(FOCUS), "Leave it", "the harmless answer has the focus");
    seen(&tab);
    for _ in 0..4 {
        tab.press("Tab");
        let inside = tab.js("document.activeElement === document.body || Boolean(document.activeElement.closest('dialog'))");
        assert_eq!(inside, true, "the focus stays in the dialog");
    }
    tab.press("Escape");
    tab.until("it is gone", "!document.querySelector('dialog')");
    assert_eq!(tab.js(FOCUS), "Drop them", "the focus is back");
    tab.press("Enter");
    tab.until("it is asked", "document.querySelector('dialog[open]')");
    tab.press("Tab");
    assert_eq!(tab.js(FOCUS), "Drop them");
    tab.press("Enter");
    tab.shows("1 are gone");
    assert_eq!(stand.site.stats().await.failed, 39);
    tab.until("the focus is somewhere of use", "document.activeElement !== document.body");

    // The list is loaded again by a key, and marks are gone with it.
    to(&tab, "Mark all that are loaded");
    tab.press("Space");
    tab.shows("39 marked");
    tab.press("r");
    tab.shows_no_more("39 marked");

    // Search, then open what is found.
    tab.press("/");
    assert_eq!(tab.js("document.activeElement.name"), "failure");
    tab.press("Tab");
    tab.press("Tab");
    tab.press("Tab");
    tab.press("Tab");
    tab.call("Input.insertText", json!({"text": "17"}));
    tab.press("Enter");
    tab.until(
        "one is found",
        "document.querySelectorAll('table.long tbody tr:not(.spacer)').length === 1",
    );
    to(&tab, "Mark all that are loaded");
    tab.press("Tab");
    tab.press("Tab");
    tab.press("Enter");
    tab.shows("never");
    assert!(tab.js("location.hash").as_str().expect("an address").ends_with(&page_of(dead[17])));
    to(&tab, "Edit and run");
    tab.press("Enter");
    tab.until("a field has the focus", "document.activeElement.matches('dialog textarea')");
    tab.press("Escape");
    tab.until("the focus is back", &format!("{FOCUS} === 'Edit and run'"));
    tab.press("Shift+Tab");
    assert_eq!(tab.js(FOCUS), "Run it again");
    tab.press("Enter");
    tab.shows("It is in line.");
    assert_eq!(stand.site.wait(dead[17]).await.state, State::Failed);

    // Plots tell their values; the keys are told.
    tab.press("g");
    tab.press("o");
    tab.until("plots have values", "document.querySelectorAll('figure.chart svg').length > 4");
    tab.js("document.querySelector('figure.chart').focus()");
    tab.press("ArrowLeft");
    tab.until("it tells a moment", "document.querySelector('figure.chart .when')");
    tab.press("?");
    tab.shows("To the search");
    tab.press("Escape");
    tab.until("it is gone", "!document.querySelector('dialog')");
}

/// The focus is marked by an outline.
fn seen(tab: &Tab) {
    let outline = tab.js("(() => { const style = getComputedStyle(document.activeElement); return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2; })()");
    assert_eq!(outline, true, "the focus on `{}` is seen", tab.js(FOCUS));
}

/// Press Tab until this has the focus.
fn to(tab: &Tab, what: &str) {
    tab.js("document.getElementById('main').focus()");
    let mut passed = Vec::new();
    while passed.len() < 200 {
        tab.press("Tab");
        let here = tab.js(FOCUS);
        if here == what {
            seen(tab);
            return;
        }
        passed.push(here.to_string());
    }
    panic!("`{what}` is not reached: {passed:?}");
}

/// Go round with Tab: all that can be pressed on the page comes by, and each is seen.
fn all_come_by(tab: &Tab) {
    let wanted = "[...document.querySelectorAll('main button, main select, main input:not([type=checkbox]), main summary')].filter((one) => one.checkVisibility()).length";
    let wanted = tab.js(wanted).as_u64().expect("a number");
    tab.js("window.met = new Set(); document.getElementById('main').focus()");
    for _ in 0..250 {
        tab.press("Tab");
        let more = tab.js("(() => { const here = document.activeElement; if (!here.closest('main')) return false; if (here.matches('button, select, input:not([type=checkbox]), summary')) met.add(here); return true; })()");
        if more == false {
            break;
        }
        seen(tab);
    }
    let met =
        tab.js("[...met].filter((one) => one.isConnected).length").as_u64().expect("a number");
    assert!(met >= wanted, "{met} of {wanted} come by on {}", tab.js("location.hash"));
}
