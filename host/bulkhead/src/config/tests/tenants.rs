//! What is said of the plugins that tenants bring.

use std::time::Duration;

use bulkhead_core::TenantName;

use super::*;
use crate::plugins::{GrantsFrom, Identity, PluginQuota, Sharing};
use crate::trust::{SecretKey, TrustPolicy};

fn tenant(name: &str) -> TenantName {
    TenantName::new(name).unwrap()
}

#[test]
fn a_tenants_section_is_read_and_shown() {
    let key = SecretKey::from_random(&[1; 32]).public();
    let text = format!(
        r#"
        [plugins]
        tenants_dir = "brought"
        [tenants.acme]
        plugins = 20
        plugin_bytes = "1 MiB"
        compile_time_per_hour = "60 s"
        grants_from = "manifest"
        [tenants.acme.grants.resize]
        kv = {{ keys = 7 }}
        fs = {{ dirs = [{{ host = "data", guest = "/d", access = "read" }}] }}
        [tenants.acme.share]
        resize = ["globex", "initech"]
        crop = ["*"]
        [tenants.acme.trust]
        policy = "signed"
        keys.acme = "{key}"
        [tenants."*"]
        plugins = 3
        [tenants."*".grants."*"]
        config = true
        [config."acme/resize"]
        size = "small"
        "#
    );
    let (dir, sources) = file("bulkhead.toml", &text);
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.host.tenants_dir, Some(dir.path().join("brought")));
    let settings = config.host.settings.now();
    let minute = Some(Duration::from_secs(60));
    let quota = PluginQuota { files: Some(20), bytes: Some(1 << 20), compile_per_hour: minute };
    assert_eq!(settings.plugin_quota(&tenant("acme")), quota);
    assert_eq!(settings.plugin_quota(&tenant("other")).files, Some(3));
    assert_eq!(settings.tenants[&tenant("acme")].grants_from, Some(GrantsFrom::Manifest));
    let id = Identity::of(Some(&tenant("acme")), "resize");
    let granted = settings.grants(&id, Default::default());
    assert!(granted.config && granted.kv.is_some_and(|kv| kv.keys == 7));
    assert_eq!(granted.fs.unwrap().dirs[0].host, dir.path().join("data"));
    let with = Sharing::With([tenant("globex"), tenant("initech")].into());
    assert_eq!(settings.sharing(&tenant("acme"), "resize"), Some(&with));
    assert_eq!(settings.sharing(&tenant("acme"), "crop"), Some(&Sharing::Everyone));
    assert_eq!(settings.sharing(&tenant("globex"), "resize"), None);
    assert_eq!(settings.trust(Some(&tenant("acme"))).policy, TrustPolicy::Signed);
    assert_eq!(settings.trust(Some(&tenant("other"))).policy, TrustPolicy::Any);
    assert_eq!(settings.value("acme/resize", &tenant("globex"), "size"), Some("small"));
    assert_eq!(settings.value("resize", &tenant("globex"), "size"), None);

    assert_eq!(setting(&config, "tenants.acme.plugins").value, 20);
    assert_eq!(setting(&config, "tenants.acme.compile_time_per_hour").value, "1m");
    assert_eq!(setting(&config, "tenants.acme.grants.resize.kv.keys").value, 7);
    assert_eq!(setting(&config, "tenants.acme.share.crop").value, serde_json::json!(["*"]));
    assert_eq!(setting(&config, "config.acme/resize.size").value, "small");
    let shown = |key: &str| config.settings().iter().any(|setting| setting.key == key);
    assert!(!shown("tenants.*.plugin_bytes"), "what bounds nothing is not shown");
    let none = Config::load(&Sources::default()).unwrap();
    assert_eq!(none.host.tenants_dir, None);
    assert!(!none.settings().iter().any(|setting| setting.key == "plugins.tenants_dir"));
}

#[test]
fn what_makes_no_sense_of_a_tenant_says_where() {
    for (text, key, says) in [
        ("[tenants.\"*\".share]\nresize = [\"a\"]", "tenants.*.share", "its own tenant's section"),
        (
            "[tenants.acme.share]\nresize = [\"*\", \"a\"]",
            "tenants.acme.share.resize",
            "the only one",
        ),
        ("[tenants.acme.share]\nresize = [\"no name\"]", "tenants.acme.share.resize", "no name"),
        ("[tenants.acme.share]\n\"a/b\" = [\"c\"]", "tenants.acme.share.a/b", "'/'"),
        ("[tenants.acme]\nplugins = 1001", "tenants.acme.plugins", "0 to 1000"),
        ("[tenants.acme]\ncompile_time_per_hour = \"2d\"", "compile_time_per_hour", "1d"),
        ("[tenants.acme]\ngrants_from = \"me\"", "tenants.acme.grants_from", "`me`"),
        ("[tenants.acme.grants.a]\nkw = true", "tenants.acme.grants.a", "kw"),
        ("[grants.\"*\"]\nkv = true", "grants.*", "'*'"),
        ("[tenants.acme.trust]\npolicy = \"signed\"", "tenants.acme.trust.policy", "no key"),
        ("[tenants.acme.trust.pins]\na = \"x\"", "tenants.acme.trust.pins.a", "sha256:"),
        ("[config.\"a/b/c\"]\nk = \"v\"", "config.a/b/c", "'/'"),
        ("[plugins]\ntenants_dir = \"\"", "plugins.tenants_dir", "empty"),
        ("[tenants.acme]\npluggins = 1", "tenants.acme.pluggins", "`plugins`"),
    ] {
        let error = problems("bulkhead.toml", text);
        assert!(error.contains(key) && error.contains(says), "{text}: {error}");
    }
}
