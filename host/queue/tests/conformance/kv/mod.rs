//! What plugins keep between attempts: `docs/capabilities.md`, section kv, sentence by sentence.

mod quotas;

use bulkhead_core::PluginId;
use bulkhead_queue::{
    KvEdit, KvEntry, KvOwner, KvPage, KvQuota, KvRange, KvUsage, KvWrite, KvWritten,
};

use crate::talk::Talk;
use crate::words::*;

crate::every_broker![
    a_value_is_kept_read_replaced_and_removed,
    values_of_any_bytes_under_keys_of_any_characters,
    versions_grow_with_every_write_and_over_removals,
    a_value_goes_when_its_time_has_passed,
    a_write_without_a_time_keeps_a_value_for_good,
    sums_begin_at_nothing_and_are_exact,
    what_is_no_number_is_not_added_to,
    sums_beyond_64_bits_are_refused,
    a_sum_stays_as_long_as_its_number_unless_told,
    swapping_needs_the_expected_version,
    pages_are_in_the_order_of_bytes,
    pages_leave_out_what_has_gone,
    a_prefix_means_nothing_but_itself,
    owners_see_nothing_of_each_other,
    keys_of_no_length_or_too_long_are_refused,
];

const ROOMY: KvQuota = KvQuota { keys: 100_000, total_bytes: 1 << 30, storage_bytes: None };

/// One plugin's values for one tenant.
struct Space<'a> {
    talk: &'a Talk,
    owner: KvOwner,
    quota: KvQuota,
}

fn space<'a>(talk: &'a Talk, plugin: &str, of: &str) -> Space<'a> {
    let plugin: PluginId = plugin.parse().unwrap();
    let owner = KvOwner { tenant: tenant(of), plugin };
    Space { talk, owner, quota: ROOMY }
}

impl Space<'_> {
    fn within(self, quota: KvQuota) -> Self {
        Self { quota, ..self }
    }

    async fn write(&self, key: &str, edit: KvEdit, ttl_ms: Option<u64>) -> KvWritten {
        let write = KvWrite { key: key.to_owned(), edit, ttl_ms, quota: self.quota };
        self.talk.broker.kv_write(&self.owner, &write).await.unwrap()
    }

    async fn set(&self, key: &str, value: impl AsRef<[u8]>) -> KvWritten {
        self.write(key, KvEdit::Set(value.as_ref().to_vec()), None).await
    }

    async fn set_for(&self, key: &str, value: &str, ttl_ms: u64) -> KvWritten {
        self.write(key, KvEdit::Set(value.as_bytes().to_vec()), Some(ttl_ms)).await
    }

    async fn add(&self, key: &str, by: i64) -> KvWritten {
        self.write(key, KvEdit::Add(by), None).await
    }

    async fn swap(&self, key: &str, expected: Option<u64>, value: &str) -> KvWritten {
        let value = value.as_bytes().to_vec();
        self.write(key, KvEdit::Swap { expected, value }, None).await
    }

    async fn delete(&self, key: &str) -> bool {
        match self.write(key, KvEdit::Delete, None).await {
            KvWritten::Deleted(was_there) => was_there,
            other => panic!("{other:?}"),
        }
    }

    async fn find(&self, key: &str) -> Option<KvEntry> {
        self.talk.broker.kv_get(&self.owner, key).await.unwrap()
    }

    async fn value(&self, key: &str) -> Option<String> {
        self.find(key).await.map(|entry| String::from_utf8(entry.value).unwrap())
    }

    async fn page(&self, prefix: &str, after: Option<&str>, limit: u32) -> KvPage {
        let range = KvRange { prefix: prefix.to_owned(), after: after.map(str::to_owned), limit };
        self.talk.broker.kv_list(&self.owner, &range).await.unwrap()
    }

    async fn keys(&self, prefix: &str) -> Vec<String> {
        let page = self.page(prefix, None, 1_000).await;
        assert!(!page.more);
        page.keys
    }

    async fn usage(&self) -> KvUsage {
        self.talk.broker.kv_usage(&self.owner).await.unwrap()
    }
}

fn stored(written: KvWritten) -> u64 {
    match written {
        KvWritten::Stored(version) => version,
        other => panic!("{other:?}"),
    }
}

fn usage(keys: u64, bytes: u64, tenant_bytes: u64) -> KvUsage {
    KvUsage { keys, bytes, tenant_bytes }
}

async fn a_value_is_kept_read_replaced_and_removed(talk: Talk) {
    let mine = space(&talk, "p", "acme");
    assert_eq!(mine.find("k").await, None);
    assert_eq!(mine.usage().await, usage(0, 0, 0));
    stored(mine.set("k", "one").await);
    assert_eq!(mine.value("k").await.as_deref(), Some("one"));
    stored(mine.set("k", "second").await);
    assert_eq!(mine.value("k").await.as_deref(), Some("second"));
    assert_eq!(mine.usage().await, usage(1, 7, 7));
    assert!(mine.delete("k").await);
    assert!(!mine.delete("k").await);
    assert_eq!(mine.find("k").await, None);
    assert_eq!(mine.keys("").await, Vec::<String>::new());
    assert_eq!(mine.usage().await, usage(0, 0, 0));
}

async fn values_of_any_bytes_under_keys_of_any_characters(talk: Talk) {
    let mine = space(&talk, "p", "acme");
    let all_bytes: Vec<u8> = (0..=255).collect();
    let values: [&[u8]; 5] = [b"", b"\0", b"\xff\xfe", b"123", &all_bytes];
    let keys = [
        " ",
        "*",
        "a*",
        "[a-z]",
        "{acme}",
        "{bulkhead:kv:acme}",
        "a:b",
        "a/b",
        "/",
        "//",
        "(",
        "[x",
        "+",
        "-",
        "$",
        "'",
        "\"",
        "\\",
        "\0",
        "a\0b",
        "a\nb",
        "\u{7f}",
        "ä",
        "日本語",
        "\u{10ffff}",
        "%s",
        "--",
        "\r\n$5\r\n",
    ];
    let long = "x".repeat(512);
    let keys: Vec<&str> = keys.into_iter().chain([long.as_str()]).collect();
    for (at, key) in keys.iter().enumerate() {
        stored(mine.set(key, values[at % values.len()]).await);
    }
    for (at, key) in keys.iter().enumerate() {
        let found = mine.find(key).await.unwrap();
        assert_eq!(found.value, values[at % values.len()], "{key:?}");
    }
    let mut sorted: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    sorted.sort();
    assert_eq!(mine.keys("").await, sorted);
    for key in &keys {
        stored(mine.set_for(key, "gone", 5).await);
    }
    talk.pass(10);
    stored(mine.set("last", "").await);
    assert_eq!(mine.usage().await, usage(1, 4, 4), "all were swept");
}

async fn versions_grow_with_every_write_and_over_removals(talk: Talk) {
    let mine = space(&talk, "p", "acme");
    let mut last = 0;
    for round in 0..3 {
        let version = stored(mine.set("k", "v").await);
        assert!(version > last);
        assert_eq!(mine.find("k").await.unwrap().version, version);
        let next = stored(mine.swap("k", Some(version), "w").await);
        assert!(next > version);
        assert_eq!(mine.write("n", KvEdit::Add(1), None).await, KvWritten::Sum(round + 1));
        last = next;
        assert!(mine.delete("k").await);
        assert_eq!(mine.swap("k", Some(version), "x").await, KvWritten::Unmatched);
    }
    let before = mine.find("n").await.unwrap().version;
    mine.add("n", 0).await;
    assert!(mine.find("n").await.unwrap().version > before, "a sum is a write");
    let gone = stored(mine.set_for("k", "v", 1).await);
    talk.pass(5);
    assert!(stored(mine.set("k", "v").await) > gone);
    // What others write is not told by it.
    assert_eq!(stored(space(&talk, "q", "acme").set("k", "v").await), 1);
}

async fn a_value_goes_when_its_time_has_passed(talk: Talk) {
    let mine = space(&talk, "p", "acme");
    let version = stored(mine.set_for("k", "v", HOUR_MS).await);
    let ttl_ms = mine.find("k").await.unwrap().ttl_ms.unwrap();
    assert!((HOUR_MS - MINUTE_MS..=HOUR_MS).contains(&ttl_ms), "{ttl_ms}");
    talk.pass(30 * MINUTE_MS);
    let ttl_ms = mine.find("k").await.unwrap().ttl_ms.unwrap();
    assert!((29 * MINUTE_MS..=30 * MINUTE_MS).contains(&ttl_ms), "{ttl_ms}");
    talk.pass(30 * MINUTE_MS);
    assert_eq!(mine.find("k").await, None);
    assert_eq!(mine.keys("").await, Vec::<String>::new());
    assert_eq!(mine.swap("k", Some(version), "w").await, KvWritten::Unmatched);
    assert!(!mine.delete("k").await);
    stored(mine.set_for("k", "v", 366 * DAY_MS).await);
    talk.pass(365 * DAY_MS);
    assert_eq!(mine.value("k").await.as_deref(), Some("v"));
}

async fn a_write_without_a_time_keeps_a_value_for_good(talk: Talk) {
    let mine = space(&talk, "p", "acme");
    mine.set_for("set", "v", HOUR_MS).await;
    let version = stored(mine.set_for("swap", "v", HOUR_MS).await);
    stored(mine.set("set", "w").await);
    stored(mine.swap("swap", Some(version), "w").await);
    for key in ["set", "swap"] {
        assert_eq!(mine.find(key).await.unwrap().ttl_ms, None);
    }
    talk.pass(2 * HOUR_MS);
    mine.set("other", "").await;
    assert_eq!(mine.keys("").await, ["other", "set", "swap"]);
    mine.set_for("set", "v", HOUR_MS).await;
    assert!(mine.find("set").await.unwrap().ttl_ms.is_some(), "and back");
}

async fn sums_begin_at_nothing_and_are_exact(talk: Talk) {
    let mine = space(&talk, "p", "acme");
    assert_eq!(mine.add("n", 5).await, KvWritten::Sum(5));
    assert_eq!(mine.add("n", -7).await, KvWritten::Sum(-2));
    assert_eq!(mine.value("n").await.as_deref(), Some("-2"));
    assert_eq!(mine.usage().await, usage(1, 3, 3));
    mine.set("n", "41").await;
    assert_eq!(mine.add("n", 1).await, KvWritten::Sum(42));
    // Beyond what a floating point number holds.
    for number in [(1 << 53) + 1, i64::MAX - 1, i64::MIN + 1] {
        mine.set("n", number.to_string()).await;
        assert_eq!(mine.add("n", 0).await, KvWritten::Sum(number));
        let by = if number > 0 { 1 } else { -1 };
        assert_eq!(mine.add("n", by).await, KvWritten::Sum(number + by));
        assert_eq!(mine.value("n").await, Some((number + by).to_string()));
    }
    mine.delete("n").await;
    assert_eq!(mine.add("n", i64::MIN).await, KvWritten::Sum(i64::MIN));
}

async fn what_is_no_number_is_not_added_to(talk: Talk) {
    let mine = space(&talk, "p", "acme");
    for text in [
        "",
        " 1",
        "1 ",
        "+1",
        "01",
        "-0",
        "1.0",
        "1e3",
        "0x1",
        "one",
        "9223372036854775808",
        "-9223372036854775809",
        "1\0",
        "--1",
    ] {
        let version = stored(mine.set("n", text).await);
        assert_eq!(mine.add("n", 1).await, KvWritten::NotANumber, "{text:?}");
        let found = mine.find("n").await.unwrap();
        assert_eq!((found.value, found.version), (text.into(), version));
    }
    mine.set("n", b"\xff1").await;
    assert_eq!(mine.add("n", 1).await, KvWritten::NotANumber);
}

async fn sums_beyond_64_bits_are_refused(talk: Talk) {
    let mine = space(&talk, "p", "acme");
    for (number, by) in
        [(i64::MAX, 1), (i64::MIN, -1), (1, i64::MAX), (-2, i64::MIN + 1), (i64::MIN, i64::MIN)]
    {
        mine.set("n", number.to_string()).await;
        assert_eq!(mine.add("n", by).await, KvWritten::BeyondRange, "{number} {by}");
        assert_eq!(mine.value("n").await, Some(number.to_string()));
    }
    assert_eq!(mine.add("n", i64::MAX).await, KvWritten::Sum(-1));
}

async fn a_sum_stays_as_long_as_its_number_unless_told(talk: Talk) {
    let mine = space(&talk, "p", "acme");
    mine.set_for("n", "1", HOUR_MS).await;
    mine.add("n", 1).await;
    assert!(mine.find("n").await.unwrap().ttl_ms.unwrap() <= HOUR_MS);
    mine.write("n", KvEdit::Add(1), Some(DAY_MS)).await;
    assert!(mine.find("n").await.unwrap().ttl_ms.unwrap() > HOUR_MS);
    mine.add("good", 1).await;
    assert_eq!(mine.find("good").await.unwrap().ttl_ms, None);
    talk.pass(2 * DAY_MS);
    assert_eq!(mine.add("n", 1).await, KvWritten::Sum(1), "what has gone is 0 again");
    assert_eq!(mine.find("n").await.unwrap().ttl_ms, None, "and its time has gone with it");
}

async fn swapping_needs_the_expected_version(talk: Talk) {
    let mine = space(&talk, "p", "acme");
    assert_eq!(mine.swap("k", Some(1), "v").await, KvWritten::Unmatched);
    let first = stored(mine.swap("k", None, "one").await);
    assert_eq!(mine.swap("k", None, "two").await, KvWritten::Unmatched);
    let second = stored(mine.swap("k", Some(first), "two").await);
    assert!(second > first);
    assert_eq!(mine.swap("k", Some(first), "three").await, KvWritten::Unmatched);
    assert_eq!(mine.swap("k", Some(u64::MAX), "three").await, KvWritten::Unmatched);
    assert_eq!(mine.value("k").await.as_deref(), Some("two"));
    let swap = KvEdit::Swap { expected: Some(second), value: b"three".to_vec() };
    stored(mine.write("k", swap, Some(HOUR_MS)).await);
    assert!(mine.find("k").await.unwrap().ttl_ms.is_some());
    talk.pass(HOUR_MS);
    stored(mine.swap("k", None, "what has gone is not there").await);
    assert_eq!(mine.usage().await, usage(1, 27, 27));
}

async fn pages_are_in_the_order_of_bytes(talk: Talk) {
    let mine = space(&talk, "p", "acme");
    let mut names: Vec<String> = (0..25).map(|at| format!("k{at}")).collect();
    names.extend(["B", "a", "Z", "ä", "k", "日", "k1ä"].map(str::to_owned));
    for name in &names {
        mine.set(name, "").await;
    }
    names.sort();
    assert_eq!(mine.keys("").await, names);
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = mine.page("", after.as_deref(), 4).await;
        assert!(page.keys.len() == 4 || !page.more);
        after = page.keys.last().cloned();
        seen.extend(page.keys);
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, names);
    let all = names.len() as u32;
    assert!(!mine.page("", None, all).await.more, "exactly all");
    assert!(mine.page("", None, all - 1).await.more);
    assert_eq!(mine.page("k1", Some("k15"), 3).await.keys, ["k16", "k17", "k18"]);
    assert_eq!(mine.page("k1", Some("a"), 2).await.keys, ["k1", "k10"], "before the prefix");
    assert_eq!(mine.page("k1", Some("k2"), 2).await, KvPage::default(), "behind it");
    assert_eq!(mine.page("k1", Some("k155"), 1).await.keys, ["k16"], "a key that is not there");
    assert_eq!(mine.page("", None, 0).await.keys, ["B"], "at least one");
}

async fn pages_leave_out_what_has_gone(talk: Talk) {
    let mine = space(&talk, "p", "acme");
    for at in 0..150 {
        mine.set_for(&format!("k{at:03}"), "", HOUR_MS + at % 2 * DAY_MS).await;
    }
    talk.pass(2 * HOUR_MS);
    let page = mine.page("", None, 70).await;
    assert_eq!((page.keys.len(), page.more), (70, true));
    assert_eq!((page.keys[0].as_str(), page.keys[69].as_str()), ("k001", "k139"));
    let rest = mine.page("", Some("k139"), 70).await;
    assert_eq!((rest.keys.len(), rest.more), (5, false));
    talk.pass(2 * DAY_MS);
    assert_eq!(mine.page("", None, 1).await, KvPage::default());
}

async fn a_prefix_means_nothing_but_itself(talk: Talk) {
    let mine = space(&talk, "p", "acme");
    for key in ["a", "a*b", "ab", "a[b", "a\u{10ffff}", "b", "é", "e"] {
        mine.set(key, "").await;
    }
    assert_eq!(mine.keys("a").await, ["a", "a*b", "a[b", "ab", "a\u{10ffff}"]);
    assert_eq!(mine.keys("a*").await, ["a*b"]);
    assert_eq!(mine.keys("a[").await, ["a[b"]);
    assert_eq!(mine.keys("*").await, Vec::<String>::new());
    assert_eq!(mine.keys("é").await, ["é"]);
    for odd in ["+", "-", "(", "[", "\0", "\u{10ffff}"] {
        assert_eq!(mine.keys(odd).await, Vec::<String>::new(), "{odd:?}");
    }
}

async fn owners_see_nothing_of_each_other(talk: Talk) {
    let of_operator = [("p", "acme"), ("p", "acme2"), ("p2", "acme"), ("P", "acme"), ("acme", "p")];
    let of_tenants = [("acme/p", "acme"), ("other/p", "acme"), ("acme/p", "acme3")];
    let owners = of_operator.into_iter().chain(of_tenants);
    for (at, (plugin, of)) in owners.clone().enumerate() {
        let mine = space(&talk, plugin, of);
        assert_eq!(mine.keys("").await, Vec::<String>::new(), "{plugin} of {of}");
        for (name, _) in owners.clone() {
            mine.set(&format!("{name}/k"), at.to_string()).await;
        }
        mine.set("k", at.to_string()).await;
    }
    for (at, (plugin, of)) in owners.enumerate() {
        let mine = space(&talk, plugin, of);
        assert_eq!(mine.value("k").await, Some(at.to_string()), "{plugin} of {of}");
        assert_eq!(mine.usage().await.keys, 7, "six names and k");
    }
    assert!(space(&talk, "p", "acme").delete("k").await);
    assert!(space(&talk, "p2", "acme").find("k").await.is_some());
    assert!(space(&talk, "p", "acme2").find("k").await.is_some());
    // Sums are the tenant's, and nobody else's.
    assert_eq!(space(&talk, "none", "acme").usage().await.keys, 0);
    let other = space(&talk, "p", "acme2").usage().await;
    assert_eq!(other.bytes, other.tenant_bytes);
}

async fn keys_of_no_length_or_too_long_are_refused(talk: Talk) {
    let mine = space(&talk, "p", "acme");
    for key in [String::new(), "x".repeat(513)] {
        let edit = KvEdit::Set(b"v".to_vec());
        let write = KvWrite { key, edit, ttl_ms: None, quota: ROOMY };
        let refused = talk.broker.kv_write(&mine.owner, &write).await.unwrap_err();
        assert!(refused.to_string().contains("1 to 512"), "{refused}");
    }
    assert_eq!(mine.usage().await, usage(0, 0, 0));
}
