//! Who may see and do what; where a token is kept.

use bulkhead_tests::Ran;
use serde_json::json;

use crate::stand::{DRAWN, Stand, open, page_of, sign_in};

#[tokio::test(flavor = "multi_thread")]
async fn tokens_let_in_and_are_kept_in_the_tab_alone() {
    let mut stand = Stand::new().await;
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
    for place in [
        "document.cookie",
        "JSON.stringify(localStorage)",
        "location.href",
        "document.documentElement.outerHTML",
        "JSON.stringify(performance.getEntries())",
    ] {
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
    assert!(!stand.host.log().contains(&token), "the host logs no token");

    drop(tab);
    stand.restart(&[("ANONYMOUS", r#"["read"]"#)]).await;
    let visitor = stand.visitor();
    visitor.shows("anonymous on loopback");
    visitor.shows("read only");
    assert!(!visitor.text().contains("Sign out"), "nobody has signed in");
}

/// What changes something; none of it is there for who may only read.
const ACTIONS: &str = "[...document.querySelectorAll('main button')].map((one) => one.innerText).filter((text) => !['Refresh', 'Search', 'Show', 'Text', 'JSON', 'Hex', 'Download'].includes(text))";

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_everything_and_no_action() {
    let stand = Stand::new().await;
    let api = stand.admin();
    let dead = stand.submit(&api, &json!({"type": "reject", "payload": "x"}));
    stand.site.wait(dead).await;
    let schedule =
        json!({"cron": "0 3 * * *", "zone": "UTC", "task": {"type": "echo", "payload": 1}});
    api.send("PUT", "/v1/queues/default/schedules/nightly", &schedule.to_string()).with(200);
    let token = stand.token("reader", &["--scope", "read"]);
    let tab = stand.signed_in(&token);
    tab.shows("read only");
    for page in [
        "",
        "queues",
        "queues/default",
        "tasks",
        &page_of(dead),
        "dead",
        "schedules",
        "schedules/default/nightly",
        "plugins",
        "tenants",
        "hosts",
    ] {
        open(&tab, page);
        tab.until("it is drawn", DRAWN);
        assert_eq!(tab.js(ACTIONS), json!([]), "on {page}");
        assert_eq!(
            tab.js("document.querySelectorAll('main input[type=checkbox]').length"),
            0,
            "on {page}"
        );
    }
    assert!(!tab.text().contains("Journal"), "that is the administrators'");
    open(&tab, "journal");
    tab.shows("This is not for your token");

    // Whoever asks all the same is refused.
    let reader = stand.api.with(&token);
    for path in [
        "/v1/queues/default/pause",
        &format!("/v1/queues/default/tasks/{dead}/retry"),
        "/v1/hosts/rescan",
        "/v1/queues/default/schedules/nightly/fire",
    ] {
        assert_eq!(reader.post(path, "").status, 403, "{path}");
    }
    assert_eq!(
        reader.post("/v1/queues/default/dead/drop", &json!({"ids": [dead]}).to_string()).status,
        403
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sees_its_own_alone() {
    let stand = Stand::new().await;
    let api = stand.admin();
    let mut ids = Vec::new();
    for tenant in ["acme", "globex"] {
        for task_type in ["echo", "reject"] {
            let task =
                json!({"type": task_type, "payload": format!("of {tenant}"), "tenant": tenant});
            ids.push(stand.submit(&api, &task));
        }
    }
    for id in &ids {
        stand.site.wait(*id).await;
    }
    let token = stand.token("acme-desk", &["--scope", "read,operate", "--tenant", "acme"]);
    let tab = stand.signed_in(&token);
    tab.shows("tenant acme");
    tab.until("it begins with its tasks", "location.hash === '#/tasks'");
    tab.until(
        "its own are listed",
        "document.querySelectorAll('table.long tbody tr:not(.spacer)').length === 2",
    );
    let pages =
        tab.js("[...document.querySelectorAll('#nav a')].map((link) => link.innerText.trim())");
    assert_eq!(pages, json!(["Tasks", "Dead letters", "Schedules", "Plugins", "Tenants"]));
    for page in ["tasks", "dead", "schedules", "plugins", "tenants"] {
        open(&tab, page);
        tab.until("it is drawn", DRAWN);
        assert!(!tab.text().contains("globex"), "on {page}");
    }
    for page in ["hosts", "queues", "queues/default", "journal"] {
        open(&tab, page);
        tab.shows("This is not for your token");
    }
    tab.expect_complaint("status of 404");
    open(&tab, &page_of(ids[2]));
    tab.shows("there is no task");
    open(&tab, "dead");
    tab.until(
        "one is listed",
        "document.querySelectorAll('table.long tbody tr:not(.spacer)').length === 1",
    );
    tab.click("Drop all of these");
    tab.click_on("dialog button.danger");
    tab.shows("1 are gone");
    assert_eq!(stand.site.stats().await.failed, 1, "the other tenant's is there");
}
