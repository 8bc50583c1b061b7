//! What may be written under `[grants]`, what comes of it, and what is wrong with the rest.

use bulkhead_core::TaskType;
use bulkhead_core::outbound::Target;
use bulkhead_sandbox::Named;

use super::*;

fn said(text: &str) -> Result<SaidGrants, String> {
    toml::from_str(text).map_err(|error: toml::de::Error| error.to_string())
}

fn granted(text: &str) -> Grants {
    said(text).unwrap().granted()
}

#[test]
fn nothing_said_is_nothing_granted() {
    assert_eq!(granted(""), Grants::default());
    assert_eq!(granted("kv = false\nhttp = false\nconfig = false"), Grants::default());
}

#[test]
fn true_means_the_defaults_and_a_table_changes_some() {
    let grants = granted("kv = true");
    assert_eq!(grants.kv, Some(KvGrant::default()));
    let grants = granted("kv = { keys = 5, value = \"1 KiB\" }");
    let five = KvGrant { keys: 5, value_bytes: 1_024, ..KvGrant::default() };
    assert_eq!(grants.kv, Some(five));
}

#[test]
fn every_key_is_understood() {
    let grants = granted(
        r#"
        kv = { keys = 1, value = "1 B", total = "1 MiB", operations = 2 }
        config = true
        secrets = ["payment-token", "b"]
        enqueue = { types = ["thumbnail"], queues = ["*"], per_attempt = 3, bytes = 4, depth = 5 }
        clocks = "frozen"
        random = "seeded"
        [http]
        allow = ["GET https://*.example.org/v1/"]
        private = true
        metadata = true
        requests = 1
        connect_timeout = "1s"
        first_byte_timeout = "2s"
        between_bytes_timeout = "3s"
        request_body = "1 KiB"
        response_body = "2 KiB"
        headers = "4 KiB"
        connections = 6
        ca_file = "/etc/ca.pem"
        [fs]
        scratch = "64 MiB"
        scratch_files = 7
        dirs = [
            { host = "/srv/fonts", guest = "/fonts/", access = "read" },
            { host = "/srv/out", guest = "/out", access = "read_write", quota = "1 GiB", files = 8 },
        ]
        "#,
    );
    let http = grants.http.unwrap();
    let target = Target::of("GET", "https", "a.example.org", "/v1/x").unwrap();
    assert!(http.allow.permits(&target) && http.reach.private && http.reach.metadata);
    assert_eq!((http.requests, http.connections, http.header_bytes), (1, 6, 4_096));
    assert_eq!(http.between_bytes_timeout.as_secs(), 3);
    let fs = grants.fs.unwrap();
    assert_eq!(fs.scratch.map(|quota| (quota.bytes, quota.files)), Some((64 << 20, 7)));
    assert_eq!((fs.dirs[0].guest.as_str(), fs.dirs[0].write), ("/fonts", None));
    assert_eq!(fs.dirs[1].write.map(|quota| (quota.bytes, quota.files)), Some((1 << 30, 8)));
    let enqueue = grants.enqueue.unwrap();
    assert!(enqueue.types.allows(&TaskType::new("thumbnail").unwrap()));
    assert!(!enqueue.types.allows(&TaskType::new("other").unwrap()));
    assert_eq!((enqueue.queues, enqueue.bytes, enqueue.depth), (Named::Any, 4, 5));
    assert_eq!(grants.secrets.len(), 2);
    assert_eq!((grants.clocks, grants.random), (Clocks::Frozen, Randomness::Seeded));
}

#[test]
fn one_place_counts_for_each_capability_of_which_it_says_something() {
    let configuration = said("kv = false\nclocks = \"coarse\"").unwrap();
    let manifest = said("kv = true\nconfig = true\nclocks = \"frozen\"").unwrap();
    let grants = configuration.over(manifest).granted();
    assert_eq!((grants.kv, grants.config, grants.clocks), (None, true, Clocks::Coarse));
}

#[test]
fn what_makes_no_sense_says_what_and_where() {
    for (text, says) in [
        ("kvs = true", "unknown field `kvs`"),
        ("kv = 1", "expected `kv` to be `true`, `false` or a table"),
        ("kv = { kyes = 1 }", "unknown field `kyes`"),
        ("kv = { keys = 0 }", "`kv.keys` is 0"),
        ("kv = { value = \"1 GiB\" }", "`kv.value` is 1 GiB"),
        ("kv = { operations = -1 }", "-1"),
        ("http = true", "needs rules"),
        ("http = {}", "missing field `allow`"),
        ("http = { allow = [] }", "lists 0 rules"),
        ("http = { allow = [\"example.com\"] }", "`example.com` is no rule"),
        ("http = { allow = [\"https://a.example/\"], requests = 0 }", "`http.requests` is 0"),
        ("http = { allow = [\"https://a.example/\"], headers = \"1 GiB\" }", "`http.headers`"),
        ("http = { allow = [\"https://a.example/\"], ca_file = \"ca.pem\" }", "absolute path"),
        ("fs = true", "needs folders"),
        ("fs = { scratch = 0 }", "`fs.scratch` is 0 B"),
        ("fs = { scratch_files = 1 }", "give `scratch` too"),
        ("fs.dirs = [{ host = \"/a/../b\", guest = \"/a\", access = \"read\" }]", "without `..`"),
        ("fs.dirs = [{ host = \"/srv\", guest = \"/a/../b\", access = \"read\" }]", "`/fonts`"),
        ("fs.dirs = [{ host = \"/srv\", guest = \"/\", access = \"read\" }]", "`/fonts`"),
        ("fs.dirs = [{ host = \"/srv\", guest = \"/scratch/a\", access = \"read\" }]", "inside"),
        (
            "fs.dirs = [{ host = \"/srv\", guest = \"/a\", access = \"read\" }, \
             { host = \"/srv\", guest = \"/a/b\", access = \"read\" }]",
            "one inside the other",
        ),
        ("fs.dirs = [{ host = \"/srv\", guest = \"/a\", access = \"write\" }]", "`read_write`"),
        ("fs.dirs = [{ host = \"/srv\", guest = \"/a\", access = \"read_write\" }]", "a `quota`"),
        (
            "fs.dirs = [{ host = \"/srv\", guest = \"/a\", access = \"read\", quota = 1 }]",
            "only read",
        ),
        ("config = \"yes\"", "boolean"),
        ("secrets = [\"a b\"]", "secret's name `a b`"),
        ("enqueue = true", "needs types"),
        ("enqueue = { types = [] }", "lists 0 names"),
        ("enqueue = { types = [\"a b\"] }", "task type `a b`"),
        ("enqueue = { types = [\"*\", \"a\"] }", "task type `*`"),
        ("enqueue = { types = [\"a\"], depth = 0 }", "`enqueue.depth` is 0"),
        ("enqueue = { types = [\"a\"], per_attempt = 5000 }", "`enqueue.per_attempt` is 5000"),
        ("clocks = \"slow\"", "unknown variant `slow`"),
        ("random = true", "random"),
    ] {
        let error = said(text).unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
}
