//! Guests in worker processes, through the real binary: what comes of tasks is the same, tenants
//! have processes of their own, and one that dies harms nobody else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bulkhead_core::{Outcome, State, TenantName};
use bulkhead_queue::{NewTask, TaskView};
use bulkhead_tests::{
    HostProcess, RedisServer, Site, eventually, install_shipped, install_version, task, version,
};

/// A file of settings for a host whose guests run in processes, or not.
fn settings(folder: &Path, isolation: &str) -> String {
    let path = folder.join("bulkhead.toml");
    let strict = isolation == "process";
    let text = format!("[host]\nisolation = \"{isolation}\"\nisolation_strict = {strict}\n");
    std::fs::write(&path, text).expect("write settings");
    path.display().to_string()
}

/// The processes that a host has started to run guests.
fn workers(host: &HostProcess) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("processes").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let of_host = |pid: &u32| {
        let read = |what: &str| std::fs::read_to_string(format!("/proc/{pid}/{what}")).ok();
        let Some(stat) = read("stat") else { return false };
        // `pid (name) state ppid …`; the name may hold anything.
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        parent == Some(host.pid().to_string().as_str())
            && read("cmdline").is_some_and(|line| line.contains("guest-worker"))
    };
    pids.filter(of_host).collect()
}

fn of(tenant: &str, task_type: &str, payload: &str) -> NewTask {
    NewTask { tenant: TenantName::new(tenant).expect("a name"), ..task(task_type, payload) }
}

async fn submit(site: &Site, new: NewTask) -> bulkhead_core::TaskId {
    site.client.submit(new).await.expect("submitted").id
}

/// What a task returned.
fn returned(view: &TaskView) -> &[u8] {
    match &view.last_report().expect("a report").outcome {
        Outcome::Done(output) => &output.data,
        Outcome::Failed(failure) => panic!("{failure:?}"),
    }
}

fn sample(plugin: &str, name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../plugins").join(plugin);
    std::fs::read(folder.join("samples").join(name)).expect("a sample")
}

#[tokio::test]
async fn the_shipped_handlers_do_the_same_in_both() {
    let inputs = [
        ("markdown", sample("markdown", "field-notes.md")),
        ("text-stats", sample("text-stats", "english.txt")),
        ("csv-report", sample("csv-report", "harbour-readings.csv")),
        ("thumbnail", sample("thumbnail", "harbour.jpg")),
    ];
    let mut all = Vec::new();
    for isolation in ["thread", "process"] {
        let site = Site::bare(RedisServer::start()).await;
        for (name, _) in &inputs {
            install_shipped(site.folder(), name);
        }
        let folder = tempfile::tempdir().expect("a folder");
        let config = settings(folder.path(), isolation);
        let _host = site.host("host", &["--config", &config]).await;
        let mut outputs = Vec::new();
        for (name, input) in &inputs {
            let view = site.ended(name, input.clone()).await;
            outputs.push((*name, returned(&view).to_vec()));
        }
        all.push(outputs);
    }
    for (on_threads, apart) in all[0].iter().zip(&all[1]) {
        // The order of attributes in HTML is drawn anew for each attempt.
        let sorted = |output: &[u8]| {
            let mut bytes = output.to_vec();
            bytes.sort_unstable();
            bytes
        };
        let (one, other) = (sorted(&on_threads.1), sorted(&apart.1));
        assert!(!one.is_empty() && one == other, "{}", apart.0);
    }
}

#[tokio::test]
async fn a_worker_that_dies_costs_its_tenant_an_attempt_and_nobody_else_anything() {
    let site = Site::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = settings(folder.path(), "process");
    let mut host = site.host("host", &["--config", &config]).await;
    let info = site.client.broker().hosts().await.expect("a broker").remove(0);
    assert_eq!(info.isolation.len(), 6, "{:?}", info.isolation);

    // Those in which plugins described themselves are over.
    eventually("nobody has a worker", || async { workers(&host).is_empty().then_some(()) }).await;
    let victim = submit(&site, of("acme", "progress", "6000")).await;
    let first = eventually("its tenant has a worker", || async { workers(&host).pop() }).await;
    for told in ["cmdline", "environ"] {
        // Not readable where the kernel hides it from its own user.
        let told = std::fs::read_to_string(format!("/proc/{first}/{told}")).unwrap_or_default();
        assert!(!told.contains("PATH=") && !told.contains("redis"), "{told}");
    }
    eventually("its worker runs it", || async {
        let view = site.client.find(victim).await.expect("a broker").expect("it is kept");
        view.progress.map(drop)
    })
    .await;
    let neighbour = submit(&site, of("zenith", "sleep", "1000")).await;
    eventually("the other tenant has another", || async {
        (workers(&host).len() == 2).then_some(())
    })
    .await;
    let killed = std::process::Command::new("kill").args(["-KILL", &first.to_string()]).status();
    assert!(killed.expect("kill").success());

    let unharmed = site.wait(neighbour).await;
    assert_eq!((unharmed.state, unharmed.attempts()), (State::Completed, 1));
    let again = site.wait(victim).await;
    assert_eq!((again.state, again.attempts()), (State::Completed, 2), "it is tried again");

    let left = workers(&host);
    assert!(!left.is_empty() && !left.contains(&first));
    host.signal("TERM");
    let _ = host.wait(Duration::from_secs(60));
    eventually("no worker outlives its host", || async {
        left.iter().all(|pid| !Path::new("/proc").join(pid.to_string()).exists()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_swap_in_worker_processes_fails_no_task() {
    let site = Site::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = settings(folder.path(), "process");
    let mut versions = vec![install_version(site.folder(), "unruly", 0)];
    let host = site.host("host", &["--config", &config]).await;
    site.serves("unruly", versions[0]).await;
    let slow = submit(&site, of("acme", "sleep", "4000")).await;
    site.running(slow).await;
    let first = eventually("its tenant has a worker", || async { workers(&host).pop() }).await;
    let mut ids = Vec::new();
    for swap in 1..=5 {
        let under_way = (0..20).map(|_| of("acme", "noop", "")).collect();
        ids.extend(site.client.submit_many(under_way).await.expect("submitted"));
        let digest = install_version(site.folder(), "unruly", swap);
        versions.push(digest);
        site.serves("unruly", digest).await;
        let next = submit(&site, of("acme", "noop", "")).await;
        assert_eq!(version(&site.wait(next).await), digest);
    }
    let view = site.wait(slow).await;
    assert_eq!((view.state, view.attempts(), version(&view)), (State::Completed, 1, versions[0]));
    for submitted in ids {
        let view = site.wait(submitted.id).await;
        assert_eq!((view.state, view.attempts()), (State::Completed, 1), "{view:?}");
        assert!(versions.contains(&version(&view)));
    }
    // The plugin may touch what it could before, so its tenant keeps its worker.
    eventually("the others' are over", || async { (workers(&host) == [first]).then_some(()) })
        .await;
}

/// A host on a kernel that lacks something.
fn on_older_kernel(site: &Site, lacks: &str, extra: &[&str]) -> HostProcess {
    let mut command = HostProcess::on_older_kernel(lacks);
    command.args(["--broker", &site.server.url(), "run", "--name", "host", "--plugins"]);
    command.arg(site.folder()).args(extra);
    HostProcess::spawn(command, site.folder().join("host.log"))
}

#[tokio::test]
async fn an_operator_is_told_what_the_kernel_lacks() {
    let site = Site::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("bulkhead.toml");
    std::fs::write(&config, "host.isolation = \"process\"\n").expect("write settings");
    for (lacks, missing, left) in [
        ("landlock", "files network scopes", vec!["limits", "hidden", "syscalls"]),
        ("seccomp", "syscalls", vec!["limits", "hidden", "files", "network", "scopes"]),
    ] {
        let mut host = on_older_kernel(&site, lacks, &["--config", &config.display().to_string()]);
        let info = eventually("it is there", || async {
            let hosts = site.client.broker().hosts().await.ok()?;
            hosts.into_iter().find(|info| info.pid == host.pid())
        })
        .await;
        assert_eq!(info.isolation, left);
        let log = host.log();
        assert!(log.contains("the kernel lacks layers of protection"), "{log}");
        assert!(log.contains(missing) && log.contains("host.isolation_strict"), "{log}");
        let mut list = HostProcess::command();
        list.args(["--broker", &site.server.url(), "host", "list"]);
        let listed = list.output().expect("the binary runs").stdout;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        let told = format!("processes, {} of 6 layers", left.len());
        assert!(listed.contains(&told), "{told}: {listed}");
        let done = site.ended("echo", "x").await;
        assert_eq!(returned(&done), b"x", "it serves with what is left");
        host.kill();
    }
}

#[tokio::test]
async fn where_every_layer_is_demanded_no_host_starts_without_one() {
    let site = Site::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = settings(folder.path(), "process");
    for (lacks, missing) in [("landlock", "files, network, scopes"), ("seccomp", "syscalls")] {
        let mut host = on_older_kernel(&site, lacks, &["--config", &config]);
        assert!(!host.wait(Duration::from_secs(60)).success());
        let log = host.log();
        assert!(log.contains(&format!("the kernel lacks {missing}")), "{log}");
    }
}
