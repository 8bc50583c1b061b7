//! What a handler keeps between attempts, with a real host on either broker.

use bulkhead::HostOptions;
use bulkhead_core::{RetryRequest, State, TenantName, Terms};
use bulkhead_queue::NewTask;
use bulkhead_tests::{Inside, install, on_both_brokers, output, task};

on_both_brokers!(
    values_survive_attempts_and_hosts_and_are_their_tenants_own,
    a_write_is_made_whatever_the_attempt_comes_to,
    plugins_of_one_tenant_see_nothing_of_each_other,
    quotas_of_the_grant_and_of_the_tenant,
);

fn note(tenant: &str, lines: &[&str]) -> NewTask {
    let mut task = task("note", lines.join("\n"));
    task.tenant = TenantName::new(tenant).expect("a name");
    task
}

/// A place whose plugin folder has the guest, and the options of a host there.
fn with_guest(place: &Inside, config: &str) -> HostOptions {
    install(place.folder(), "notebook");
    place.configured(&format!("[grants.notebook]\n{config}"))
}

async fn told(place: &Inside, tenant: &str, lines: &[&str]) -> Vec<String> {
    let id = place.submit(note(tenant, lines)).await;
    let view = place.wait(id).await;
    assert_eq!(view.state, State::Completed, "{:?}", view.last_report());
    output(&view).lines().map(str::to_owned).collect()
}

async fn values_survive_attempts_and_hosts_and_are_their_tenants_own(place: Inside) {
    let options = with_guest(&place, "kv = true");
    let host = place.host("h1", options.clone()).await;
    assert_eq!(told(&place, "acme", &["a", "a=one", "n+1", "a"]).await, ["none", "v1", "1", "one"]);
    assert_eq!(told(&place, "acme", &["a", "n+1", "*"]).await, ["one", "2", "[\"a\", \"n\"]"]);
    assert_eq!(told(&place, "other", &["a", "*", "n+1"]).await, ["none", "[]", "1"]);
    drop(host);
    let _host = place.host("h2", options).await;
    assert_eq!(told(&place, "acme", &["a", "n+1"]).await, ["one", "3"]);
}

async fn a_write_is_made_whatever_the_attempt_comes_to(place: Inside) {
    let options = with_guest(&place, "kv = true");
    let _host = place.host("h1", options).await;
    let retry = RetryRequest { max_attempts: Some(1), ..RetryRequest::default() };
    let terms = Terms { retry: Some(retry), ..Terms::default() };
    let id = place.submit(NewTask { terms, ..note("acme", &["n+1", "!"]) }).await;
    assert_eq!(place.wait(id).await.state, State::Failed);
    assert_eq!(told(&place, "acme", &["n"]).await, ["1"]);
}

async fn plugins_of_one_tenant_see_nothing_of_each_other(place: Inside) {
    let options = with_guest(&place, "kv = true");
    let host = place.host("h1", options).await;
    assert_eq!(told(&place, "acme", &["a=one"]).await, ["v1"]);
    drop(host);
    // The same code under another name is another plugin.
    let file = place.folder().join("notebook.wasm");
    std::fs::rename(file, place.folder().join("diary.wasm")).expect("renamed");
    let options = place.configured("[grants.diary]\nkv = true");
    let _host = place.host("h2", options).await;
    assert_eq!(told(&place, "acme", &["a", "*"]).await, ["none", "[]"]);
}

async fn quotas_of_the_grant_and_of_the_tenant(place: Inside) {
    let config = "kv = { keys = 2, total = \"1 KiB\", value = 900 }\n[tenants.small]\nstorage = 10";
    let options = with_guest(&place, config);
    let _host = place.host("h1", options).await;
    let (fits, large) = ("x".repeat(900), "x".repeat(901));
    let lines = [format!("a={fits}"), format!("b={large}"), format!("b={fits}"), "b=".into()];
    let lines: Vec<&str> = lines.iter().map(String::as_str).chain(["c=", "a=", "*"]).collect();
    let told_of = told(&place, "acme", &lines).await;
    assert_eq!(
        (&*told_of[0], &*told_of[3], &*told_of[5], &*told_of[6]),
        ("v1", "v2", "v3", "[\"a\", \"b\"]")
    );
    for (at, says) in [(1, "900 bytes"), (2, "`total`"), (4, "`keys`")] {
        assert!(told_of[at].contains(says), "{}", told_of[at]);
    }
    let told_of = told(&place, "small", &["a=123456789", "b=", "a=12345678", "b="]).await;
    assert_eq!((&*told_of[0], &*told_of[2], &*told_of[3]), ("v1", "v2", "v3"));
    assert!(told_of[1].contains("`storage`"), "{}", told_of[1]);
}
