//! Plugins that tenants bring: whose tasks they serve, what they see, what they are granted, and
//! how many there may be. With a real host, on either broker where tasks are claimed.

use std::path::{Path, PathBuf};

use bulkhead::{CacheFolder, HostOptions, LiveSettings, SettingsWriter};
use bulkhead_core::{Digest, State, TaskId, TenantName};
use bulkhead_queue::{NewTask, PluginInfo, RejectedVersion, TaskView};
use bulkhead_tests::{
    Inside, Running, eventually, guest, install, install_as, install_version, on_both_brokers,
    output, task,
};
use tempfile::TempDir;

on_both_brokers!(
    a_tenants_plugin_serves_its_own_tenant_and_a_new_tenant_is_found,
    who_has_no_plugin_of_its_own_has_the_operators_and_no_values_of_another,
    sharing_begins_and_ends_without_a_restart,
);

/// A place where tenants bring plugins.
struct Place {
    inside: Inside,
    tenants: TempDir,
    cache: TempDir,
    writer: Option<SettingsWriter>,
}

impl Place {
    fn new(inside: Inside) -> Self {
        let folder = || tempfile::tempdir().expect("a folder");
        Self { inside, tenants: folder(), cache: folder(), writer: None }
    }

    /// A tenant's folder, made if it is not there.
    fn of(&self, tenant: &str) -> PathBuf {
        let folder = self.tenants.path().join(tenant);
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    fn configured(&self, config: &str) -> HostOptions {
        self.inside.configured(config)
    }

    /// Start a host that compiles each content once.
    async fn host(&mut self, config: &str) -> Running {
        let options = self.configured(config);
        let (writer, settings) = LiveSettings::new((*options.settings.now()).clone());
        self.writer = Some(writer);
        let cache = CacheFolder { folder: self.cache.path().join("c"), max_bytes: 1 << 30 };
        let options = HostOptions {
            settings,
            tenants_dir: Some(self.tenants.path().to_owned()),
            cache: Some(cache),
            ..options
        };
        self.inside.host("h1", options).await
    }

    /// The host's configuration says this now.
    fn say(&self, config: &str) {
        let settings = (*self.configured(config).settings.now()).clone();
        let writer = self.writer.as_ref().expect("a host");
        assert!(writer.replace(settings), "something new");
    }

    async fn plugin(&self, name: &str) -> Option<PluginInfo> {
        let hosts = self.inside.broker.hosts().await.ok()?;
        hosts.into_iter().flat_map(|host| host.plugins).find(|plugin| plugin.name == name)
    }

    async fn serves(&self, name: &str) -> PluginInfo {
        eventually(&format!("{name} serves"), || async {
            let plugin = self.plugin(name).await?;
            (plugin.serving.is_some() && plugin.rejected.is_none()).then_some(plugin)
        })
        .await
    }

    async fn refused(&self, name: &str, gate: &str) -> RejectedVersion {
        eventually(&format!("{name} is refused at {gate}"), || async {
            self.plugin(name).await?.rejected.filter(|rejected| rejected.gate == gate)
        })
        .await
    }

    async fn gone(&self, name: &str) {
        eventually(&format!("{name} is gone"), || async {
            self.plugin(name).await.is_none().then_some(())
        })
        .await;
    }

    async fn submit(&self, tenant: &str, lines: &[&str]) -> TaskId {
        let mut task: NewTask = task("note", lines.join("\n"));
        task.tenant = TenantName::new(tenant).expect("a name");
        self.inside.submit(task).await
    }

    /// What the tenant's task comes to, and which version ran it.
    async fn told(&self, tenant: &str, lines: &[&str]) -> (Vec<String>, Digest) {
        let id = self.submit(tenant, lines).await;
        self.end_of(id).await
    }

    async fn end_of(&self, id: TaskId) -> (Vec<String>, Digest) {
        let view: TaskView = self.inside.wait(id).await;
        assert_eq!(view.state, State::Completed, "{:?}", view.last_report());
        let version = view.last_report().expect("a report").digest;
        (output(&view).lines().map(str::to_owned).collect(), version)
    }

    /// A task that nobody may serve waits as it was submitted.
    async fn waits(&self, id: TaskId) {
        let view = self.inside.view(id).await;
        assert_eq!((view.state, view.attempts()), (State::Pending, 0), "{view:?}");
    }
}

fn one(line: &str) -> Vec<String> {
    vec![line.to_owned()]
}

async fn a_tenants_plugin_serves_its_own_tenant_and_a_new_tenant_is_found(inside: Inside) {
    let mut place = Place::new(inside);
    let first = install_version(&place.of("acme"), "notebook", 1);
    let _host = place.host("[tenants.\"*\".grants.notebook]\nkv = true").await;
    let info = place.serves("acme/notebook").await;
    let serving = info.serving.expect("it serves");
    assert_eq!((info.owner.as_deref(), &serving.tenants), (Some("acme"), &one("acme")));
    let others = [place.submit("globex", &["a"]).await, place.submit("default", &["a"]).await];
    assert_eq!(
        place.told("acme", &["a=acmes", "a"]).await,
        (vec!["v1".into(), "acmes".into()], first)
    );
    for id in others {
        place.waits(id).await;
    }

    // The same name and the same type, of another tenant whose folder is new.
    let second = install_version(&place.of("globex"), "notebook", 2);
    assert_eq!(place.end_of(others[0]).await, (one("none"), second));
    assert_eq!(place.told("globex", &["a=globexs"]).await, (one("v1"), second));
    assert_eq!(place.told("acme", &["a"]).await, (one("acmes"), first));
    place.waits(others[1]).await;

    // A folder that goes takes its plugins along, and its tenant's tasks wait.
    std::fs::remove_dir_all(place.of("acme")).expect("removed");
    place.gone("acme/notebook").await;
    let waiting = place.submit("acme", &["a"]).await;
    assert_eq!(place.told("globex", &["a"]).await, (one("globexs"), second));
    place.waits(waiting).await;
    install_version(&place.of("acme"), "notebook", 1);
    assert_eq!(place.end_of(waiting).await, (one("acmes"), first));
}

async fn who_has_no_plugin_of_its_own_has_the_operators_and_no_values_of_another(inside: Inside) {
    let mut place = Place::new(inside);
    let operators = install_version(place.inside.folder(), "notebook", 0);
    let own = install_version(&place.of("acme"), "notebook", 1);
    let config = "[grants.notebook]\nkv = true\n[tenants.acme.grants.notebook]\nkv = true";
    let _host = place.host(config).await;
    place.serves("notebook").await;
    place.serves("acme/notebook").await;
    assert_eq!(place.told("acme", &["a=own"]).await, (one("v1"), own));
    assert_eq!(place.told("globex", &["a"]).await, (one("none"), operators));
    std::fs::remove_file(place.of("acme").join("notebook.wasm")).expect("removed");
    place.gone("acme/notebook").await;
    // The same tenant and the same name, and yet another plugin.
    assert_eq!(place.told("acme", &["a", "*", "a=operators"]).await.0, ["none", "[]", "v1"]);
    // One of its own that does not serve leaves its tasks to what comes next.
    install_as(&place.of("acme"), "notebook", b"no plugin");
    place.refused("acme/notebook", "invalid").await;
    assert_eq!(place.told("acme", &["a"]).await, (one("operators"), operators));
    install_version(&place.of("acme"), "notebook", 1);
    place.serves("acme/notebook").await;
    assert_eq!(place.told("acme", &["a"]).await, (one("own"), own));
}

async fn sharing_begins_and_ends_without_a_restart(inside: Inside) {
    let mut place = Place::new(inside);
    let acmes = install_version(&place.of("acme"), "notebook", 1);
    let granted = "[tenants.acme.grants.notebook]\nkv = true\n";
    let share = |with: &str| format!("{granted}[tenants.acme.share]\nnotebook = [{with}]\n");
    let _host = place.host(granted).await;
    place.serves("acme/notebook").await;
    let waiting = place.submit("globex", &["a=globexs"]).await;
    assert_eq!(place.told("acme", &["a=acmes"]).await.1, acmes);
    place.waits(waiting).await;

    place.say(&share("\"globex\""));
    assert_eq!(place.end_of(waiting).await, (one("v1"), acmes));
    assert_eq!(place.told("acme", &["a"]).await.0, ["acmes"], "values are by tenant");
    assert_eq!(place.told("globex", &["a"]).await.0, ["globexs"]);
    let others = place.submit("other", &["a"]).await;
    let told = eventually("its tenants are told", || async {
        let tenants = place.plugin("acme/notebook").await?.serving?.tenants;
        (tenants.len() == 2).then_some(tenants)
    })
    .await;
    assert_eq!(told, ["acme", "globex"]);
    place.waits(others).await;

    place.say(&share("\"*\""));
    assert_eq!(place.end_of(others).await, (one("none"), acmes));
    place.say(granted);
    eventually("it is shared no more", || async {
        let tenants = place.plugin("acme/notebook").await?.serving?.tenants;
        (tenants == ["acme"]).then_some(())
    })
    .await;
    let waiting = place.submit("globex", &["a"]).await;
    assert_eq!(place.told("acme", &["a"]).await.0, ["acmes"]);
    place.waits(waiting).await;
}

#[tokio::test]
async fn what_a_tenants_manifest_grants_is_the_operators_to_say() {
    let mut place = Place::new(Inside::embedded());
    let folder = place.of("acme");
    std::fs::write(folder.join("notebook.toml"), "[grants]\nkv = true\n").expect("a manifest");
    install(&folder, "notebook");
    let _host = place.host("[grants.notebook]\nkv = true").await;
    let refused = place.refused("acme/notebook", "imports").await;
    let lines = "bulkhead.toml:\n[tenants.acme.grants.notebook]\nkv = true";
    assert!(refused.reason.ends_with(lines), "{}", refused.reason);
    place.say("[tenants.acme.grants.notebook]\nkv = { keys = 1 }");
    place.serves("acme/notebook").await;
    let (told, _) = place.told("acme", &["a=", "b="]).await;
    assert!(told[1].contains("`keys`"), "{told:?}");
    // Only where the operator says so the manifest counts.
    place.say("");
    place.refused("acme/notebook", "imports").await;
    place.say("[tenants.acme]\ngrants_from = \"manifest\"");
    place.serves("acme/notebook").await;
    assert_eq!(place.told("acme", &["c="]).await.0.len(), 1);
    // How often it may run at one time is not for a tenant to say.
    std::fs::write(folder.join("notebook.toml"), "instances = 1").expect("a manifest");
    let refused = place.refused("acme/notebook", "manifest").await;
    assert!(refused.reason.contains("`instances`"), "{}", refused.reason);
}

#[tokio::test]
async fn values_of_a_plugin_are_for_its_owners_one() {
    let mut place = Place::new(Inside::embedded());
    install(place.inside.folder(), "configured");
    for tenant in ["acme", "globex"] {
        install(&place.of(tenant), "configured");
    }
    let config = "[grants.configured]\nconfig = true\n[tenants.\"*\".grants.\"*\"]\nconfig = true\n\
        [config.configured]\ngreeting = \"the operator's\"\n\
        [tenants.acme.config.configured]\nextra = \"the operator's for acme\"\n\
        [config.\"acme/configured\"]\ngreeting = \"acme's\"\n\
        [tenants.acme.config.\"acme/configured\"]\nextra = \"acme's for acme\"\n";
    let _host = place.host(config).await;
    for plugin in ["configured", "acme/configured", "globex/configured"] {
        place.serves(plugin).await;
    }
    let asked = async |tenant: &str, key: &str| {
        let mut task = task("configured", key);
        task.tenant = TenantName::new(tenant).expect("a name");
        let id = place.inside.submit(task).await;
        place.end_of(id).await.0.join("")
    };
    assert_eq!(asked("acme", "greeting").await, "acme's");
    assert_eq!(asked("acme", "extra").await, "acme's for acme");
    assert_eq!(asked("globex", "greeting").await, "none");
    assert_eq!(asked("other", "greeting").await, "the operator's");
    std::fs::remove_dir_all(place.of("acme")).expect("removed");
    place.gone("acme/configured").await;
    assert_eq!(asked("acme", "extra").await, "the operator's for acme");
}

#[tokio::test]
async fn too_many_files_wait_in_the_order_of_their_names() {
    let mut place = Place::new(Inside::embedded());
    let folder = place.of("acme");
    let named = |name: &str| {
        std::fs::write(folder.join(format!("{name}.toml")), format!("task_types = [\"{name}\"]"))
            .expect("a manifest");
        install_as(&folder, name, &guest("command"))
    };
    let [first, second] = ["b", "c"].map(named);
    let host = place.host("[tenants.acme]\nplugins = 1").await;
    place.serves("acme/b").await;
    let waits = place.refused("acme/c", "quota").await;
    assert!(waits.reason.contains("`plugins` of the tenant `acme` is 1"), "{}", waits.reason);
    // What serves stays, whatever comes before it by name.
    named("a");
    place.refused("acme/a", "quota").await;
    assert!(place.plugin("acme/b").await.expect("known").serving.is_some());
    std::fs::remove_file(&first).expect("removed");
    place.serves("acme/a").await;
    place.refused("acme/c", "quota").await;
    let bytes = std::fs::metadata(&second).expect("a file").len();
    place.say(&format!("[tenants.\"*\"]\nplugin_bytes = {}", bytes * 2));
    place.serves("acme/c").await;
    named("d");
    let waits = place.refused("acme/d", "quota").await;
    assert!(waits.reason.contains("`plugin_bytes`"), "{}", waits.reason);
    drop(host);
}

#[tokio::test]
async fn compiling_beyond_a_tenants_time_waits_and_what_is_cached_costs_nothing() {
    let mut place = Place::new(Inside::embedded());
    install_version(&place.of("acme"), "notebook", 1);
    let bounds = "[tenants.\"*\".grants.\"*\"]\nkv = true\nconfig = true\n\
        [tenants.thrifty]\ncompile_time_per_hour = \"0s\"\n";
    let _host =
        place.host(&format!("{bounds}[tenants.acme]\ncompile_time_per_hour = \"1 ms\"")).await;
    // What has begun is let end.
    place.serves("acme/notebook").await;
    install(&place.of("acme"), "configured");
    let waits = place.refused("acme/configured", "quota").await;
    for says in ["waits", "`acme`", "`compile_time_per_hour` is 1ms"] {
        assert!(waits.reason.contains(says), "{}", waits.reason);
    }
    // Another tenant without any time has the same content from the cache, and no other.
    install_version(&place.of("thrifty"), "notebook", 1);
    place.serves("thrifty/notebook").await;
    install_version(&place.of("thrifty"), "notebook", 2);
    place.refused("thrifty/notebook", "quota").await;
    assert_eq!(place.told("thrifty", &["a"]).await.0, ["none"], "what served serves on");
    install(&place.of("globex"), "configured");
    place.serves("globex/configured").await;
    place.say(&format!("{bounds}[tenants.acme]\ncompile_time_per_hour = \"1h\""));
    place.serves("acme/configured").await;
}

#[tokio::test]
async fn a_folder_that_is_never_at_rest_delays_nobody_else() {
    let mut place = Place::new(Inside::embedded());
    let restless = place.of("acme").join("restless.wasm");
    install(&place.of("globex"), "notebook");
    let _host = place.host("").await;
    place.refused("globex/notebook", "imports").await;
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let writer = std::thread::spawn(move || {
        let often = std::time::Duration::from_millis(5);
        let mut times = 0_u64;
        while stopped.recv_timeout(often) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            times += 1;
            std::fs::write(&restless, times.to_le_bytes()).expect("written");
        }
        times
    });
    // What the operator says takes effect, and a look that is asked for comes to its end.
    place.say("[tenants.globex.grants.notebook]\nkv = true");
    place.serves("globex/notebook").await;
    let rescans = async || {
        let hosts = place.inside.broker.hosts().await.expect("a broker");
        hosts.first().expect("a host").rescans
    };
    let before = rescans().await;
    assert_eq!(place.inside.broker.request_rescan().await.expect("a broker"), 1);
    eventually("the look is over", || async { (rescans().await > before).then_some(()) }).await;
    install_version(&place.of("initech"), "notebook", 1);
    place.refused("initech/notebook", "imports").await;
    assert!(!writer.is_finished());
    drop(stop);
    assert!(writer.join().expect("the writer") > 1);
}

#[tokio::test]
async fn trust_is_each_tenants_own() {
    let mut place = Place::new(Inside::embedded());
    for tenant in ["acme", "globex"] {
        install(&place.of(tenant), "notebook");
    }
    let key = bulkhead::trust::SecretKey::from_random(&[7; 32]);
    let config = format!(
        "[tenants.\"*\".grants.\"*\"]\nkv = true\n[tenants.acme.trust]\npolicy = \"signed\"\n\
         keys.release = \"{}\"",
        key.public()
    );
    let _host = place.host(&config).await;
    place.serves("globex/notebook").await;
    let refused = place.refused("acme/notebook", "trust").await;
    assert!(refused.reason.contains("`tenants.acme.trust.policy`"), "{}", refused.reason);
    let signature = key.sign("notebook", refused.digest);
    std::fs::write(place.of("acme").join("notebook.wasm.sig"), &signature).expect("a signature");
    place.serves("acme/notebook").await;
    // It is withdrawn as it came.
    std::fs::remove_file(place.of("acme").join("notebook.wasm.sig")).expect("removed");
    place.refused("acme/notebook", "trust").await;
    assert!(place.plugin("acme/notebook").await.expect("known").serving.is_none());
}

#[tokio::test]
async fn links_lead_into_nobodys_folder() {
    let mut place = Place::new(Inside::embedded());
    let outside = tempfile::tempdir().expect("a folder");
    let link = |to: &Path, from: PathBuf| std::os::unix::fs::symlink(to, from).expect("a link");
    install(outside.path(), "notebook");
    install(&place.of("acme"), "notebook");
    let root = place.tenants.path().to_owned();
    link(outside.path(), root.join("outsider"));
    link(Path::new("acme"), root.join("thief"));
    link(&outside.path().join("notebook.wasm"), place.of("globex").join("out.wasm"));
    link(Path::new("../acme/notebook.wasm"), place.of("globex").join("across.wasm"));
    let _host = place.host("[tenants.\"*\".grants.\"*\"]\nkv = true").await;
    place.serves("acme/notebook").await;
    let waiting = [
        place.submit("outsider", &["a"]).await,
        place.submit("thief", &["a"]).await,
        place.submit("globex", &["a"]).await,
    ];
    // A file that is put in later has been looked at after all of these.
    install_as(&place.of("zeta"), "last", &guest("idle"));
    place.serves("zeta/last").await;
    let hosts = place.inside.broker.hosts().await.expect("a broker");
    let known = hosts.into_iter().flat_map(|host| host.plugins).filter_map(|plugin| plugin.owner);
    let known: Vec<String> = known.collect();
    assert_eq!(known, ["acme", "zeta"]);
    for id in waiting {
        place.waits(id).await;
    }
}
