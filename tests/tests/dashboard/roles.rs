//! Who may see and do what; where a token is kept.

use bulkhead_tests::Ran;
use serde_json::json;

use crate::stand::{Stand, open, sign_in};

#[tokio::test(flavor = "multi_thread")]
async fn tokens_let_in_and_are_kept_in_the_tab_alone() {
    let stand = Stand::new().await;
    let tab = stand.stranger();
    sign_in(&tab, "bh_nobody_knows_this");
    tab.shows("The token is unknown, expired or revoked.");
    tab.shows("Who asks?");
    assert_eq!(tab.js("sessionStorage.length"), 0, "a token that is worth nothing is forgotten");

    let token = stand.token("captain", &["--scope", "read"]);
    sign_in(&tab, &token);
    tab.shows("captain");
    tab.shows("live");
    let kept = tab.js("[...Array(sessionStorage.length).keys()].map((at) => sessionStorage.getItem(sessionStorage.key(at)))");
    assert_eq!(kept, json!([token]), "the tab has it");
    for place in ["document.cookie", "JSON.stringify(localStorage)", "location.href", "document.documentElement.outerHTML", "JSON.stringify(performance.getEntries())"] {
        let said = tab.js(place).to_string();
        assert!(!said.contains(&token), "{place} has the token");
    }
    let databases = tab.js("indexedDB.databases().then((all) => all.length)");
    assert_eq!(databases, 0);

    tab.click("Sign out");
    tab.shows("Who asks?");
    assert_eq!(tab.js("sessionStorage.length"), 0);
    assert!(!tab.text().contains("captain"), "nothing of who was there is left");

    sign_in(&tab, &token);
    tab.shows("captain");
    let broker = stand.site.server.url();
    let listed = Ran::of(&["--broker", &broker, "token", "list", "--json"]).json();
    let id = listed[0]["id"].as_str().expect("an id");
    Ran::of(&["--broker", &broker, "token", "revoke", id]).succeeds();
    open(&tab, "hosts");
    tab.shows("The token is unknown, expired or revoked.");
    tab.shows("Who asks?");
}
