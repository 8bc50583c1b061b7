//! `bulkhead top` in a terminal of its own: the real binary, real hosts, real brokers.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use bulkhead_queue::{Broker, HostInfo};
use bulkhead_tests::{
    EmbeddedFolder, HostProcess, PseudoTerminal, Ran, RedisServer, eventually, eventually_within,
    install,
};
use serde_json::json;
use tempfile::TempDir;

#[path = "../../host/bulkhead/src/cli/top/screen.rs"]
mod screen;

/// How long a host may take to compile its plugins on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server and a folder of plugins with the guest `unruly`.
struct Place {
    server: RedisServer,
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        install(folder.path(), "unruly");
        Self { server: RedisServer::start(), folder }
    }

    fn run(&self, args: &[&str]) -> Ran {
        let url = self.server.url();
        Ran::of(&[&["--broker", &url], args].concat())
    }

    fn submit(&self, args: &[&str]) {
        self.run(&[&["submit"], args].concat()).succeeds();
    }

    async fn host(&self) -> HostProcess {
        let host = HostProcess::start(&self.server.url(), self.folder.path(), "h1", &[]);
        eventually_within(PATIENCE, "the host serves", || {
            let listed = self.run(&["plugin", "list"]).stdout;
            std::future::ready(listed.contains("serving").then_some(()))
        })
        .await;
        host
    }

    /// The display in a terminal of this size.
    fn top(&self, columns: u16, lines: u16) -> PseudoTerminal {
        let mut command = HostProcess::command();
        let url = self.server.url();
        command.args(["--broker", &url, "top", "--interval", "200ms"]);
        PseudoTerminal::start(&command, columns, lines)
    }
}

/// The words of the row that begins so.
fn row(screen: &str, name: &str) -> Vec<String> {
    let row = screen.lines().find(|line| line.trim_start().starts_with(name));
    row.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn figures_appear_and_change_and_keys_work() {
    let place = Place::new();
    place.submit(&["nobody", "--data", "1", "--queue", "lonely"]);
    let _host = place.host().await;
    let mut top = place.top(80, 24);
    top.shows("hosts 1").await;
    assert!(top.is_taken());
    top.is("one pending task", |text| row(text, "lonely").get(1).is_some_and(|n| n == "1")).await;
    for n in ["2", "3"] {
        place.submit(&["nobody", "--data", n, "--queue", "lonely"]);
    }
    top.is("three", |text| row(text, "lonely").get(1).is_some_and(|n| n == "3")).await;

    place.submit(&["echo", "--data", "x", "--wait"]);
    place.run(&["submit", "panic", "--data", "\u{1b}[2J\u{202e}owned", "--wait"]).exits(1);
    top.press("2");
    top.is("how long attempts of a type ran", |text| {
        row(text, "echo").iter().filter(|word| word.ends_with('s')).count() >= 2
    })
    .await;
    top.is("that another type fails", |text| text.contains("100.0%")).await;
    top.press("\t");
    top.is("the host and its plugin", |text| {
        row(text, "h1").contains(&"serves".to_owned()) && text.contains("unruly")
    })
    .await;
    top.press("l");
    top.is("the tenant", |text| row(text, "default").get(1).is_some_and(|open| open == "3")).await;
    place.submit(&["sleep", "--data", "25000", "--tenant", "acme"]);
    top.is("whose attempt runs", |text| {
        let words = row(text, "acme");
        words.get(1..4).is_some_and(|words| words == ["1", "-", "1"])
    })
    .await;
    top.press("5");
    top.resize(160, 24);
    top.shows("\\u{1b}[2J\\u{202e}owned").await;
    top.press("\r");
    top.shows("Enter closes").await;
    top.press("x1/lon");
    top.resize(80, 24);
    top.is("one queue only", |text| {
        row(text, "lonely").len() > 3 && row(text, "default").is_empty()
    })
    .await;
    top.press("\r\r");
    top.shows("lonely: ").await;
    top.press("\x1b[C");
    top.is("its tasks", |text| text.matches("nobody").count() == 3).await;
    top.press("?");
    top.shows("Keys").await;
    top.press("?");
    top.press("\x1b");
    top.shows("1 Queues").await;
    top.press("p");
    top.shows("stopped").await;
    place.submit(&["nobody", "--data", "4", "--queue", "lonely"]);
    top.press("p");
    top.is("what came meanwhile", |text| row(text, "lonely").get(1).is_some_and(|n| n == "4"))
        .await;
    top.press("q");
    assert_eq!(top.ended().await, 0);
    top.is_given_back().await;
}

#[tokio::test]
async fn it_follows_the_size_of_its_terminal() {
    let place = Place::new();
    place.submit(&["nobody", "--data", "1", "--queue", "lonely"]);
    let mut top = place.top(80, 24);
    top.shows("BLOCKED").await;
    let last = |text: &str| text.lines().last().unwrap_or_default().to_owned();
    for (columns, lines) in [(40, 10), (120, 40), (3, 2), (80, 24)] {
        top.resize(columns, lines);
        if lines > 2 {
            top.is("its last line at the bottom", |text| {
                text.lines().count() == usize::from(lines) && last(text).starts_with("? help")
            })
            .await;
            let wide = columns >= 80;
            top.is("what fits", |text| text.contains("lonely") && text.contains("SCHED") == wide)
                .await;
        }
    }
    top.press("\x03");
    assert_eq!(top.ended().await, 0);
    top.is_given_back().await;
}

#[tokio::test]
async fn a_signal_ends_it_and_gives_the_terminal_back() {
    let place = Place::new();
    for signal in ["TERM", "INT", "HUP"] {
        let mut top = place.top(80, 24);
        top.shows("no queues").await;
        assert!(top.is_taken());
        top.signal(signal);
        assert_eq!(top.ended().await, 0, "{signal}");
        top.is_given_back().await;
    }
}

#[tokio::test]
async fn it_outlives_the_broker() {
    let mut place = Place::new();
    place.submit(&["nobody", "--data", "1", "--queue", "lonely"]);
    let mut top = place.top(80, 24);
    top.shows("lonely").await;
    place.server.kill();
    top.shows("away for").await;
    assert!(top.text().contains("lonely"), "what was known stays: {}", top.text());
    // Keys go on meanwhile.
    top.press("?");
    top.shows("Keys").await;
    top.press("x");
    place.server.restart();
    place.submit(&["nobody", "--data", "1", "--queue", "another"]);
    top.is("what is there now", |text| text.contains("another") && !text.contains("away for"))
        .await;
    top.press("q");
    assert_eq!(top.ended().await, 0);
    top.is_given_back().await;
}

#[tokio::test]
async fn no_color_is_heeded() {
    let place = Place::new();
    let url = place.server.url();
    for (no_color, colors) in [("", true), ("1", false)] {
        let mut command = HostProcess::command();
        command.args(["--broker", &url, "top"]).env("NO_COLOR", no_color);
        let top = PseudoTerminal::start(&command, 80, 24);
        top.shows("live").await;
        let is_colored = top.with(|screen| {
            let cells = (0..24).flat_map(|y| (0..80).map(move |x| (y, x)));
            let mut colors = cells.filter_map(|(y, x)| Some(screen.cell(y, x)?.fgcolor()));
            colors.any(|color| color != vt100::Color::Default)
        });
        assert_eq!(is_colored, colors, "NO_COLOR={no_color}");
    }
}

#[tokio::test]
async fn an_embedded_broker_is_shown_with_and_without_its_host() {
    let folder = EmbeddedFolder::new();
    let mut host = folder.host("h1", &[]).await;
    let _id = folder.submit(&["nobody", "--data", "1", "--queue", "lonely"]);
    let mut command = HostProcess::command();
    command.args(["--broker", &folder.url(), "top", "--interval", "200ms"]);
    let mut top = PseudoTerminal::start(&command, 80, 24);
    top.is("host and queue", |text| text.contains("hosts 1") && text.contains("lonely")).await;
    host.signal("TERM");
    host.wait(PATIENCE);
    top.is("the folder alone", |text| text.contains("hosts 0") && text.contains("lonely")).await;
    assert!(folder.run(&["top", "--once"]).succeeds().stdout.contains("lonely"));
    // The folder is not kept from a host that starts.
    let _host = folder.host("h2", &[]).await;
    top.is("the next host", |text| text.contains("hosts 1")).await;
    top.press("3");
    top.shows("h2").await;
    top.press("q");
    assert_eq!(top.ended().await, 0);
}

#[tokio::test]
async fn scripts_get_one_plain_frame_or_a_document() {
    let place = Place::new();
    let _host = place.host().await;
    place.submit(&["echo", "--data", "x", "--wait"]);
    place.run(&["submit", "reject", "--data", "x", "--wait"]).exits(1);
    let once = place.run(&["top", "--once", "--interval", "100ms"]).succeeds();
    assert!(once.stderr.is_empty(), "{}", once.stderr);
    assert!(!once.stdout.contains('\u{1b}'), "{}", once.stdout);
    for text in ["hosts 1", "Queues", "default", "Types", "h1", "serves", "reject: never"] {
        assert!(once.stdout.contains(text), "`{text}` is not in: {}", once.stdout);
    }
    let document = eventually("the host has told how fast they went", || async {
        let document = place.run(&["top", "--json", "--interval", "100ms"]).succeeds().json();
        document["latency"]["pick_up"]["p95_ms"].is_f64().then_some(document)
    })
    .await;
    assert_eq!(document["queues"][0]["queue"], "default");
    assert_eq!(document["queues"][0]["rates"]["completed"], 0.0);
    assert_eq!(document["hosts"][0]["name"], "h1");
    assert!(document["latency"]["run"]["p99_ms"].is_f64(), "{document}");
    let none = place.run(&["top", "--once", "--queue", "defualt"]).exits(4);
    assert!(none.stderr.contains("did you mean `default`"), "{}", none.stderr);
    let live = place.run(&["top"]).exits(2);
    assert!(live.stderr.contains("needs a terminal"), "{}", live.stderr);
    assert!(live.stderr.contains("bulkhead top --once"), "{}", live.stderr);
    let often = place.run(&["top", "--once", "--interval", "1ms"]).exits(2);
    assert!(often.stderr.contains("1ms is not from 100ms to 1h"), "{}", often.stderr);
    let away = Ran::of(&["--broker", "redis://127.0.0.1:1", "top", "--once"]);
    assert_eq!(away.code, 3, "{}", away.stderr);
}

/// The commands that clients send while this runs, by name; what scripts call is not among them.
fn sent(server: &RedisServer, run: impl FnOnce()) -> BTreeMap<String, usize> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.write_all(b"MONITOR\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "+OK");
    run();
    server.run(&[b"ECHO", b"that was all"]);
    let mut sent = BTreeMap::new();
    for line in lines.take_while(|line| !line.contains("that was all")) {
        if line.contains(" lua] ") {
            continue;
        }
        let name = line.split('"').nth(1).unwrap_or_default().to_uppercase();
        *sent.entry(name).or_default() += 1;
    }
    sent
}

#[tokio::test]
async fn a_refresh_takes_as_many_calls_however_many_tasks_there_are() {
    let place = Place::new();
    let broker = place.server.broker().await;
    for at in 0..150 {
        let host: HostInfo = serde_json::from_value(json!({
            "name": format!("h{at}"), "pid": 1, "started_at": 1, "seen_at": u64::MAX >> 16,
            "concurrency": 1, "in_flight": 0, "memory": null, "queues": [], "plugins": [],
            "rescans": 0,
        }))
        .unwrap();
        broker.announce_host(&host, Duration::from_secs(600)).await.unwrap();
    }
    let tasks = |queue: &str, from: usize, to: usize| {
        let lines: String = (from..to)
            .map(|n| {
                let (kind, tenant) = (n % 7, n % 50);
                format!(
                    "{{\"type\": \"t{kind}\", \"payload\": \"x\", \"tenant\": \"of{tenant}\"}}\n"
                )
            })
            .collect();
        let file = place.folder.path().join("tasks.jsonl");
        std::fs::write(&file, lines).unwrap();
        place.submit(&["--jsonl", file.to_str().unwrap(), "--queue", queue]);
    };
    // One that waits for a task that is cancelled becomes a dead letter.
    let dead = |n: usize| {
        let parent = place.run(&["submit", "p", "--data", "x", "--queue", "first"]).said();
        let line = format!("{{\"type\": \"c\", \"payload\": \"x\", \"after\": [\"{parent}\"]}}\n");
        let file = place.folder.path().join("children.jsonl");
        std::fs::write(&file, line.repeat(n)).unwrap();
        place.submit(&["--jsonl", file.to_str().unwrap(), "--queue", "first"]);
        place.run(&["task", "cancel", &parent]).succeeds();
    };
    tasks("first", 0, 5);
    tasks("second", 0, 5);
    dead(1);
    let once = || drop(place.run(&["top", "--once", "--interval", "100ms"]).succeeds());
    // The scripts are there from now on.
    once();
    let few = sent(&place.server, once);
    tasks("first", 5, 4_000);
    tasks("second", 5, 1_000);
    dead(60);
    let many = sent(&place.server, once);
    assert_eq!(few, many);
    // Two looks at two queues and 150 hosts, two policies, and a listing of dead letters.
    let calls = |sent: &BTreeMap<String, usize>| {
        let names = ["SMEMBERS", "EVALSHA", "HSCAN", "ZRANGE", "MGET", "GET", "ZREVRANGE"];
        names.map(|name| sent.get(name).copied().unwrap_or(0))
    };
    assert_eq!(calls(&many), [2, 4 + 1, 4, 2, 4, 2, 1], "{many:?}");
    let one = sent(&place.server, || {
        let of_one = ["top", "--once", "--interval", "100ms", "--queue", "second"];
        let shown = place.run(&of_one).succeeds().stdout;
        assert!(shown.contains("second") && !shown.contains("first"), "{shown}");
    });
    // The names are asked for once, to know whether there is such a queue.
    assert_eq!(calls(&one), [1, 2, 2, 2, 4, 1, 0], "{one:?}");
}

/// By this a test knows that it is the one in the terminal.
const INSIDE: &str = "TOP_TEST_PANICS_INSIDE";

#[tokio::test]
async fn a_panic_gives_the_terminal_back_before_it_speaks() {
    if std::env::var_os(INSIDE).is_some() {
        let mut screen = screen::Screen::take().unwrap();
        screen.draw(|frame| frame.buffer_mut().set_string(0, 0, "drawn", ratatui_style())).unwrap();
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap();
        panic!("heard `{}`", line.trim());
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_panic_gives_the_terminal_back_before_it_speaks", "--nocapture"]);
    command.env(INSIDE, "1");
    let mut inside = PseudoTerminal::start(&command, 80, 24);
    inside.shows("drawn").await;
    assert!(inside.is_taken());
    inside.press("enough\n");
    inside.shows("heard `enough`").await;
    assert_ne!(inside.ended().await, 0);
    inside.is_given_back().await;
}

fn ratatui_style() -> ratatui::style::Style {
    ratatui::style::Style::new()
}
