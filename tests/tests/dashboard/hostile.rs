//! Text of guests and producers is shown as text and runs nothing.

use bulkhead_tests::{Tab, install};
use serde_json::json;

use crate::stand::{DRAWN, HOSTILE_NAME, Stand, open, page_of};

/// What would run if any of it were read as HTML or followed.
const EVIL: [&str; 7] = [
    "<script>window.hacked = 1</script>",
    "</pre></script><img src=x onerror='window.hacked = 1'>",
    "<svg onload='window.hacked = 1'>",
    "javascript:window.hacked=1",
    "<a href='javascript:window.hacked=1'>here</a>",
    "\u{1b}[31mred\u{1b}]0;title\u{7}",
    "\u{202e}desrever\u{2066}\u{200b}hidden",
];

#[tokio::test(flavor = "multi_thread")]
async fn guest_text_is_shown_as_text_and_runs_nothing() {
    let stand = Stand::new().await;
    install(stand.site.folder(), "command");
    let api = stand.admin();
    let evil = EVIL.join(" ");
    let metadata = json!({"note": evil, "<b>key</b>": "<i>value</i>"});
    let logged = stand.submit(
        &api,
        &json!({"type": "together", "payload": format!("log {evil}"), "metadata": metadata}),
    );
    let panicked = stand.submit(
        &api,
        &json!({"type": "panic", "payload": evil, "max_attempts": 1, "metadata": metadata}),
    );
    let stderr =
        stand.submit(&api, &json!({"type": "command", "payload": format!("reject {evil}")}));
    let structured =
        stand.submit(&api, &json!({"type": "echo", "payload": {"text": evil, "<script>": [evil]}}));
    let long = "<script>x</script>".repeat(60_000);
    let long = stand.submit(&api, &json!({"type": "echo", "payload": long}));
    for id in [logged, panicked, stderr, structured, long] {
        stand.site.wait(id).await;
    }
    let says_of_itself = format!("sleep 600000\n{evil}");
    let runs = stand.submit(&api, &json!({"type": "together", "payload": says_of_itself}));
    // Names are checked where they come in.
    let named = json!({"type": "<script>", "payload": ""}).to_string();
    assert_eq!(api.post("/v1/tasks", &named).status, 400);
    let _ = runs;

    let tab = stand.tab("admin");
    for id in [logged, panicked, stderr, structured] {
        open(&tab, &page_of(id));
        tab.until("its text is there", "document.body.innerText.includes('onerror=')");
        for text in ["<svg onload=", "javascript:window.hacked=1"] {
            tab.shows(text);
        }
        // Signs that are not seen, or turn text around, are written out.
        tab.until("they are told", r"/\\u\{?202e/.test(document.body.innerText) && /\\u\{?0?0?1b/.test(document.body.innerText)");
        harmless(&tab);
    }
    open(&tab, &page_of(logged));
    tab.shows("<b>key</b>");
    tab.shows("<i>value</i>");

    open(&tab, &page_of(long));
    tab.shows("Show all 1,080,000 characters");
    let nodes = tab.js("document.querySelectorAll('*').length").as_u64().expect("a number");
    assert!(nodes < 1_000, "{nodes} elements for one long line");
    assert!(tab.text().len() < 100_000, "no more is drawn than asked for");
    tab.js("[...document.querySelectorAll('button')].find((one) => one.innerText.startsWith('Show all')).click()");
    tab.until(
        "all of it is shown",
        "document.querySelector('main pre').innerText.length >= 1080000",
    );
    harmless(&tab);

    for page in ["", "queues/default", "tasks", "dead", "plugins", "tenants", "hosts", "journal"] {
        open(&tab, page);
        tab.until("it is drawn", DRAWN);
        harmless(&tab);
    }
    open(&tab, "plugins");
    tab.shows(HOSTILE_NAME);
    // What an address says is no exception.
    open(&tab, "queues/%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E");
    tab.expect_complaint("status of 400");
    tab.expect_complaint("status of 404");
    open(&tab, "tasks?type=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&contains=%3Cb%3E");
    tab.until(
        "the form holds it as text",
        "document.querySelector('input[name=contains]')?.value === '<b>'",
    );
    harmless(&tab);

    let policy = "fetch('.').then((answer) => answer.headers.get('content-security-policy'))";
    let policy = tab.js(policy).as_str().expect("a policy").to_owned();
    for part in
        ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]
    {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    // Should text reach a place where HTML is made after all, the policy of the page stops it.
    let thrown = tab.js("(() => { try { document.createElement('div').innerHTML = '<b>x</b>'; return ''; } catch (error) { return error.name; } })()");
    assert_eq!(thrown, "TypeError");
    tab.expect_complaint("TrustedHTML");
    let blocked = tab.js("new Promise((done) => { document.addEventListener('securitypolicyviolation', (event) => done(event.effectiveDirective), { once: true }); new Image().src = 'https://example.com/x.png'; })");
    assert_eq!(blocked, "img-src", "nothing is asked for from elsewhere");
    for said in ["TrustedScript", "Content Security Policy", "example.com", "Trusted"] {
        tab.expect_complaint(said);
    }
}

/// Nothing ran, nothing was made of text, nothing was asked for from elsewhere.
fn harmless(tab: &Tab) {
    assert_eq!(tab.js("typeof window.hacked"), "undefined");
    let made = "document.querySelectorAll('main script, main img, main iframe, main [onerror], main [onload], main svg[onload], main b > b').length";
    assert_eq!(tab.js(made), 0);
    let links = "[...document.querySelectorAll('a')].filter((link) => !/^#/.test(link.getAttribute('href'))).length";
    assert_eq!(tab.js(links), 0, "links lead within the dashboard");
    let elsewhere = "performance.getEntriesByType('resource').filter((one) => !one.name.startsWith(location.origin)).length";
    assert_eq!(tab.js(elsewhere), 0);
    let raw = r"/[\u0007\u001b\u200b\u202e\u2066]/.test(document.body.innerText + document.title)";
    assert_eq!(tab.js(raw), false, "signs that are not seen are written out");
    let complaints = tab.complaints();
    assert!(complaints.is_empty(), "{complaints:?}");
}
