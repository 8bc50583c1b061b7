//! The API of the real binary: on an address with tokens, on a socket for its owner.

use std::time::Duration;

use bulkhead_tests::{
    EmbeddedFolder, HostProcess, Http, Ran, RedisServer, Site, ask_socket, eventually, ran,
};
use serde_json::json;

/// A host of a site that listens on any port of this machine, with these settings of `[api]`.
async fn host(site: &Site, settings: &[(&str, &str)]) -> HostProcess {
    let mut command = HostProcess::command();
    command.args(["--broker", &site.server.url(), "run", "--name", "h", "--plugins"]);
    command.arg(site.folder()).env("BULKHEAD_API__LISTEN", "127.0.0.1:0");
    for (key, value) in settings {
        command.env(format!("BULKHEAD_API__{key}"), value);
    }
    HostProcess::spawn(command, site.folder().join("h.log"))
}

fn run(site: &Site, args: &[&str]) -> Ran {
    Ran::of(&[&["--broker", &site.server.url()], args].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_submitted_run_and_fetched_by_http() {
    let site = Site::new().await;
    let mut host = host(&site, &[]).await;
    let api = Http::of(&host).await;
    assert_eq!(api.get("/healthz").status, 200);
    assert_eq!(api.get("/v1/queues").status, 401);
    eventually("it is ready", || async { (api.get("/readyz").status == 200).then_some(()) }).await;

    let token = run(&site, &["token", "create", "ci", "--scope", "read,submit"]).said();
    let ci = api.with(&token);
    let sent = ci.post("/v1/tasks", r#"{"type": "echo", "payload": {"a": [1, 2]}}"#).with(201);
    let task = format!("/v1/queues/default/tasks/{}", sent["id"].as_str().expect("an id"));
    let ended = ci.get(&format!("{task}/wait?timeout=60s")).with(200);
    assert_eq!(ended["state"], "completed");
    assert_eq!(ended["history"][0]["host"], "h");
    let output = ci.get(&format!("{task}/result"));
    assert_eq!((output.status, output.content_type.as_str()), (200, "application/json"));
    assert_eq!(output.with(200), json!({"a": [1, 2]}));
    let hosts = ci.get("/v1/hosts").with(200);
    assert_eq!(hosts["hosts"][0]["name"], "h");

    // How the whole stands, what is counted, what is logged.
    let health = ci.get("/v1/health").with(200);
    let named: Vec<_> = health["components"].as_array().expect("parts").iter().collect();
    assert_eq!(named.len(), 4, "{health}");
    let metrics = ci.get("/metrics");
    let text = String::from_utf8(metrics.body).expect("text");
    assert!(metrics.content_type.starts_with("application/openmetrics-text"));
    assert!(text.contains("bulkhead_") && text.ends_with("# EOF\n"), "{text}");
    assert_eq!(api.get("/metrics").status, 401);
    assert_eq!(ci.get("/v1/alerts").with(200), json!({"alerts": []}));
    assert_eq!(ci.send("PUT", "/v1/log", r#"{"level": "debug"}"#).status, 403);
    let admin = api.with(&run(&site, &["token", "create", "root", "--scope", "admin"]).said());
    let set = admin.send("PUT", "/v1/log", r#"{"level": "info,bulkhead_queue=debug"}"#);
    assert_eq!(set.with(200), ci.get("/v1/log").with(200));
    assert_eq!(admin.send("PUT", "/v1/log", r#"{"level": "loud"}"#).status, 422);

    // What the command line shows is the same document.
    let shown = run(&site, &["task", "show", ended["id"].as_str().expect("an id"), "--json"]);
    let shown = shown.json();
    assert_eq!((&shown["output"], &shown["history"]), (&ended["output"], &ended["history"]));

    assert_eq!(ci.post("/v1/queues/default/pause", "").status, 403);
    let operator = run(&site, &["token", "create", "ops", "--scope", "operate"]).said();
    let paused = api.with(&operator).post("/v1/queues/default/pause", "").with(200);
    assert_eq!(paused["changed"], true);
    let journal = run(&site, &["journal"]).said();
    assert!(journal.contains("POST /v1/queues/{queue}/pause"), "{journal}");
    assert!(journal.contains("token.create"), "{journal}");

    let listed = run(&site, &["token", "list", "--json"]).json();
    let id = listed[0]["id"].as_str().expect("an id");
    run(&site, &["token", "revoke", id]).exits(0);
    run(&site, &["token", "revoke", id]).exits(4);

    host.signal("TERM");
    assert_eq!(host.wait(Duration::from_secs(60)).code(), Some(0), "{}", host.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_tells_how_it_stands_and_how_fast_it_is() {
    let site = Site::new().await;
    let config = site.folder().join("bulkhead.toml");
    let settings = "[config.unruly]\npassword = \"hush\"\n\
                    [alerts.fast]\nsignal = \"p95_latency\"\nabove = \"60s\"\n\
                    [alerts.good]\nsignal = \"success_rate\"\nbelow = 0.9\n";
    std::fs::write(&config, settings).expect("a file");
    let mut command = HostProcess::command();
    command.args(["--config", config.to_str().expect("text"), "--broker", &site.server.url()]);
    command.args(["run", "--name", "h", "--concurrency", "3", "--plugins"]).arg(site.folder());
    command.env("BULKHEAD_API__LISTEN", "127.0.0.1:0");
    let host = HostProcess::spawn(command, site.folder().join("h.log"));
    let api = Http::of(&host).await;
    eventually("it is ready", || async { (api.get("/readyz").status == 200).then_some(()) }).await;
    let token = |name, scopes, more: &[&str]| {
        api.with(
            &run(&site, &[&["token", "create", name, "--scope", scopes], more].concat()).said(),
        )
    };
    let (reader, admin) = (token("eye", "read", &[]), token("root", "admin", &[]));
    let acme = token("acme", "read", &["--tenant", "acme"]);

    let before = reader.get("/v1/overview").with(200);
    assert_eq!(before["latency"], json!({"pick_up": null, "run": null}), "nothing has run");
    for _ in 0..5 {
        site.ended("echo", "x").await;
    }
    site.ended("trap", "").await;
    let after = eventually("it is counted", || async {
        let told = reader.get("/v1/overview").with(200);
        told["latency"]["run"].is_object().then_some(told)
    })
    .await;
    for times in ["pick_up", "run"] {
        let of = |share: &str| after["latency"][times][share].as_f64().expect("milliseconds");
        assert!(of("p50_ms") <= of("p95_ms") && of("p95_ms") <= of("p99_ms"), "{after}");
    }
    let sla = eventually("all are counted", || async {
        let told = reader.get("/v1/sla").with(200);
        let judged = told["queues"][0]["targets"][1]["met"].is_boolean();
        (told["queues"][0]["done"] == 5 && judged).then_some(told)
    })
    .await;
    let queue = &sla["queues"][0];
    assert_eq!((&sla["host"], &queue["queue"]), (&json!("h"), &json!("default")));
    assert!(queue["success_rate"].as_f64().expect("a share") < 0.9, "{sla}");
    assert!(queue["latency"]["p95_ms"].as_f64().is_some() && queue["wait"].is_object(), "{sla}");
    let types = queue["types"].as_array().expect("types");
    let echo = types.iter().find(|it| it["type"] == "echo").expect("echo");
    assert_eq!((&echo["done"], &echo["success_rate"]), (&json!(5), &json!(1.0)));
    let met =
        |at: usize| (queue["targets"][at]["alert"].clone(), queue["targets"][at]["met"].clone());
    assert_eq!([met(0), met(1)], [(json!("fast"), json!(true)), (json!("good"), json!(false)),]);
    assert_eq!(queue["met"], false);
    let by_version = eventually("the version's attempts are told", || async {
        let told = reader.get("/v1/hosts/plugins").with(200)["plugins"][0]["serving"].clone();
        (told["attempts"].as_u64() > Some(5)).then_some(told)
    })
    .await;
    let of = |what: &str| by_version[what].as_u64().expect("a number");
    assert_eq!(of("attempts") - of("failed"), 5, "{by_version}");

    let status = reader.get("/v1/status").with(200);
    assert_eq!((&status["host"], &status["phase"]), (&json!("h"), &json!("serving")));
    assert_eq!((&status["hosts"], &status["concurrency"]), (&json!(1), &json!(3)));
    assert_eq!((&status["queues"], &status["plugins"]), (&json!(1), &json!(1)));
    let uptime = reader.get("/v1/uptime").with(200);
    assert_eq!(uptime["pid"], host.pid());
    assert_eq!(uptime["hosts"][0]["host"], "h");
    assert!(uptime["started_at"].as_u64() > Some(0) && uptime["uptime_ms"].is_u64());

    let types = reader.get("/v1/types").with(200);
    let echo = types["types"].as_array().expect("types").iter().find(|it| it["type"] == "echo");
    let echo = echo.expect("echo").clone();
    assert_eq!((&echo["plugin"], &echo["agreed"]), (&json!("unruly"), &json!(true)));
    assert_eq!(echo["versions"][0]["hosts"], json!(["h"]));
    assert!(echo["limits"]["wall_ms"].as_u64() > Some(0), "{echo}");
    assert!(!acme.get("/v1/types").with(200)["types"].as_array().expect("types").is_empty());
    assert!(reader.get("/v1/hosts").with(200)["hosts"][0]["scaling"].is_null(), "it is fixed");

    assert_eq!(reader.get("/v1/diagnostics").status, 403);
    let found = admin.get("/v1/diagnostics").with(200);
    let setting = |key: &str| {
        let settings = found["settings"].as_array().expect("settings");
        settings.iter().find(|it| it["key"] == key).unwrap_or_else(|| panic!("{key}")).clone()
    };
    assert_eq!(setting("host.concurrency")["value"], 3);
    assert_eq!(setting("config.unruly.password")["value"], "…");
    assert!(!found.to_string().contains("hush"), "{found}");
    assert_eq!(found["limits"]["waiters"], 1_000);
    assert!(found["components"].as_array().expect("parts").len() == 4, "{found}");
    assert!(found["recent_errors"].is_array() && found["engine"].is_string());

    let tenants = reader.get("/v1/tenants").with(200);
    assert_eq!(tenants["tenants"][0]["tenant"], "default");
    assert!(tenants["tenants"][0]["used_today"]["attempts"].as_u64() >= Some(6), "{tenants}");
    assert!(tenants["tenants"][0]["queues"][0]["policy"]["weight"].is_u64(), "{tenants}");
    assert_eq!(acme.get("/v1/tenants").with(200), json!({"tenants": [], "count": 0}));
    for path in ["/v1/status", "/v1/sla", "/v1/uptime", "/v1/diagnostics"] {
        assert_eq!(acme.get(path).status, 403, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn percentiles_are_of_all_hosts_whichever_is_asked() {
    let site = Site::new().await;
    let serve = |name: &'static str| {
        let mut command = HostProcess::command();
        command.args(["--broker", &site.server.url(), "run", "--name", name, "--queue", name]);
        command.arg("--plugins").arg(site.folder()).env("BULKHEAD_API__LISTEN", "127.0.0.1:0");
        HostProcess::spawn(command, site.folder().join(format!("{name}.log")))
    };
    let (quick, slow, idle) = (serve("quick"), serve("slow"), serve("idle"));
    let token = run(&site, &["token", "create", "eye", "--scope", "read"]).said();
    let mut eyes = Vec::new();
    for host in [&quick, &slow, &idle] {
        let api = Http::of(host).await;
        eventually("it is ready", || async { (api.get("/readyz").status == 200).then_some(()) })
            .await;
        eyes.push(api.with(&token));
    }
    let told = |eye: &Http| eye.get("/v1/overview").with(200)["latency"].clone();
    let ran =
        |task: [&str; 5]| run(&site, &[&["submit"][..], &task, &["--wait"]].concat()).exits(0);
    ran(["echo", "--data", "x", "--queue", "quick"]);
    eventually("the one that ran nothing tells it", || async {
        told(&eyes[2])["pick_up"].is_object().then_some(())
    })
    .await;
    ran(["sleep", "--data", "600", "--queue", "slow"]);
    eventually("all tell what took longest", || async {
        let latency = told(&eyes[0]);
        let is_same = eyes.iter().all(|eye| told(eye) == latency);
        let longest = latency["run"]["p99_ms"].as_f64().filter(|p99| *p99 > 500.0);
        (is_same && longest.is_some()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_autoscaler_decides_is_told_with_its_reason() {
    let site = Site::new().await;
    let mut command = HostProcess::command();
    command.args(["--broker", &site.server.url(), "run", "--name", "h", "--concurrency", "8"]);
    command.arg("--plugins").arg(site.folder()).env("BULKHEAD_API__LISTEN", "127.0.0.1:0");
    for (key, value) in [("ENABLED", "true"), ("INTERVAL", "200ms"), ("UP_COOLDOWN", "0s")] {
        command.env(format!("BULKHEAD_HOST__AUTOSCALE__{key}"), value);
    }
    let host = HostProcess::spawn(command, site.folder().join("h.log"));
    let api = Http::of(&host).await;
    let eye = api.with(&run(&site, &["token", "create", "eye", "--scope", "read"]).said());
    eventually("it is ready", || async { (api.get("/readyz").status == 200).then_some(()) }).await;
    for _ in 0..20 {
        let _id = run(&site, &["submit", "sleep", "--data", "60000"]).said();
    }
    let scaling = eventually("it goes up", || async {
        let told = eye.get("/v1/hosts").with(200)["hosts"][0]["scaling"].clone();
        told["changes"][0].is_object().then_some(told)
    })
    .await;
    assert_eq!((&scaling["min"], &scaling["max"]), (&json!(1), &json!(8)));
    let first = scaling["changes"].as_array().and_then(|changes| changes.last()).expect("a change");
    assert_eq!(
        (&first["verdict"]["from"], &first["verdict"]["direction"]),
        (&json!(1), &json!("up"))
    );
    let explained = first["explanation"].as_str().expect("text");
    assert!(explained.contains("more work waits than there are slots"), "{explained}");
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_the_broker() {
    let mut site = Site::new().await;
    let host = host(&site, &[]).await;
    let api = Http::of(&host).await;
    eventually("it is ready", || async { (api.get("/readyz").status == 200).then_some(()) }).await;
    site.server.kill();
    eventually("it is not", || async {
        let ready = api.get("/readyz");
        (ready.status == 503).then(|| assert_eq!(ready.with(503)["broker"], false))
    })
    .await;
    assert_eq!(api.get("/healthz").status, 200, "it lives all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_owns_the_embedded_broker_needs_no_token_at_its_socket() {
    let folder = EmbeddedFolder::new();
    let _host = folder.host("h", &[]).await;
    folder.run(&["submit", "echo", "--data", "x", "--wait"]).exits(0);
    let (status, body) = ask_socket(&folder.socket(), "/v1/tasks?state=completed");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("\"type\":\"echo\""), "{body}");
    assert_eq!(ask_socket(&folder.socket(), "/readyz").0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_of_its_own_is_for_its_owner() {
    let site = Site::new().await;
    let path = site.folder().join("api.sock");
    let _host = host(&site, &[("SOCKET", path.to_str().expect("text"))]).await;
    eventually("it answers", || async { path.exists().then_some(()) }).await;
    assert_eq!(ask_socket(&path, "/v1/whoami").0, 200);
}

#[test]
fn what_cannot_be_answered_on_is_said_before_anything_runs() {
    let server = RedisServer::start();
    let folder = tempfile::tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    for (key, value, code, says) in [
        ("LISTEN", "nowhere", 2, "is no address"),
        ("LISTEN", taken.as_str(), 1, "cannot listen on"),
        ("RATE", "often", 2, "is no rate"),
        ("ANONYMOUS", "[\"everything\"]", 2, "is no scope"),
        ("CORS", "[\"*\"]", 2, "is no origin"),
        ("TLS__KEY", "key.pem", 2, "api.tls.certificate"),
    ] {
        let mut command = HostProcess::command();
        command.args(["--broker", &server.url(), "run", "--plugins"]).arg(folder.path());
        command.env(format!("BULKHEAD_API__{key}"), value);
        let ran = ran(&mut command);
        assert_eq!(ran.code, code, "{key}={value}: {}", ran.stderr);
        assert!(ran.stderr.contains(says), "{key}={value}: {}", ran.stderr);
    }
}
