//! Guests in worker processes, through the real binary: what comes of tasks is the same, tenants
//! have processes of their own, and one that dies harms nobody else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bulkhead_core::{Outcome, State, TenantName};
use bulkhead_queue::{NewTask, TaskView};
use bulkhead_tests::{HostProcess, RedisServer, Site, eventually, install_shipped, task};

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
