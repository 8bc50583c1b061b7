//! Who serves whose tasks, with plugins that do nothing.

use bulkhead_core::{Digest, PluginName, TaskType, TenantName};
use bulkhead_queue::Serves;
use bulkhead_sandbox::{Manifest, PluginSource, Sandbox, SandboxConfig};

use super::*;
use crate::fleet::{Canary, CanaryPlan};

/// A command that ends well.
const NOTHING: &str = r#"(component
    (core module $m (func (export "run") (result i32) (i32.const 0)))
    (core instance $i (instantiate $m))
    (func $run (result (result)) (canon lift (core func $i "run")))
    (instance (export "wasi:cli/run@0.2.0") (export "run" (func $run))))"#;

struct Stage {
    sandbox: Sandbox,
    registry: Registry,
    writer: SettingsWriter,
}

fn tenant(name: &str) -> TenantName {
    TenantName::new(name).unwrap()
}

fn identity(text: &str) -> Identity {
    match text.split_once('/') {
        Some((owner, name)) => Identity::of(Some(&tenant(owner)), name),
        None => text.into(),
    }
}

impl Stage {
    fn new() -> Self {
        let config = SandboxConfig { concurrency: 1, ..SandboxConfig::default() };
        let (writer, live) = LiveSettings::new(PluginSettings::default());
        let registry = Registry::new(live, Metrics::default());
        Self { sandbox: Sandbox::new(config).unwrap(), registry, writer }
    }

    async fn serve(&self, plugin: &str, types: &str) -> Result<(), String> {
        self.serve_so_many(plugin, types, None).await
    }

    async fn serve_so_many(
        &self,
        plugin: &str,
        types: &str,
        instances: Option<u32>,
    ) -> Result<(), String> {
        let loaded = self.load(plugin, types, instances).await;
        self.registry.serve(identity(plugin), loaded, Remembering::default(), false, 0)
    }

    async fn load(&self, plugin: &str, types: &str, instances: Option<u32>) -> Plugin {
        let types = types.split(' ').map(|name| TaskType::new(name).unwrap()).collect();
        let manifest = Manifest { task_types: Some(types), instances, ..Manifest::default() };
        let (name, bytes) = (identity(plugin).name, wat::parse_str(NOTHING).unwrap());
        let source = PluginSource { name, bytes, manifest, account: None };
        self.sandbox.load(source).await.unwrap()
    }

    /// Let a version of an operator's plugin be on trial.
    async fn try_version(&self, plugin: &str, types: &str) -> Result<Digest, &'static str> {
        let loaded = self.load(plugin, types, None).await;
        let digest = loaded.digest();
        let plan = CanaryPlan::default();
        let canary = Canary {
            name: PluginName::new(plugin).unwrap(),
            owner: None,
            digest,
            version: None,
            base: None,
            by: plan.by,
            shares_permille: plan.shares_permille,
            attempts: plan.attempts,
            harm_permille: plan.harm_permille,
            began_at: 0,
            began_by: String::new(),
            ends_at: plan.within_ms,
            round: 0,
            past: Vec::new(),
            promoting: None,
            verdict: None,
        };
        let begun = self.registry.begin_trial(&canary.into(), loaded, Remembering::default(), 0);
        begun.map(|()| digest).map_err(|(gate, _)| gate)
    }

    /// Share as `owner/plugin: with, with`, one a line.
    fn share(&self, lines: &[&str]) {
        let mut settings = PluginSettings::default();
        for (plugin, with) in lines.iter().filter_map(|line| line.split_once(": ")) {
            let Identity { owner, name } = identity(plugin);
            let sharing = match with {
                EVERY => Sharing::Everyone,
                with => Sharing::With(with.split(", ").map(tenant).collect()),
            };
            let said = settings.tenants.entry(owner.unwrap()).or_default();
            said.share.insert(name, sharing);
        }
        self.writer.replace(settings);
        self.registry.reshare();
    }

    fn by(&self, task_type: &str, of: &str) -> String {
        let table = self.registry.table();
        let serving = table.get(&TaskType::new(task_type).unwrap(), &tenant(of));
        serving.map_or("nobody".into(), |serving| serving.shown.to_string())
    }

    fn serves(&self) -> String {
        let table = self.registry.table();
        let all: Vec<String> = table.serves().iter().map(Serves::to_string).collect();
        all.join(" ")
    }

    fn contested(&self, plugin: &str) -> Vec<String> {
        let info = self.registry.info();
        let info = info.into_iter().find(|info| info.name == plugin).unwrap();
        info.serving.unwrap().contested
    }
}

#[tokio::test]
async fn a_task_goes_to_its_tenants_own_plugin_then_to_a_shared_one_then_to_the_operators() {
    let stage = Stage::new();
    stage.serve("resize", "resize crop").await.unwrap();
    stage.serve("acme/resize", "resize stamp").await.unwrap();
    stage.serve("globex/resize", "resize").await.unwrap();
    assert_eq!(stage.by("resize", "acme"), "acme/resize");
    assert_eq!(stage.by("resize", "globex"), "globex/resize");
    assert_eq!(
        (stage.by("resize", "other"), stage.by("crop", "acme")),
        ("resize".into(), "resize".into())
    );
    assert_eq!(
        (stage.by("stamp", "acme"), stage.by("stamp", "globex")),
        ("acme/resize".into(), "nobody".into())
    );
    assert_eq!(stage.serves(), "crop resize stamp:acme");

    stage.share(&["acme/resize: globex, initech"]);
    assert_eq!(stage.by("resize", "globex"), "globex/resize", "its own comes first");
    assert_eq!(
        (stage.by("resize", "initech"), stage.by("stamp", "initech")),
        ("acme/resize".into(), "acme/resize".into())
    );
    assert_eq!(
        (stage.by("resize", "other"), stage.by("stamp", "other")),
        ("resize".into(), "nobody".into())
    );
    assert_eq!(stage.serves(), "crop resize stamp:acme stamp:globex stamp:initech");

    stage.share(&["acme/resize: *"]);
    assert_eq!(
        (stage.by("resize", "other"), stage.by("stamp", "other")),
        ("acme/resize".into(), "acme/resize".into())
    );
    assert_eq!(stage.serves(), "crop resize stamp");
    assert!(stage.contested("acme/resize").is_empty());

    stage.share(&[]);
    assert_eq!(
        (stage.by("resize", "initech"), stage.by("stamp", "initech")),
        ("resize".into(), "nobody".into())
    );
    assert!(stage.registry.remove(&identity("acme/resize")));
    assert_eq!(
        (stage.by("resize", "acme"), stage.by("stamp", "acme")),
        ("resize".into(), "nobody".into())
    );
}

#[tokio::test]
async fn a_type_is_taken_within_one_owner_only() {
    let stage = Stage::new();
    for plugin in ["a", "acme/a", "globex/a"] {
        stage.serve(plugin, "resize").await.unwrap();
    }
    for (plugin, holder) in [("b", "`a`"), ("acme/b", "`acme/a`")] {
        let taken = stage.serve(plugin, "crop resize").await.unwrap_err();
        assert!(taken.contains(holder) && taken.contains("b.toml"), "{taken}");
        assert_eq!(stage.by("crop", "acme"), "nobody");
    }
    stage.serve("acme/a", "resize crop").await.expect("a version takes nothing from itself");
    assert_eq!(stage.by("crop", "acme"), "acme/a");
}

#[tokio::test]
async fn a_version_on_trial_does_not_serve_a_type_that_another_plugin_took_meanwhile() {
    let stage = Stage::new();
    stage.serve("a", "resize").await.unwrap();
    let digest = stage.try_version("a", "resize crop").await.unwrap();
    stage.serve("b", "crop").await.expect("what is on trial serves nothing yet");
    assert_eq!(stage.try_version("a", "resize crop").await, Err(TASK_TYPE_TAKEN));
    let refused = stage.registry.promote_trial(&identity("a"), digest).unwrap_err();
    assert!(refused.contains("`crop`") && refused.contains("`b`"), "{refused}");
    assert_eq!(
        (stage.by("crop", "acme"), stage.by("resize", "acme")),
        ("b".into(), "a".into()),
        "as before"
    );
    assert!(stage.registry.remove(&identity("b")));
    let other = Digest([9; 32]);
    assert_eq!(stage.registry.promote_trial(&identity("a"), other), Ok(false));
    assert_eq!(stage.registry.promote_trial(&identity("a"), digest), Ok(true));
    assert_eq!(stage.by("crop", "acme"), "a");
    assert!(stage.registry.trials().is_empty());
}

#[tokio::test]
async fn of_two_that_are_shared_with_one_tenant_the_first_by_name_serves_it_and_it_is_told() {
    let stage = Stage::new();
    stage.serve("globex/resize", "resize").await.unwrap();
    stage.serve("acme/scale", "resize").await.unwrap();
    stage.share(&["globex/resize: initech, other", "acme/scale: initech"]);
    assert_eq!(
        (stage.by("resize", "initech"), stage.by("resize", "other")),
        ("acme/scale".into(), "globex/resize".into())
    );
    let told = stage.contested("globex/resize");
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("tenant `initech`") && told[0].contains("`acme/scale`"), "{told:?}");
    assert!(stage.contested("acme/scale").is_empty());

    stage.share(&["globex/resize: *", "acme/scale: *"]);
    assert_eq!(stage.by("resize", "other"), "acme/scale");
    assert!(stage.contested("globex/resize")[0].contains("of all tenants"));
    // What is shared by name goes before what is shared with everyone, and is no contest.
    stage.share(&["globex/resize: other", "acme/scale: *"]);
    assert_eq!(stage.by("resize", "other"), "globex/resize");
    assert!(
        stage.contested("globex/resize").is_empty() && stage.contested("acme/scale").is_empty()
    );
}

#[tokio::test]
async fn tenants_with_their_own_plugin_do_not_wait_for_the_operators() {
    let stage = Stage::new();
    stage.serve_so_many("resize", "resize", Some(1)).await.unwrap();
    stage.serve("acme/resize", "resize").await.unwrap();
    let claimable = || {
        let table = stage.registry.table();
        let (serves, most) = table.claimable();
        (serves.iter().map(Serves::to_string).collect::<Vec<_>>(), most)
    };
    assert_eq!(claimable(), (vec!["resize".into()], Some(1)));
    let operators = stage.registry.serving(&identity("resize")).unwrap();
    let running = operators.begin();
    assert_eq!(claimable(), (vec!["resize:acme".into()], None));
    drop(running);
    assert_eq!(claimable(), (vec!["resize".into()], Some(1)));
}
