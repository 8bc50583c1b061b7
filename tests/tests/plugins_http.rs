//! Plugins over HTTP: what `bulkhead plugin push`, `activate`, `rollback` and `remove` do, done by
//! tokens at the API of the real binary, with real components.

use std::time::Duration;

use bulkhead_tests::{
    HostProcess, Http, Ran, Site, ask_socket, eventually, eventually_within, guest, version_of,
};
use serde_json::{Value, json};

/// Hosts compile, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Where one host answers, and who may ask it.
struct Desk {
    site: Site,
    _host: HostProcess,
    api: Http,
}

impl Desk {
    async fn new(settings: &[(&str, &str)]) -> Self {
        let site = Site::bare(bulkhead_tests::RedisServer::start()).await;
        let mut command = HostProcess::command();
        command.args(["--broker", &site.server.url(), "run", "--name", "h", "--plugins"]);
        command.arg(site.folder()).env("BULKHEAD_API__LISTEN", "127.0.0.1:0");
        for (key, value) in settings {
            command.env(format!("BULKHEAD_{key}"), value);
        }
        let host = HostProcess::spawn(command, site.folder().join("h.log"));
        let api = Http::of(&host).await;
        eventually("it is ready", || async { (api.get("/readyz").status == 200).then_some(()) })
            .await;
        Self { site, _host: host, api }
    }

    fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&[&["--broker", &self.site.server.url()], args].concat())
    }

    /// The API, asked with a token of this name and these scopes.
    fn by(&self, name: &str, scopes: &str, more: &[&str]) -> Http {
        let args = [&["token", "create", name, "--scope", scopes], more].concat();
        self.api.with(&self.run(&args).said())
    }
}

/// Wait until the host has switched to a version.
async fn serves(api: &Http, plugin: &str, digest: &str) -> Value {
    eventually_within(PATIENCE, &format!("{plugin} is {digest}"), || async {
        let shown = api.get(&format!("/v1/plugins/{plugin}")).with(200);
        (shown["hosts"][0]["serving"]["digest"] == digest).then_some(shown)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_uploaded_activated_rolled_back_and_removed() {
    let desk = Desk::new(&[("PLUGINS__FLEET", "any"), ("PLUGINS__MAX_BYTES", "8MiB")]).await;
    let (admin, operator) = (desk.by("root", "admin", &[]), desk.by("ops", "operate,read", &[]));
    let reader = desk.by("eye", "read", &[]);
    let versions = "/v1/plugins/unruly/versions";
    let (bytes, first) = version_of("unruly", 1);
    assert_eq!(reader.get("/v1/plugins").with(200), json!({"plugins": []}));
    assert_eq!(operator.send_form(versions, &[("component", &bytes)]).status, 403);

    // What is no form, no component, or no plugin is refused, and why is said.
    let no_form = admin.send_as("POST", versions, Some("application/wasm"), bytes.clone());
    assert_eq!(no_form.status, 415);
    assert_eq!(admin.send_form(versions, &[("manifest", b"")]).status, 400);
    let strange: &[(&str, &[u8])] = &[("component", b"\0asm"), ("readme", b"x")];
    assert_eq!(admin.send_form(versions, strange).status, 400);
    assert_eq!(admin.send_form(versions, &[("component", &vec![0; 9 << 20])]).status, 413);
    let text: &[(&str, &[u8])] = &[("component", b"x"), ("manifest", &vec![b'#'; 70 << 10])];
    assert_eq!(admin.send_form(versions, text).status, 413);
    let wrong = admin.send_form(versions, &[("component", &guest("wrongworld"))]);
    assert_eq!(wrong.content_type, "application/problem+json");
    let wrong = wrong.with(422);
    let said = wrong["reason"].as_str().expect("a reason");
    assert_eq!(wrong["gate"], "world", "{wrong}");
    assert!(wrong["detail"].as_str().expect("a detail").contains(said), "{wrong}");
    let limits: &[u8] = b"[limits]\nwall = \"2s\"\n";
    let misspelt = admin.send_form(versions, &[("component", &bytes), ("manifest", b"[limit]\n")]);
    assert_eq!(misspelt.with(422)["gate"], "manifest");

    let parts: &[(&str, &[u8])] = &[("component", &bytes), ("manifest", limits)];
    let pushed = admin.send_form(versions, parts).with(201);
    assert_eq!((&pushed["plugin"], &pushed["was_known"]), (&json!("unruly"), &json!(false)));
    assert_eq!(pushed["digest"], first.to_string());
    assert_eq!(pushed["has_manifest"], true);
    let named = pushed["version"].as_str().expect("what it calls itself").to_owned();
    assert_eq!(admin.send_form(versions, parts).with(200)["was_known"], true);

    // What it asks for and handles here.
    let seen = reader.get(&format!("{versions}/{named}")).with(200);
    assert_eq!(seen["manifest"], std::str::from_utf8(limits).expect("text"));
    assert_eq!((&seen["refused"], &seen["missing"]), (&Value::Null, &json!([])));
    let handlers = seen["description"]["handlers"].as_array().expect("handlers");
    let echo = handlers.iter().find(|handler| handler["type"] == "echo").expect("echo");
    assert_eq!(echo["limits"]["wall_ms"], 2_000);
    assert_eq!(reader.get(&format!("{versions}/2.7.1")).status, 404);

    let activate = json!({"version": named}).to_string();
    assert_eq!(reader.post("/v1/plugins/unruly/activate", &activate).status, 403);
    assert_eq!(operator.post("/v1/plugins/unruly/rollback", "").status, 404);
    let activated = operator.post("/v1/plugins/unruly/activate", &activate).with(200);
    assert_eq!(activated["digest"], first.to_string());
    assert_eq!(activated["hosts"][0]["host"], "h");
    let shown = serves(&reader, "unruly", &first.to_string()).await;
    assert_eq!((&shown["active"], &shown["mixed"]), (&json!(first.to_string()), &json!([])));
    assert_eq!(shown["hosts"][0]["by_fleet"], true);

    let (bytes, second) = version_of("unruly", 2);
    let second = second.to_string();
    let unchecked = format!("{versions}?unchecked=true");
    let pushed = admin.send_form(&unchecked, &[("component", &bytes)]).with(201);
    assert_eq!((&pushed["digest"], &pushed["version"]), (&json!(second), &Value::Null));
    let activate = json!({"version": second}).to_string();
    operator.post("/v1/plugins/unruly/activate", &activate).with(200);
    serves(&reader, "unruly", &second).await;
    operator.post("/v1/plugins/unruly/rollback", "").with(200);
    serves(&reader, "unruly", &first.to_string()).await;
    let history = reader.get("/v1/plugins/unruly/history").with(200);
    let steps = history["steps"].as_array().expect("steps");
    assert_eq!(
        steps.iter().map(|step| step["rollback"] == true).collect::<Vec<_>>(),
        [false, false, true]
    );
    assert_eq!(history["versions"].as_array().expect("versions").len(), 2);
    let told = desk.run(&["plugin", "history", "unruly", "--json"]).json();
    assert_eq!((&told["active"], &told["steps"]), (&history["active"], &history["steps"]));

    // What a host has refused is not activated without force.
    let wrong = guest("wrongworld");
    let pushed = admin.send_form(&unchecked, &[("component", &wrong)]).with(201);
    let digest = pushed["digest"].as_str().expect("a digest").to_owned();
    eventually_within(PATIENCE, "it is refused", || async {
        let shown = reader.get("/v1/plugins/unruly").with(200);
        let pushed = shown["hosts"][0]["pushed"].as_array().expect("pushed").clone();
        pushed.iter().any(|it| it["digest"] == digest && it["gate"] == "world").then_some(())
    })
    .await;
    let seen = reader.get(&format!("{versions}/{digest}")).with(200);
    assert_eq!((&seen["refused"]["gate"], &seen["description"]), (&json!("world"), &Value::Null));
    let refused =
        operator.post("/v1/plugins/unruly/activate", &json!({"version": digest}).to_string());
    assert_eq!(refused.with(409)["gate"], "world");
    let forced = json!({"version": digest, "force": true}).to_string();
    let forced = operator.post("/v1/plugins/unruly/activate", &forced).with(200);
    assert_eq!(forced["hosts"][0]["state"], "refused");

    assert_eq!(operator.send("DELETE", "/v1/plugins/unruly", "").status, 403);
    let removed = admin.send("DELETE", "/v1/plugins/unruly", "").with(200);
    assert_eq!(removed, json!({"plugin": "unruly", "versions": 3}));
    assert_eq!(admin.send("DELETE", "/v1/plugins/unruly", "").status, 404);

    // Who did it is in the journal, once.
    let journal = admin.get("/v1/journal").with(200);
    let lines = journal["lines"]
        .as_array()
        .expect("lines")
        .iter()
        .filter(|line| line["action"].as_str().expect("an action").contains("plugin"));
    let lines: Vec<(&str, &str)> = lines
        .map(|line| (line["action"].as_str().expect("text"), line["actor"].as_str().expect("text")))
        .collect();
    let ends_with = |at: usize, action: &str, name: &str| {
        let (done, by) = lines[at];
        assert!(done == action && by.contains(name), "{lines:?}");
    };
    assert_eq!(lines.len(), 9, "{lines:?}");
    ends_with(0, "plugin.push", "root");
    ends_with(2, "plugin.activate", "ops");
    ends_with(5, "plugin.rollback", "ops");
    ends_with(8, "plugin.remove", "root");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_tried_by_degrees() {
    let desk = Desk::new(&[("PLUGINS__FLEET", "any")]).await;
    let (admin, operator) = (desk.by("root", "admin", &[]), desk.by("ops", "operate,read", &[]));
    let reader = desk.by("eye", "read", &[]);
    let [first, second] = [1, 2].map(|number| version_of("unruly", number));
    for (bytes, _) in [&first, &second] {
        let form: &[(&str, &[u8])] = &[("component", bytes)];
        admin.send_form("/v1/plugins/unruly/versions?unchecked=true", form).with(201);
    }
    let [first, second] = [first, second].map(|(_, digest)| digest.to_string());
    let at = "/v1/plugins/unruly/canary";
    let ask = |more: Value| {
        let mut ask = json!({"version": second, "shares": [0.25], "attempts": 100_000});
        ask.as_object_mut().expect("an object").extend(more.as_object().expect("more").clone());
        ask.to_string()
    };
    // There is none, and nothing that one could be judged against.
    assert_eq!(reader.get(at).status, 404);
    assert_eq!(operator.send("DELETE", at, "").status, 404);
    let alone = operator.post(at, &ask(json!({}))).with(422);
    assert!(alone["detail"].as_str().expect("text").contains("nothing serves"), "{alone}");

    let activate = json!({"version": first}).to_string();
    operator.post("/v1/plugins/unruly/activate", &activate).with(200);
    serves(&reader, "unruly", &first).await;
    assert_eq!(reader.post(at, &ask(json!({}))).status, 403);
    for wrong in [json!({"shares": [0.5, 0.25]}), json!({"harm": 7.0}), json!({"attempts": 0})] {
        assert_eq!(operator.post(at, &ask(wrong.clone())).status, 422, "{wrong}");
    }
    assert_eq!(operator.post(at, &ask(json!({"speed": 1}))).status, 400);
    let begun = operator.post(at, &ask(json!({"by": "tenant", "within": "1h"}))).with(201);
    assert_eq!((&begun["digest"], &begun["base"]), (&json!(second), &json!(first)));
    assert_eq!((&begun["share"], &begun["by"]), (&json!(0.25), &json!("tenant")));
    assert_eq!((&begun["verdict"], &begun["harm"]), (&Value::Null, &json!(0.01)));
    let again = operator.post(at, &ask(json!({}))).with(422);
    assert!(again["detail"].as_str().expect("text").contains("runs already"), "{again}");
    let stopped = operator.send("DELETE", at, "").with(200);
    assert_eq!(stopped["verdict"]["end"], "stopped");
    assert!(stopped["verdict"]["by"].as_str().expect("a name").contains("ops"), "{stopped}");

    operator.post(at, &ask(json!({}))).with(201);
    let listed = reader.get("/v1/plugins").with(200);
    assert_eq!(listed["plugins"][0]["canary"]["verdict"], Value::Null);
    let promoted = operator.post(&format!("{at}/promote"), "").with(200);
    assert_eq!(promoted["verdict"]["end"], "promoted");
    let shown = serves(&reader, "unruly", &second).await;
    assert_eq!((&shown["active"], &shown["canary"]), (&json!(second), &promoted));
    assert_eq!(reader.get(at).with(200), promoted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_token_has_the_tenants_plugins_and_no_others() {
    let desk = Desk::new(&[("PLUGINS__FLEET", "any"), ("TENANTS__ACME__PLUGINS", "1")]).await;
    let admin = desk.by("root", "admin", &[]);
    let acme = desk.by("acme", "read,operate", &["--tenant", "acme"]);
    let (bytes, digest) = version_of("unruly", 1);
    let versions = "/v1/plugins/unruly/versions";
    admin.send_form(&format!("{versions}?unchecked=true"), &[("component", &bytes)]).with(201);
    assert_eq!(acme.get("/v1/plugins").with(200), json!({"plugins": []}));
    for path in
        ["/v1/plugins/unruly", "/v1/plugins/unruly/history", &format!("{versions}/{digest}")]
    {
        assert_eq!(acme.get(path).status, 404, "{path}");
        assert_eq!(acme.get(&format!("{path}?tenant=other")).status, 403, "{path}");
    }
    let activate = json!({"version": digest.to_string()}).to_string();
    assert_eq!(acme.post("/v1/plugins/unruly/activate", &activate).status, 404);
    assert_eq!(acme.send("DELETE", "/v1/plugins/unruly", "").status, 404);

    let pushed = acme.send_form(versions, &[("component", &bytes)]).with(201);
    assert_eq!(pushed["plugin"], "acme/unruly");
    // It is held to the tenant's quota, and to the gates.
    let second = "/v1/plugins/second/versions";
    let full = acme.send_form(second, &[("component", &bytes)]).with(422);
    assert_eq!(full["gate"], "quota", "{full}");
    let reason = full["reason"].as_str().expect("a reason");
    assert!(reason.contains("may keep 1 plugins"), "{reason}");
    let unchecked = format!("{versions}?unchecked=true");
    assert_eq!(acme.send_form(&unchecked, &[("component", &bytes)]).status, 403);
    acme.post("/v1/plugins/unruly/activate", &activate).with(200);
    let shown = serves(&acme, "unruly", &digest.to_string()).await;
    assert_eq!(shown["hosts"][0]["serving"]["tenants"], json!(["acme"]));
    let listed = acme.get("/v1/plugins").with(200);
    assert_eq!(listed["plugins"].as_array().expect("plugins").len(), 1);
    let all = admin.get("/v1/plugins").with(200);
    let names: Vec<_> = all["plugins"].as_array().expect("plugins").iter().collect();
    assert_eq!(names.iter().map(|it| &it["plugin"]).collect::<Vec<_>>(), ["acme/unruly", "unruly"]);
    let theirs = admin.get("/v1/plugins/unruly?tenant=acme").with(200);
    assert_eq!(theirs["active"], digest.to_string());
    assert_eq!(admin.get("/v1/plugins/unruly").with(200)["active"], Value::Null);
    acme.send("DELETE", "/v1/plugins/unruly", "").with(200);
    assert_eq!(
        admin.get("/v1/plugins/unruly").with(200)["versions"].as_array().map(Vec::len),
        Some(1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_no_host_would_trust_is_refused_before_it_is_compiled() {
    let desk = Desk::new(&[]).await;
    let admin = desk.by("root", "admin", &[]);
    let (bytes, digest) = version_of("unruly", 1);
    let versions = "/v1/plugins/unruly/versions";
    let refused = admin.send_form(versions, &[("component", &bytes)]).with(422);
    assert_eq!(refused["gate"], "trust");
    assert!(refused["reason"].as_str().expect("a reason").contains("plugins.fleet"), "{refused}");
    let unchecked = format!("{versions}?unchecked=true");
    admin.send_form(&unchecked, &[("component", &bytes)]).with(201);
    let seen = admin.get(&format!("{versions}/{digest}")).with(200);
    assert_eq!((&seen["refused"]["gate"], &seen["description"]), (&json!("trust"), &Value::Null));
    assert!(!seen["asked"].as_array().expect("imports").is_empty(), "what it imports is seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_of_an_embedded_broker_has_them_too() {
    let folder = bulkhead_tests::EmbeddedFolder::new();
    let _host = folder.host("h", &[]).await;
    let (status, body) = ask_socket(&folder.socket(), "/v1/plugins");
    assert_eq!(status, 200, "{body}");
    let listed: Value = serde_json::from_str(&body).expect("a document");
    assert_eq!(listed["plugins"][0]["hosts"][0]["host"], "h", "files of folders are among them");
}
