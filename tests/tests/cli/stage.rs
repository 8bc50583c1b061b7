//! Where the command line is tried: a broker of either kind, and what is masked in results.

use std::path::Path;
use std::time::Duration;

use bulkhead_tests::{HostProcess, Ran, RedisServer, eventually_within, install};
use serde_json::Value;

/// How long a host may take to compile its plugins on a busy machine.
const SERVES_WITHIN: Duration = Duration::from_secs(120);

/// A broker and the binary's way to it.
pub(crate) struct Place {
    pub(crate) url: String,
    folder: tempfile::TempDir,
    /// An embedded broker is in a host.
    _host: Option<HostProcess>,
    pub(crate) server: Option<RedisServer>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let server = RedisServer::start();
        Self { url: server.url(), folder: folder(), _host: None, server: Some(server) }
    }

    /// An embedded broker, in a host that serves another queue only.
    pub(crate) async fn embedded() -> Self {
        Self::in_host(&["--queue", "idle"], &[]).await
    }

    /// An embedded broker, in a host that serves these guests.
    pub(crate) async fn in_host(extra: &[&str], guests: &[&str]) -> Self {
        let folder = folder();
        let url = format!("embedded:{}", folder.path().join("data").display());
        let plugins = folder.path().join("plugins");
        std::fs::create_dir(&plugins).expect("a folder");
        for guest in guests {
            install(&plugins, guest);
        }
        let host = HostProcess::start(&url, &plugins, "h1", extra);
        let place = Self { url, folder, _host: Some(host), server: None };
        place.serves(guests.len()).await;
        place
    }

    /// A place on each broker where nobody serves the queue `default`.
    pub(crate) async fn each() -> [Self; 2] {
        [Self::new(), Self::embedded().await]
    }

    /// A place on each broker where the `unruly` guest is served.
    pub(crate) async fn each_with_host() -> [Self; 2] {
        let mut redis = Self::new();
        redis._host = Some(redis.host().await);
        [redis, Self::in_host(&[], &["unruly"]).await]
    }

    /// Wait until a host says that it is there and serves so many plugins. A host that answers
    /// need not have said so yet.
    async fn serves(&self, plugins: usize) {
        eventually_within(SERVES_WITHIN, "a host serves its plugins", || async {
            let listed = self.run(&["host", "list", "--json"]);
            // While the host starts there is nothing to list.
            let hosts: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap_or_default();
            let served = hosts.first()?["plugins"].as_array()?.iter();
            let served = served.filter(|plugin| plugin["serving"]["digest"].is_string()).count();
            (served == plugins).then_some(())
        })
        .await;
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A file in the place's folder.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, b"")
    }

    pub(crate) fn run_with(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut all = vec!["--broker", &self.url];
        all.extend(args);
        Ran::with(&all, input)
    }

    /// Run and read the document.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        self.run(&[args, &["--json"]].concat()).json()
    }

    /// A host that serves the `unruly` guest.
    pub(crate) async fn host(&self) -> HostProcess {
        install(self.path(), "unruly");
        let host = HostProcess::start(&self.url, self.path(), "h1", &[]);
        self.serves(1).await;
        host
    }

    pub(crate) fn submit(&self, args: &[&str]) -> String {
        let mut all = vec!["submit"];
        all.extend(args);
        self.run(&all).succeeds().stdout.trim().to_owned()
    }
}

pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Mask what differs from run to run.
pub(crate) fn masked(what: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    for (pattern, mask) in [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[ID]"),
        (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "[TIME]"),
        (r"\b\d{13}-\d+\b", "[EVENT]"),
        (r"\b\d{13}\b", "[UNIX MS]"),
        (r"(\d+[dhms] )?\d+[dhms] ago", "[AGO]"),
        (r"in (\d+[dhms] )+\d+[dhms]|in \d+[dhms]\b", "[AHEAD]"),
        (r"127\.0\.0\.1:\d+", "[SERVER]"),
        (r"\b[0-9a-f]{64}\b", "[DIGEST]"),
        (r"\b[0-9a-f]{12}\b", "[DIGEST]"),
        (r" +[\d.]+ (µs|ms|s)\b", " [DURATION]"),
        (r"fuel [\d.]+ ?[kMG]?", "fuel [FUEL]"),
        (r"memory [\d.]+ MiB", "memory [MEMORY]"),
        (
            r#""(fuel|peak_memory_bytes|cpu_us|wall_us|instantiate_us|compile_ms|pid)": \d+"#,
            r#""$1": "[MEASURED]""#,
        ),
    ] {
        settings.add_filter(pattern, mask);
    }
    settings.bind(what);
}

/// Mask it, and leave out how columns are aligned, which depends on what is masked.
pub(crate) fn masked_tables(what: impl FnOnce()) {
    masked(|| {
        let mut settings = insta::Settings::clone_current();
        settings.add_filter(" {2,}", "  ");
        settings.bind(what);
    });
}
