//! What plugins are granted and which values they may ask for.

use bulkhead_core::TenantName;
use bulkhead_sandbox::Clocks;

use super::*;
use crate::options::FleetPolicy;
use crate::plugins::GrantsFrom;

#[test]
fn grants_and_values_are_read_and_shown() {
    let (_dir, mut sources) = file(
        "bulkhead.toml",
        r#"
        [plugins]
        grants_from = "configuration"
        [grants.mail]
        kv = { keys = 5 }
        clocks = "coarse"
        fs = { dirs = [{ host = "/srv", guest = "/srv", access = "read" }] }
        [config.mail]
        from = "us"
        [tenants.acme.config.mail]
        from = "acme"
        "#,
    );
    sources.env = env(&[("BULKHEAD_GRANTS__MAIL__CONFIG", "true")]);
    let config = Config::load(&sources).unwrap();
    let settings = config.host.settings.now();
    assert_eq!(settings.grants_from, GrantsFrom::Configuration);
    let grants = settings.grants(&"mail".into(), Default::default());
    assert_eq!(grants.kv.map(|kv| kv.keys), Some(5));
    assert!(grants.config && grants.clocks == Clocks::Coarse);
    let value = |tenant: &str| settings.value("mail", &TenantName::new(tenant).unwrap(), "from");
    assert_eq!((value("acme"), value("other")), (Some("acme"), Some("us")));
    assert_eq!(setting(&config, "grants.mail.kv.keys").value, 5);
    assert_eq!(setting(&config, "config.mail.from").value, "us");
    assert_eq!(setting(&config, "tenants.acme.config.mail.from").value, "acme");
    let origin = &setting(&config, "grants.mail.config").origin;
    assert_eq!(*origin, Origin::Env("BULKHEAD_GRANTS__MAIL__CONFIG".into()));
    assert_eq!(
        setting(&Config::load(&Sources::default()).unwrap(), "plugins.grants_from").value,
        "manifest"
    );
}

#[test]
fn pushed_plugins_are_taken_if_they_are_trusted_unless_it_says_otherwise() {
    assert_eq!(Config::load(&Sources::default()).unwrap().host.fleet, FleetPolicy::Trusted);
    for (text, policy) in [("any", FleetPolicy::Any), ("off", FleetPolicy::Off)] {
        for (name, said) in [
            ("bulkhead.toml", format!("[plugins]\nfleet = \"{text}\"\n")),
            ("bulkhead.yaml", format!("plugins:\n  fleet: {text}\n")),
        ] {
            let (_dir, sources) = file(name, &said);
            assert_eq!(Config::load(&sources).unwrap().host.fleet, policy, "{said}");
        }
    }
    let problem = problems("bulkhead.toml", "[plugins]\nfleet = \"on\"\n");
    assert!(problem.contains("plugins.fleet") && problem.contains("`trusted`"), "{problem}");
}

#[test]
fn storage_is_a_tenants_own_or_every_others() {
    let text = "[tenants.acme]\nstorage = \"1 MiB\"\n[tenants.none]\nstorage = 0\n\
                [tenants.silent.config.mail]\nfrom = \"x\"\n";
    let (_dir, mut sources) = file("bulkhead.toml", text);
    let storage = |config: &Config, tenant: &str| {
        config.host.settings.now().storage_bytes(&TenantName::new(tenant).unwrap())
    };
    let config = Config::load(&sources).unwrap();
    assert_eq!(storage(&config, "acme"), Some(1 << 20));
    assert_eq!((storage(&config, "none"), storage(&config, "other")), (Some(0), None));
    assert_eq!(setting(&config, "tenants.acme.storage").value, "1 MiB");
    let silent = config.settings().iter().any(|setting| setting.key == "tenants.silent.storage");
    assert!(!silent, "what bounds nothing is not shown");
    sources.env = env(&[("BULKHEAD_TENANTS__*__STORAGE", "2 KiB")]);
    let config = Config::load(&sources).unwrap();
    assert_eq!((storage(&config, "acme"), storage(&config, "none")), (Some(1 << 20), Some(0)));
    assert_eq!((storage(&config, "silent"), storage(&config, "other")), (Some(2_048), Some(2_048)));
}

#[test]
fn folders_are_meant_from_where_the_file_is() {
    let (dir, sources) = file(
        "bulkhead.toml",
        r#"
        host.scratch_dir = "scratch"
        [grants.mail]
        fs = { dirs = [
            { host = "fonts", guest = "/fonts", access = "read" },
            { host = "/srv", guest = "/srv", access = "read" },
        ] }
        "#,
    );
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.host.scratch_dir, dir.path().join("scratch"));
    let folders =
        config.host.settings.now().grants(&"mail".into(), Default::default()).fs.unwrap().dirs;
    assert_eq!(folders[0].host, dir.path().join("fonts"));
    assert_eq!(folders[1].host, std::path::Path::new("/srv"));
    let manifest = "[grants]\nfs.dirs = [{ host = \"fonts\", guest = \"/f\", access = \"read\" }]";
    let error = crate::manifest::parse("mail.toml", manifest).unwrap_err().to_string();
    assert!(error.contains("`fonts` must be an absolute path"), "{error}");
    let said = problems("bulkhead.toml", "host.scratch_dir = \"\"");
    assert!(said.contains("`host.scratch_dir`"), "{said}");
}

#[test]
fn a_changed_file_is_read_again() {
    let (dir, sources) = file("bulkhead.toml", "[config.mail]\nfrom = \"us\"\n");
    let config = Config::load(&sources).unwrap();
    std::fs::write(dir.path().join("bulkhead.toml"), "[config.mail]\nfrom = \"them\"\n").unwrap();
    let again = config.reload().unwrap();
    let settings = again.host.settings.now();
    assert_eq!(settings.value("mail", &TenantName::default(), "from"), Some("them"));
    assert_eq!(config.file(), Some(dir.path().join("bulkhead.toml").as_path()));
    std::fs::write(dir.path().join("bulkhead.toml"), "[config").unwrap();
    assert!(config.reload().is_err());
}

#[test]
fn what_makes_no_sense_says_where() {
    for (text, says) in [
        ("[plugins]\ngrants_from = \"them\"", "`plugins.grants_from`"),
        ("[grants.mail]\nkvs = true", "`grants.mail.kvs`"),
        ("[grants.mail]\nhttp = true", "`grants.mail.http`"),
        ("[grants.mail]\nhttp = {}", "`grants.mail.http`"),
        ("[grants.mail]\nkvs = true", "unknown field `kvs`"),
        ("[grants.mail]\nkv = { keys = 0 }", "`kv.keys` is 0"),
        ("[grants.mail]\nhttp = { allow = [\"x\"] }", "`x` is no rule"),
        ("[grants]\nmail = 5", "a table of grants"),
        ("[grants.\"a b\"]\nkv = true", "plugin's name `a b`"),
        ("[config.mail]\nfrom = 5", "a string"),
        ("[config.mail.from]\nx = \"y\"", "is no section"),
        ("[tenants.acme]\nconfg = {}", "did you mean `config`"),
        ("[tenants.acme]\nstorage = \"2 TiB\"", "`tenants.acme.storage`"),
        ("[tenants.\"*\".config.mail]\nx = \"y\"", "are those of `[config.NAME]`"),
        ("[tenants.\"a b\".config.mail]\nx = \"y\"", "tenant name `a b`"),
    ] {
        let said = problems("bulkhead.toml", text);
        assert!(said.contains(says), "{text}: {said}");
    }
    let large = format!("[config.mail]\nfrom = \"{}\"", "x".repeat(1 << 20));
    assert!(problems("bulkhead.toml", &large).contains("at most 1048576"));
}
