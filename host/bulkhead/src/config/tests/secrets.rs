//! Where secrets are, and what is looked at before a host starts.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bulkhead_core::TenantName;

use super::*;
use crate::secrets::{Given, Key, Place};

fn private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn secrets_are_found_by_tenant_and_name_and_shown_by_their_places_only() {
    let (dir, mut sources) = file(
        "bulkhead.toml",
        r#"
        namespace = "ns"
        secrets_key = { file = "key", old = [{ env = "OLD_KEY" }] }
        [secrets.token]
        env = "TOKEN"
        [secrets.cert]
        file = "cert.pem"
        [tenants.acme.secrets]
        token = { stored = true }
        "#,
    );
    private(&dir.path().join("key"), Key::generate().unwrap().written().expose());
    private(&dir.path().join("cert.pem"), "of the file");
    let old = Key::generate().unwrap();
    sources.env = env(&[("TOKEN", "of the environment"), ("OLD_KEY", old.written().expose())]);
    let config = Config::load(&sources).unwrap();
    config.check_secrets().unwrap();
    let settings = config.host.settings.now();
    let place = |tenant: &str, name: &str| {
        let found = settings.secrets.find(&TenantName::new(tenant).unwrap(), name);
        found.map(|(_, place)| place.clone())
    };
    assert_eq!(place("acme", "token"), Some(Place::Stored));
    let cert = Place::Given(Given::File(dir.path().join("cert.pem")));
    assert_eq!(place("acme", "cert"), Some(cert));
    let Some(Place::Given(given)) = place("other", "token") else { panic!("given") };
    assert_eq!(given.secret().unwrap().expose(), "of the environment");
    assert_eq!(settings.secrets.namespace, "ns");
    assert!(config.secrets_keys().unwrap().find(old.id()).is_some());
    assert_eq!(setting(&config, "secrets.token.env").value, "TOKEN");
    assert_eq!(setting(&config, "tenants.acme.secrets.token.stored").value, true);
    let shown = format!("{config:?} {:?}", config.settings());
    for hidden in ["of the environment", old.written().expose()] {
        assert!(!shown.contains(hidden), "{shown}");
    }
    // The same environment is there when the file is read again.
    config.reload().unwrap().check_secrets().unwrap();
}

#[test]
fn what_makes_no_sense_says_where_and_repeats_no_value() {
    for (text, says) in [
        ("[secrets.token]", "`secrets.token` (default): name exactly one place"),
        ("[secrets.token]\nenv = \"A\"\nfile = \"b\"", "name exactly one place"),
        ("[secrets.token]\nstored = true\nfile = \"b\"", "name exactly one place"),
        ("[secrets.token]\nstored = false", "`stored` is true or left out"),
        ("[secrets.token]\nstored = true", "bulkhead secret key --out PATH"),
        ("[tenants.acme.secrets.token]\nstored = true", "`tenants.acme.secrets.token`"),
        ("[secrets]\ntoken = \"hush-hush\"", "this is a section, with `env`"),
        ("[secrets.token]\nvalue = \"hush-hush\"", "there is no such key"),
        ("[secrets.\"a b\"]\nenv = \"A\"", "secret's name `a b`"),
        ("[secrets.token]\nenv = \"\"", "no name of a variable"),
        ("[secrets.token]\nenv = \"BULKHEAD_TOKEN\"", "are settings"),
        ("[secrets.token]\nfile = \"\"", "`file` is empty"),
        ("[secrets_key]", "`secrets_key`"),
        ("[secrets_key]\nfile = \"a\"\nold = [{ fil = \"b\" }]", "unknown field"),
        ("[secrets_key]\nfile = \"a\"\nold = [{}]", "name exactly one place"),
    ] {
        let said = problems("bulkhead.toml", text);
        assert!(said.contains(says), "{text}: {said}");
        assert!(!said.contains("hush"), "{said}");
    }
}

#[test]
fn what_a_host_would_miss_is_found_before_it_starts() {
    let (dir, mut sources) = file(
        "bulkhead.toml",
        "secrets_key = { file = \"key\" }\n[secrets]\nunset = { env = \"UNSET\" }\n\
         short = { env = \"SHORT\" }\nopen = { file = \"open\" }\n[tenants.acme.secrets]\n\
         gone = { file = \"gone\" }\n",
    );
    sources.env = env(&[("SHORT", "hush")]);
    private(&dir.path().join("key"), "hush-hush");
    private(&dir.path().join("open"), "hush-hush");
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(dir.path().join("open"), open).unwrap();
    let config = Config::load(&sources).unwrap();
    let error = config.check_secrets().unwrap_err();
    let said = error.to_string();
    assert_eq!(error.problems.len(), 5, "{said}");
    for says in [
        "`secrets.unset` (file",
        "`UNSET` is not set",
        "`secrets.short` (file",
        "at least 6",
        "chmod 600",
        "`tenants.acme.secrets.gone`",
        "`secrets_key` (file",
        "it is no key",
    ] {
        assert!(said.contains(says), "{says}: {said}");
    }
    assert!(!said.contains("hush"), "{said}");
    let none = Config::load(&Sources::default()).unwrap();
    none.check_secrets().unwrap();
    let said = none.secrets_keys().unwrap_err().to_string();
    assert!(said.contains("bulkhead secret key --out"), "{said}");
}
