//! Worker processes: what runs in them comes to the same, what brings them down stays within
//! them, and nothing but that can be done in them. They are the real binary's.

mod descriptors;
mod kernels;
mod services;

use std::fs;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_core::{FailureKind, Limits, Outcome, Task, TenantName};
use bulkhead_sandbox::{
    Attempt, AttemptEnd, Cancel, CapabilitySet, EnqueueGrant, FolderGrant, FolderQuota, FsGrant,
    Gate, Grants, Isolation, KvGrant, Layer, Named, Outbound, Plugin, PluginKind, ProgressSink,
    Sandbox, SandboxConfig, ScratchHome, Services, WorkerProcesses, WorkerProgram, give_up_rights,
};

use crate::http::{local, tenant};
use crate::rig::{asking, attempt, done, failed, guest, load, run, source, task};
use crate::stores::{Heard, Values, store};
use crate::web::Server;
use crate::worker::{binary, worker};

const PATIENCE: Duration = Duration::from_secs(60);

fn program(program: &Path, arguments: &[&str]) -> WorkerProgram {
    WorkerProgram {
        program: program.to_owned(),
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        environment: vec![("MIMALLOC_ARENA_RESERVE".into(), "0".into())],
    }
}

/// Guest workers of the real binary.
fn processes() -> WorkerProcesses {
    WorkerProcesses {
        program: program(&binary(), &["guest-worker"]),
        most: 4,
        threads: 2,
        idle: Duration::from_secs(60),
        strict: true,
    }
}

/// A worker that is the real one when it is first started, which is for the plugin to describe
/// itself, and what `script` says after that.
fn after_the_first(folder: &Path, script: &str) -> WorkerProcesses {
    let (real, mark) = (binary(), folder.join("mark"));
    let script = format!(
        "if mkdir '{}' 2>/dev/null; then exec '{}' guest-worker; fi\n{script}",
        mark.display(),
        real.display()
    );
    WorkerProcesses { program: program(Path::new("/bin/sh"), &["-c", &script]), ..processes() }
}

/// What a worker says when it is ready, as a shell writes it.
const READY: &str = r"printf '\011\000\000\000\000\000\000\000\201\245Ready\221\220' >&0";

fn apart(processes: WorkerProcesses) -> Sandbox {
    let config = SandboxConfig {
        concurrency: 8,
        isolation: Isolation::Process(processes),
        compiler: worker(),
        offers: CapabilitySet::ALL,
        ..SandboxConfig::default()
    };
    Sandbox::new(config).unwrap()
}

async fn granted(sandbox: &Sandbox, name: &str, grants: Grants) -> Plugin {
    sandbox.load(asking(name, grants)).await.unwrap()
}

fn of(tenant: &str, name: &str, payload: &str) -> Task {
    Task { tenant: TenantName::new(tenant).unwrap(), ..task(name, payload) }
}

async fn with(plugin: &Plugin, task: &Task, services: Services) -> AttemptEnd {
    plugin.attempt(Attempt { services, ..attempt(task) }).await.unwrap()
}

fn lines(end: &AttemptEnd) -> Vec<&str> {
    done(end).lines().collect()
}

/// Wait until something is so.
async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn kill(pid: u32) {
    let killed = Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
    assert!(killed.success());
}

#[tokio::test]
async fn what_runs_apart_comes_to_the_same() {
    let sandbox = apart(processes());
    assert_eq!(sandbox.layers().await.unwrap().as_deref(), Some(&Layer::ALL[..]));
    let plugin = load(&sandbox, "unruly").await;
    let end = run(&plugin, "echo", "hello", Limits::default()).await;
    assert_eq!(done(&end), "hello");
    assert!(end.metering.fuel > 0 && end.metering.wall_us > 0, "{:?}", end.metering);
    let limits = Limits { fuel: 1_000_000, ..Limits::default() };
    failed(&run(&plugin, "spin", "", limits).await, FailureKind::OutOfFuel);
    let limits = Limits { memory_bytes: 8 << 20, ..Limits::default() };
    failed(&run(&plugin, "alloc", "64000000", limits).await, FailureKind::OutOfMemory);
    let panic = run(&plugin, "panic", "", Limits::default()).await;
    let panic = failed(&panic, FailureKind::Trapped);
    assert!(!panic.backtrace.is_empty() && panic.message.contains("panicked"), "{panic:?}");
    let logs = run(&plugin, "log-flood", "100000", Limits::default()).await;
    assert!(logs.metering.log_lines_dropped > 0, "{:?}", logs.metering);
    let limits = Limits { wall_ms: 200, ..Limits::default() };
    failed(&run(&plugin, "spin", "", limits).await, FailureKind::TimedOut);
    failed(&run(&plugin, "sleep", "60000", limits).await, FailureKind::TimedOut);
    let command = load(&sandbox, "command").await;
    assert_eq!(command.kind(), PluginKind::Command);
    assert_eq!(sandbox.worker_pids().len(), 1, "they are all of one tenant");
}

#[tokio::test]
async fn a_batch_runs_together_and_falls_together() {
    let sandbox = apart(processes());
    let plugin = load(&sandbox, "unruly").await;
    let together = async |commands: &[&str]| {
        let tasks: Vec<Task> = commands.iter().map(|c| task("together", c)).collect();
        plugin.attempt_batch(tasks.iter().map(attempt).collect()).await.unwrap()
    };
    let end = together(&["a", "fail", "c"]).await;
    assert!(!end.fell);
    assert_eq!((done(&end.ends[0]), done(&end.ends[2])), ("a: 1 of 3", "c: 3 of 3"));
    failed(&end.ends[1], FailureKind::Reject);
    let end = together(&["a", "panic"]).await;
    assert!(end.fell);
    for end in &end.ends {
        failed(end, FailureKind::Trapped);
    }
}

#[tokio::test]
async fn a_task_that_is_cancelled_stops() {
    let sandbox = apart(processes());
    let plugin = load(&sandbox, "unruly").await;
    let (task, cancel) = (task("progress", ""), Cancel::new());
    let heard = Arc::new(Heard::default());
    let progress = Some(heard.clone() as Arc<dyn ProgressSink>);
    let end = plugin.attempt(Attempt { progress, ..attempt(&task) }).await.unwrap();
    assert!(matches!(end.outcome, Outcome::Done(_)), "{end:?}");
    assert!(!heard.0.lock().is_empty(), "its progress is heard");
    let spinning = of("acme", "spin", "");
    let attempt = Attempt { cancel: cancel.clone(), ..attempt(&spinning) };
    let (end, ()) = tokio::join!(plugin.attempt(attempt), async {
        until("it runs", || !sandbox.worker_pids().is_empty()).await;
        cancel.cancel();
    });
    failed(&end.unwrap(), FailureKind::Cancelled);
}

#[tokio::test]
async fn capabilities_are_the_hosts_and_of_the_attempts_plugin_and_tenant() {
    let sandbox = apart(processes());
    let grants = Grants {
        kv: Some(KvGrant { operations: 5, ..KvGrant::default() }),
        config: true,
        secrets: ["token".to_owned(), "gone".to_owned()].into(),
        enqueue: Some(EnqueueGrant {
            types: Named::Only(["thumbnail".parse().unwrap()].into()),
            ..EnqueueGrant::default()
        }),
        ..Grants::default()
    };
    let plugin = granted(&sandbox, "toucher", grants).await;
    let services = Services {
        kv: Some(store()),
        config: Some(Values::of(&[("colour", "blue")])),
        secrets: Some(Values::of(&[("token", "s3cret-value")])),
        ..Services::default()
    };
    let commands = [
        "kv set a one",
        "kv get a",
        "kv keys ",
        "kv swap a 1 next",
        "kv add n 5",
        "kv get a",
        "config colour",
        "config none",
        "secret token",
        "secret gone",
    ];
    let task = task("touch", &commands.join("\n"));
    let end = with(&plugin, &task, services).await;
    let seen = lines(&end);
    assert_eq!(seen[..5], ["ok 1", "one v1 None", "ok a", "Ok(Some(2))", "ok 5"]);
    assert!(seen[5].contains("operations"), "{}", seen[5]);
    assert!(seen[6].contains("blue") && !seen[7].contains("blue"), "{seen:?}");
    assert!(seen[8].contains("s3cret-value") && seen[9].contains("nknown"), "{seen:?}");
    assert!(end.metering.host_calls >= 10, "{:?}", end.metering);
}

#[tokio::test]
async fn requests_go_by_connections_that_the_host_makes() {
    let sandbox = apart(processes());
    let grants = Grants { http: Some(local()), ..Grants::default() };
    let plugin = granted(&sandbox, "fetcher", grants).await;
    let (server, outbound) = (Server::start().await, Outbound::new());
    let http =
        || Services { http: Some(outbound.access("fetcher", &tenant())), ..Services::default() };
    let url = server.url("echo/a?b=c");
    let commands =
        format!("get {url}\nsize {}\nget http://127.0.0.2:9/", server.url("bytes/300000"));
    let task = task("fetch", &commands);
    let end = with(&plugin, &task, http()).await;
    let seen = lines(&end);
    assert_eq!(seen[..2], ["200 0 after GET /echo/a?b=c HTTP/1.1", "200 300000 bytes"]);
    assert!(seen[2].contains("RequestDenied"), "{}", seen[2]);
    let heard = server.heard();
    assert_eq!(heard.len(), 2, "{heard:?}");
    until("connections are given back", || outbound.connections(&tenant()) == 0).await;
}

#[tokio::test]
async fn a_worker_reaches_its_own_tenants_folders() {
    let place = tempfile::tempdir().unwrap();
    let shared = place.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("there"), "shared").unwrap();
    let home = ScratchHome::new(place.path().join("scratch"), 8);
    let sandbox = apart(processes());
    let fs = FsGrant {
        scratch: Some(FolderQuota { bytes: 1 << 20, files: 100 }),
        dirs: vec![FolderGrant { host: shared, guest: "/data".to_owned(), write: None }],
    };
    let plugin = granted(&sandbox, "filer", Grants { fs: Some(fs), ..Grants::default() }).await;
    let commands = [
        "read /data/there",
        "say /data/new x",
        "say /scratch/a one",
        "mkdir-all /scratch/b/c",
        "mv /scratch/a /scratch/b/c/e",
        "read /scratch/b/c/e",
        "list /scratch",
        "write /scratch/large 2000000",
        "rm /scratch/b/c/e",
    ]
    .join("\n");
    let services = || Services { scratch: Some(home.clone()), ..Services::default() };
    for name in ["acme", "zenith"] {
        let task = of(name, "file", &commands);
        let end = with(&plugin, &task, services()).await;
        let seen = lines(&end);
        assert_eq!(seen[0], "shared", "{seen:?}");
        assert!(seen[1].starts_with("error"), "it may only be read: {seen:?}");
        assert_eq!(seen[2..7], ["ok", "ok", "ok", "one", "b"], "{seen:?}");
        assert!(seen[7].starts_with("error") && seen[8] == "ok", "{seen:?}");
    }
    assert_eq!(sandbox.worker_pids().len(), 2);
    tokio::time::timeout(PATIENCE, home.emptied()).await.unwrap();
}

#[tokio::test]
async fn a_tenant_gets_a_new_worker_when_what_its_plugins_may_reach_changes() {
    let place = tempfile::tempdir().unwrap();
    let home = ScratchHome::new(place.path().join("scratch"), 8);
    let sandbox = apart(processes());
    let mut pids = Vec::new();
    for name in ["first", "second"] {
        let host = place.path().join(name);
        fs::create_dir(&host).unwrap();
        fs::write(host.join("there"), name).unwrap();
        let dirs = vec![FolderGrant { host, guest: "/data".to_owned(), write: None }];
        let fs = FsGrant { scratch: None, dirs };
        let plugin = granted(&sandbox, "filer", Grants { fs: Some(fs), ..Grants::default() }).await;
        let task = task("file", "read /data/there");
        for _ in 0..2 {
            let services = Services { scratch: Some(home.clone()), ..Services::default() };
            assert_eq!(done(&with(&plugin, &task, services).await), name);
            pids.push(sandbox.worker_pids());
        }
    }
    assert_eq!((&pids[0], &pids[2]), (&pids[1], &pids[3]), "it is kept while nothing changes");
    assert_ne!(pids[1], pids[2]);
}

#[tokio::test]
async fn a_worker_that_is_killed_takes_its_own_tenants_attempts_with_it() {
    let sandbox = apart(processes());
    let plugin = load(&sandbox, "unruly").await;
    let (victim, neighbour) = (of("acme", "sleep", "60000"), of("zenith", "sleep", "300"));
    let killing = async {
        // Started one after the other, so that it is known whose is whose.
        until("the first has its worker", || sandbox.worker_pids().len() == 1).await;
        let pid = sandbox.worker_pids()[0];
        let ends = tokio::join!(plugin.attempt(attempt(&neighbour)), async {
            until("the other has one too", || sandbox.worker_pids().len() == 2).await;
            kill(pid);
        });
        (pid, ends.0.unwrap())
    };
    let (fell, (pid, unharmed)) = tokio::join!(plugin.attempt(attempt(&victim)), killing);
    let fell = fell.unwrap();
    let failure = failed(&fell, FailureKind::Trapped);
    assert!(failure.message.contains("signal 9"), "{}", failure.message);
    assert!(matches!(unharmed.outcome, Outcome::Done(_)), "{unharmed:?}");
    let again = of("acme", "echo", "again");
    assert_eq!(done(&plugin.attempt(attempt(&again)).await.unwrap()), "again");
    assert!(!sandbox.worker_pids().contains(&pid));
}

#[tokio::test]
async fn a_worker_goes_when_it_is_idle_or_its_place_is_needed() {
    let few = WorkerProcesses { most: 1, idle: Duration::from_millis(300), ..processes() };
    let sandbox = apart(few);
    let plugin = load(&sandbox, "unruly").await;
    let tasks: Vec<Task> = (0..6).map(|at| of(["a", "b", "c"][at % 3], "echo", "x")).collect();
    let mut ends = Vec::new();
    for task in &tasks {
        ends.push(plugin.attempt(attempt(task)));
    }
    let ends = {
        let mut all = Vec::new();
        let mut ends: Vec<_> = ends.into_iter().map(Box::pin).collect();
        std::future::poll_fn(|cx| {
            ends.retain_mut(|end| match end.as_mut().poll(cx) {
                std::task::Poll::Ready(end) => {
                    all.push(end.unwrap());
                    assert!(sandbox.worker_pids().len() <= 1);
                    false
                }
                std::task::Poll::Pending => true,
            });
            if ends.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        all
    };
    ends.iter().for_each(|end| assert_eq!(done(end), "x"));
    until("the last goes when it is idle", || sandbox.worker_pids().is_empty()).await;
}

#[tokio::test]
async fn no_worker_outlives_its_sandbox() {
    let sandbox = apart(processes());
    let plugin = load(&sandbox, "unruly").await;
    assert_eq!(done(&run(&plugin, "echo", "x", Limits::default()).await), "x");
    let pid = sandbox.worker_pids()[0];
    drop((plugin, sandbox));
    until("it is gone", || !Path::new("/proc").join(pid.to_string()).exists()).await;
}

#[tokio::test]
async fn a_version_that_brings_workers_down_is_backed_off() {
    let folder = tempfile::tempdir().unwrap();
    let crash = format!("{READY}; dd bs=1 count=1 >/dev/null 2>&1; sleep 0.1; kill -SEGV $$");
    let sandbox = apart(after_the_first(folder.path(), &crash));
    let plugin = load(&sandbox, "unruly").await;
    for _ in 0..3 {
        let end = run(&plugin, "echo", "x", Limits::default()).await;
        let failure = failed(&end, FailureKind::Trapped);
        assert!(failure.message.contains("signal 11"), "{}", failure.message);
    }
    let end = run(&plugin, "echo", "x", Limits::default()).await;
    let failure = failed(&end, FailureKind::Trapped);
    assert!(failure.message.contains("3 worker processes"), "{}", failure.message);
    assert!(failure.retry_after_ms.is_some_and(|ms| ms > 0), "{failure:?}");
}

#[tokio::test]
async fn a_worker_that_lies_is_killed_and_costs_one_attempt() {
    for (words, says) in [
        // No message at all.
        (r"printf '\377\377\377\377\377\377\377\377' >&0", "cannot be read"),
        (r"printf '\002\000\000\000\000\000\000\000\301\301' >&0", "cannot be read"),
        // Once more that it is ready.
        (READY, "it begins again"),
        // The end of another attempt: {"Ended": [77, {"Err": {"Broken": "x"}}]}.
        (
            r"printf '\030\000\000\000\000\000\000\000\201\245Ended\222\115\201\243Err\201\246Broken\241x' >&0",
            "does not run",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let lie = format!("{READY}; dd bs=1 count=1 >/dev/null 2>&1; {words}; sleep 60");
        let sandbox = apart(after_the_first(folder.path(), &lie));
        let plugin = load(&sandbox, "unruly").await;
        let end = run(&plugin, "echo", "x", Limits::default()).await;
        let failure = failed(&end, FailureKind::Trapped);
        assert!(failure.message.contains(says), "{says}: {}", failure.message);
        until("it is killed", || sandbox.worker_pids().is_empty()).await;
    }
}

#[tokio::test]
async fn what_cannot_be_a_worker_refuses_the_plugin() {
    for (arguments, says) in [("exit 3", "exit status: 3"), ("sleep 0", "ended")] {
        let wrong = WorkerProcesses {
            program: program(Path::new("/bin/sh"), &["-c", arguments]),
            ..processes()
        };
        let sandbox = apart(wrong);
        let rejection = sandbox.load(source("idle", guest("idle"))).await.unwrap_err();
        assert_eq!(rejection.gate, Gate::Smoke, "{rejection}");
        assert!(rejection.message.contains(says), "{rejection}");
        assert!(sandbox.layers().await.is_err());
    }
}

/// Everything that is tried, and whether the kernel kills for it.
const FORBIDDEN: [(&str, bool); 12] = [
    ("read /etc/passwd", false),
    ("list /", false),
    ("write /tmp", false),
    ("look at /proc", false),
    ("start a program", false),
    ("become a program", true),
    ("connect", true),
    ("listen", true),
    ("signal", true),
    ("trace", true),
    ("mount", true),
    ("raise a limit", false),
];

/// Try what a worker may not do.
fn attempt_forbidden(what: &str) -> std::io::Result<()> {
    let parent = nix::unistd::getppid();
    match what {
        "read /etc/passwd" => fs::read("/etc/passwd").map(drop),
        "list /" => fs::read_dir("/").map(drop),
        "write /tmp" => fs::write("/tmp/bulkhead-forbidden", "x"),
        "look at /proc" => fs::read("/proc/self/environ").map(drop),
        "start a program" => Command::new("/bin/true").spawn().map(drop),
        "become a program" => Err(Command::new("/bin/true").exec()),
        "connect" => std::net::TcpStream::connect("127.0.0.1:9").map(drop),
        "listen" => std::net::UdpSocket::bind("127.0.0.1:0").map(drop),
        "signal" => Ok(nix::sys::signal::kill(parent, None)?),
        "trace" => Ok(nix::sys::ptrace::attach(parent)?),
        "mount" => {
            let none: Option<&str> = None;
            Ok(nix::mount::mount(none, "/tmp", Some("tmpfs"), nix::mount::MsFlags::empty(), none)?)
        }
        "raise a limit" => {
            use rustix::process::{Resource, Rlimit, setrlimit};
            let all = Rlimit { current: Some(1 << 20), maximum: Some(1 << 20) };
            Ok(setrlimit(Resource::Core, all)?)
        }
        other => panic!("{other}"),
    }
}

/// What this process is to try, if it was started for that.
fn told() -> Option<String> {
    let mut what = String::new();
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        stdin.lock().read_to_string(&mut what).unwrap();
    }
    (!what.is_empty()).then_some(what)
}

/// This test in a process of its own, told what to try.
fn start_to_try(what: &str) -> std::process::Output {
    let mut trying = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::a_worker_can_do_nothing_else", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    trying.stdin.take().unwrap().write_all(what.as_bytes()).unwrap();
    trying.wait_with_output().unwrap()
}

/// Two folders are open, and one may be reached: the kernel lets nothing be opened in the other.
fn reach_one_of_two(place: &Path) {
    use rustix::fs::{Mode, OFlags, openat, symlinkat};
    let open = |name: &str| fs::File::open(place.join(name)).unwrap();
    let (mine, other) = (open("mine"), open("other"));
    give_up_rights(vec![(open("mine").into(), true)]).unwrap();
    let (read, make) = (OFlags::RDONLY, OFlags::WRONLY | OFlags::CREATE);
    assert!(openat(&mine, "f", read, Mode::empty()).is_ok());
    assert!(openat(&mine, "new", make, Mode::RUSR).is_ok());
    assert!(symlinkat("/etc", &mine, "link").is_err(), "no links");
    assert!(openat(&other, "f", read, Mode::empty()).is_err(), "it is another's");
    assert!(openat(&other, "new", make, Mode::RUSR).is_err());
    assert!(openat(&mine, "../other/f", read, Mode::empty()).is_err());
    assert!(fs::read(place.join("other/f")).is_err() && fs::read(place.join("mine/f")).is_ok());
}

/// It starts itself once for each thing that is forbidden, gives up its rights there as a worker
/// does, and tries it.
#[test]
fn a_worker_can_do_nothing_else() {
    if let Some(what) = told() {
        if let Some(place) = what.strip_prefix("reach ") {
            return reach_one_of_two(Path::new(place));
        }
        assert_eq!(give_up_rights(Vec::new()).as_deref(), Ok(&Layer::ALL[..]));
        let tried = attempt_forbidden(&what);
        assert!(tried.is_err(), "{what} was let through");
        // Where the one who started it can read it, not the harness.
        writeln!(std::io::stdout(), "refused: {}", tried.unwrap_err()).unwrap();
        return;
    }
    let place = tempfile::tempdir().unwrap();
    for folder in ["mine", "other"] {
        fs::create_dir(place.path().join(folder)).unwrap();
        fs::write(place.path().join(folder).join("f"), folder).unwrap();
    }
    let reached = start_to_try(&format!("reach {}", place.path().display()));
    let said = String::from_utf8_lossy(&reached.stdout).into_owned();
    assert!(reached.status.success(), "{said} {}", String::from_utf8_lossy(&reached.stderr));
    for (what, kills) in FORBIDDEN {
        let tried = start_to_try(what);
        let said = String::from_utf8_lossy(&tried.stdout);
        match kills {
            true => assert_eq!(tried.status.signal(), Some(31), "{what}: {said}"),
            false => assert!(tried.status.success() && said.contains("refused"), "{what}: {said}"),
        }
    }
}
