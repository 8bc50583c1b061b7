//! One trace from the producer to what the guest did, as a collector gets it.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use bulkhead::config::{Config, Sources};
use bulkhead::{Host, HostOptions, Metrics, Traces};
use bulkhead_core::{TaskId, TraceContext, child_id};
use bulkhead_queue::NewTask;
use bulkhead_tests::{
    Collector, Exposition, HostProcess, Inside, Ran, Receiver, Running, Site, Span, eventually,
    eventually_within, install, output, task,
};
use serde_json::Value;

/// A span's kinds in OTLP.
const INTERNAL: i32 = 1;
const CLIENT: i32 = 3;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The secret that a guest logs, which no trace may hold.
const SECRET: &str = "zqhush-zqhush";

/// A host whose spans go to `url`, with the guests that call and log.
async fn traced(inside: &Inside, url: &str, ratio: f64) -> (Running, Traces) {
    for guest in ["spiller", "notebook", "breeder", "fetcher"] {
        install(inside.folder(), guest);
    }
    let secret = inside.folder().join("token.secret");
    std::fs::write(&secret, SECRET).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = format!(
        r#"
        [telemetry.otlp]
        endpoint = "{url}"
        sample_ratio = {ratio:?}
        service_name = "tested"
        headers = {{ authorization = {{ file = "token.secret" }} }}
        [secrets.token]
        file = "token.secret"
        [grants.spiller]
        secrets = ["token"]
        [grants.notebook]
        kv = true
        [grants.breeder]
        enqueue = {{ types = ["*"] }}
        [grants.fetcher]
        http = {{ allow = ["http://127.0.0.1/"], private = true }}
        "#
    )
    .replace("http://127.0.0.1/", "http://127.0.0.1:*/");
    let path = inside.folder().join("bulkhead.config.toml");
    std::fs::write(&path, text).unwrap();
    let sources = Sources { file: Some(path), ..Sources::default() };
    let config = Config::load(&sources).expect("a configuration");
    let metrics = Metrics::default();
    let traces = Traces::exporting(config.otlp.as_ref().unwrap(), &metrics).unwrap();
    let options = inside.options("traced", HostOptions { concurrency: 8, ..config.host.clone() });
    let builder = Host::builder(inside.broker.clone(), options);
    let host = inside.host_of("traced", builder.metrics(metrics).traces(traces.clone())).await;
    eventually("all guests serve", || async {
        let hosts = inside.broker.hosts().await.ok()?;
        let plugins = &hosts.first()?.plugins;
        (plugins.len() == 5 && plugins.iter().all(|it| it.serving.is_some())).then_some(())
    })
    .await;
    (host, traces)
}

/// The span of this name and task, once it is there.
async fn span_of(receiver: &Receiver, name: &str, id: TaskId) -> Span {
    eventually_within(Duration::from_secs(30), &format!("the span `{name}`"), || async {
        let id = id.to_string();
        let is = |span: &Span| span.attributes.get("messaging.message.id") == Some(&id);
        receiver.spans().into_iter().find(|span| span.name == name && is(span))
    })
    .await
}

fn below(receiver: &Receiver, parent: &Span) -> Vec<Span> {
    receiver.spans().into_iter().filter(|span| span.parent == parent.id).collect()
}

/// Spans are held against what happened, as `receiver` got them by way of `url`.
async fn goes_through(inside: Inside, receiver: Receiver, url: &str) {
    let web = Receiver::start().await;
    let (host, traces) = traced(&inside, url, 1.0).await;
    let begun = traces.submit(None, "default", "spill");
    let context = begun.context();
    let new = |task_type: &str, payload: &str| NewTask {
        trace: Some(context.clone()),
        ..task(task_type, payload)
    };
    let spill = inside.submit(new("spill", "log token")).await;
    let note = inside.submit(new("note", "a=1\na")).await;
    let fetch = inside.submit(new("fetch", &format!("get {}", web.url("/private/path")))).await;
    let bear = inside.submit(new("bear", "child context x")).await;
    let reject = inside.submit(new("reject", "no")).await;
    begun.end(Ok(5));
    for id in [spill, note, fetch, bear, reject] {
        inside.wait(id).await;
    }
    let child = child_id(&inside.view(bear).await.task.unwrap().task_ref(), 0);
    let view = inside.wait(child).await;
    // Whatever was made comes.
    traces.flush().await;
    let exposed = Exposition::read(&host.metrics.render());
    let count = |result| exposed.value("bulkhead_trace_spans_total", &[("result", result)]);
    let made = count("made");
    assert_eq!((count("exported"), count("failed")), (made, Some(0.0)));
    eventually("all spans have come", || async {
        (Some(receiver.spans().len() as f64) == made).then_some(())
    })
    .await;

    let spilled = span_of(&receiver, "process spill", spill).await;
    let submitted = receiver.spans().into_iter().find(|span| span.kind == PRODUCER).unwrap();
    assert_eq!(submitted.name, "submit spill");
    assert_eq!(submitted.service, "tested");
    assert_eq!(context.traceparent, format!("00-{}-{}-01", submitted.trace, submitted.id));
    assert_eq!((&spilled.trace, &spilled.parent), (&submitted.trace, &submitted.id));
    assert_eq!(spilled.kind, CONSUMER);
    let said = |name: &str| spilled.attributes[name].as_str();
    assert_eq!(said("bulkhead.outcome"), "done");
    assert_eq!(said("bulkhead.plugin"), "spiller");
    assert_eq!(said("bulkhead.plugin.digest").len(), 64);
    assert_eq!(said("bulkhead.attempt"), "1");
    let report = inside.view(spill).await;
    let metering = report.last_report().unwrap().metering;
    assert_eq!(said("bulkhead.fuel"), metering.fuel.to_string());
    assert_eq!(said("bulkhead.cpu_us"), metering.cpu_us.to_string());
    assert_eq!(said("bulkhead.peak_memory_bytes"), metering.peak_memory_bytes.to_string());
    assert!(said("bulkhead.queue_wait_ms").parse::<u64>().is_ok());
    // The guest's log, without what it must not tell.
    let (name, logged) = &spilled.events[0];
    assert_eq!((name.as_str(), logged["log.severity"].as_str()), ("guest log", "info"));
    assert_eq!(logged["log.message"], "the secret is [secret token]");
    assert_eq!(logged["log.field.field"], "[secret token]");
    let asked = below(&receiver, &spilled);
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].name.as_str(), asked[0].kind), ("secrets get", INTERNAL));
    assert_eq!(asked[0].trace, submitted.trace);
    assert!(spilled.time.0 <= asked[0].time.0 && asked[0].time.1 <= spilled.time.1, "{asked:?}");

    // Calls to the others.
    let noted = span_of(&receiver, "process note", note).await;
    let names: Vec<String> = below(&receiver, &noted).into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["kv set", "kv get"]);
    let fetched = span_of(&receiver, "process fetch", fetch).await;
    let [request] = below(&receiver, &fetched).try_into().expect("one call");
    assert_eq!((request.name.as_str(), request.kind, request.status), ("http GET", CLIENT, 0));
    assert_eq!(request.attributes["server.address"], web.url(""));

    let [asked] = web.received().try_into().expect("one request");
    assert!(!asked.headers.contains_key("traceparent"), "nothing is put into it: {asked:?}");

    // A failure is one in the trace.
    let rejected = span_of(&receiver, "process reject", reject).await;
    assert_eq!((rejected.status, rejected.attributes["bulkhead.outcome"].as_str()), (2, "reject"));

    // What a guest submits goes on from its attempt, and sees its own.
    let bore = span_of(&receiver, "process bear", bear).await;
    let grown = span_of(&receiver, "process context", child).await;
    assert_eq!((&grown.trace, &grown.parent), (&submitted.trace, &bore.id));
    let seen: Value = serde_json::from_str(&output(&view)).unwrap();
    assert_eq!(seen["traceparent"], format!("00-{}-{}-01", grown.trace, grown.id));

    let is_direct = url == receiver.url("");
    for request in receiver.received() {
        let authorized = request.headers.get("authorization").is_some_and(|it| it == SECRET);
        assert_eq!(authorized, is_direct, "the configured header goes to who is configured");
        assert!(!String::from_utf8_lossy(&request.body).contains("zqhush"), "a secret");
        assert!(!String::from_utf8_lossy(&request.body).contains("/private/path"), "a path");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_goes_from_the_producer_through_the_queue_to_calls_and_log_lines() {
    let receiver = Receiver::start().await;
    let url = receiver.url("");
    goes_through(Inside::redis().await, receiver, &url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_of_somebody_elses_understands_all_of_it() {
    let receiver = Receiver::start().await;
    let collector = Collector::before(&receiver).await;
    goes_through(Inside::redis().await, receiver, &collector.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_is_the_same_where_guests_run_in_processes() {
    let receiver = Receiver::start().await;
    let url = receiver.url("");
    goes_through(Inside::redis().await.apart(), receiver, &url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producers_word_on_sampling_holds_and_a_share_of_the_rest_is_kept() {
    let inside = Inside::embedded();
    let receiver = Receiver::start().await;
    let (_host, traces) = traced(&inside, &receiver.url(""), 0.0).await;
    let with = |flags: &str| {
        let traceparent = PARENT.replace("-01", flags);
        Some(TraceContext { traceparent, tracestate: Some("a=1".into()) })
    };
    let seen = async |trace: Option<TraceContext>| {
        let id = inside.submit(NewTask { trace, ..task("context", "x") }).await;
        let seen: Value = serde_json::from_str(&output(&inside.wait(id).await)).unwrap();
        (id, seen)
    };
    // Nobody keeps these: the guest sees what its producer said.
    let (_, alone) = seen(None).await;
    assert_eq!(alone["traceparent"], Value::Null);
    let (_, unsampled) = seen(with("-00")).await;
    assert_eq!(unsampled["traceparent"], PARENT.replace("-01", "-00"));
    // This one is kept, and the guest is below the attempt.
    let (id, sampled) = seen(with("-01")).await;
    let span = span_of(&receiver, "process context", id).await;
    assert_eq!(span.trace, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(span.parent, "00f067aa0ba902b7");
    assert_eq!(sampled["traceparent"], format!("00-{}-{}-01", span.trace, span.id));
    assert_eq!(sampled["tracestate"], "a=1");
    traces.flush().await;
    assert_eq!(receiver.spans().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_costs_spans_and_no_task() {
    let inside = Inside::embedded();
    let receiver = Receiver::start().await;
    let (host, traces) = traced(&inside, &receiver.url(""), 1.0).await;
    receiver.answer(&[400; 2]);
    inside.ended("noop", "").await;
    traces.flush().await;
    eventually("the failure is counted", || async {
        let exposed = Exposition::read(&host.metrics.render());
        let failed = exposed.value("bulkhead_trace_spans_total", &[("result", "failed")]);
        (failed >= Some(1.0)).then_some(())
    })
    .await;
    drop(receiver);
    assert!(inside.ended("noop", "").await.last_report().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_traces_what_it_submits_and_what_it_runs() {
    let site = Site::new().await;
    let receiver = Receiver::start().await;
    let config = site.folder().join("bulkhead.toml");
    std::fs::write(&config, format!("[telemetry.otlp]\nendpoint = \"{}\"\n", receiver.url("")))
        .unwrap();
    let (config, url) = (config.to_str().unwrap().to_owned(), site.server.url());
    let host: HostProcess = site.host("tracing", &["--config", &config]).await;
    let all = ["--config", &config, "--broker", &url, "submit", "context", "--data", "x"];
    let submit = [&all[..], &["--traceparent", PARENT, "--tracestate", "a=1"]].concat();
    let ran = tokio::task::spawn_blocking({
        let submit: Vec<String> = submit.iter().map(|arg| (*arg).to_owned()).collect();
        move || Ran::of(&submit.iter().map(String::as_str).collect::<Vec<_>>()).succeeds()
    });
    let id: TaskId = ran.await.unwrap().stdout.trim().parse().unwrap();
    site.wait(id).await;
    let attempt = span_of(&receiver, "process context", id).await;
    let submitted = receiver.spans().into_iter().find(|span| span.kind == PRODUCER).unwrap();
    assert_eq!(submitted.parent, "00f067aa0ba902b7");
    assert_eq!(submitted.trace, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(submitted.attributes["messaging.batch.message_count"], "1");
    assert_eq!((&attempt.trace, &attempt.parent), (&submitted.trace, &submitted.id));
    assert_eq!((attempt.service.as_str(), submitted.service.as_str()), ("bulkhead", "bulkhead"));
    let bad = [&all[..], &["--traceparent", "00-1-2-01"]].concat();
    let refused = Ran::of(&bad).exits(2);
    assert!(refused.stderr.contains("it is no W3C traceparent"), "{refused:?}");
    drop(host);
}
