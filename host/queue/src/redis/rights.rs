//! The rights that a Redis user needs, and which of them one lacks.
//!
//! What scripts call is read from their sources, so the list cannot fall behind them. The
//! server itself is asked; nothing is tried out.

use std::collections::BTreeSet;

use redis::Value;

use super::connection::Connection;
use super::script::text;
use crate::error::QueueError;

/// Asks without the prelude: a user that lacks a right of the prelude shall hear of all.
const RIGHTS: &str = include_str!("scripts/rights.lua");

/// What this crate sends by itself, with the key or channel below the queue's prefix (`P`)
/// or the namespace (`N`). The tests hold this list against the sources.
const SENT: &[&str] = &[
    "eval s 1 P",
    "evalsha s 1 P",
    "blpop P:wake:x 1",
    "subscribe P:cancel P:done N:control",
    "publish N:control x",
    "ping",
    "sadd N:queues x",
    "sadd P:waiters x",
    "smembers N:queues",
    "srem P:waiters x",
    "pttl P:task:x",
    "get P:policy",
    "mget N:host:x",
    "psetex N:host:x 1 x",
    "del N:host:x",
    "hdel N:secrets x",
    "hget N:secrets x",
    "hkeys N:secrets",
    "hlen N:secrets",
    "hmget N:secrets x",
    "hset N:secrets x x",
    "xadd N:journal * x x",
    "xrange N:journal - +",
    "xrevrange N:journal + -",
    "zadd N:hosts 1 x",
    "zrem N:hosts x",
    "zrange N:hosts 0 1",
    "zremrangebyscore N:hosts 0 1",
    "lrange P:ended 0 1",
    "lpos P:ended x",
    "zcount P:dead 0 1",
    "zrangebyscore P:dead 0 1",
    "zrank P:dead x",
    "zrevrank P:dead x",
    "zrevrange P:dead 0 1",
    "sscan P:types 0",
    "zscan P:leases 0",
    "hscan P:live 0",
    "srandmember P:told:x 1",
    "smismember P:cancel x",
    "zmscore P:leases x",
    "hmget P:batch:x total",
    "hgetall P:usage:1",
    "hmset P:policy:x f v",
    "expire P:policy:x 1",
    "mget P:task:x",
    "psetex P:draft:x 1 x",
    "copy P:task:x P:draft:x",
    "pexpire P:draft:x 1",
    "strlen P:draft:x",
    "setrange P:draft:x 0 x",
    "getrange P:task:x 0 1",
    "xrange P:events - +",
    "xread STREAMS P:events 0",
    "scan 0 MATCH P:*",
];

/// The lines that say what is needed in a namespace.
fn needed(namespace: &str, scripts: &[&str], is_confirming: bool) -> Vec<String> {
    let prefix = format!("{{{namespace}:rights}}");
    let mut lines: Vec<String> = SENT
        .iter()
        .map(|line| {
            let words = line.split(' ').map(|word| match word.split_at(1) {
                ("P", rest) => format!("{prefix}{rest}"),
                ("N", rest) => format!("{namespace}{rest}"),
                _ => word.to_owned(),
            });
            words.collect::<Vec<_>>().join(" ")
        })
        .collect();
    if is_confirming {
        lines.push("wait 1 1".into());
    }
    for command in scripts.iter().flat_map(|source| called(source)) {
        let line = match &*command {
            "time" => command,
            "bitop" => format!("bitop or {prefix}:x {prefix}:x"),
            "rename" => format!("rename {prefix}:x {prefix}:x"),
            "publish" => format!("publish {prefix}:done x"),
            _ => format!("{command} {prefix}:x"),
        };
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

/// The commands that a script calls, in lower case.
fn called(source: &str) -> impl Iterator<Item = String> {
    source.match_indices('\'').filter_map(|(at, _)| {
        let is_called = ["call(", "try(", "redis.call, ", "(call, ", "(try, ", " and ", " or "]
            .iter()
            .any(|call| source[..at].ends_with(call));
        let name = source[at + 1..].split('\'').next()?;
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase());
        (is_called && is_name).then(|| name.to_ascii_lowercase())
    })
}

/// Refuse a user that lacks a right on a primary that can be asked. A script that lacks one
/// in its middle would leave its work half done, so nobody works without this.
pub(super) async fn require(
    connection: &Connection,
    namespace: &str,
    scripts: &[&str],
) -> Result<(), QueueError> {
    let mut command = redis::cmd("EVAL");
    command.arg(RIGHTS).arg(0).arg(needed(namespace, scripts, connection.min_replicas() > 0));
    let primaries = connection.place.view().primaries();
    let asked = primaries.iter().map(|server| connection.send_to(server, &command));
    let mut lacking = BTreeSet::new();
    for answer in futures::future::join_all(asked).await {
        match answer.map_err(QueueError::from) {
            Ok(Value::Array(lines)) => {
                for line in lines {
                    lacking.insert(worded(&text(line)?));
                }
            }
            // The server cannot tell, or cannot be reached.
            Ok(_) | Err(QueueError::Unavailable(_)) => {}
            Err(error) => return Err(error),
        }
    }
    if lacking.is_empty() {
        return Ok(());
    }
    let lacking: Vec<String> = lacking.into_iter().collect();
    Err(QueueError::Refused(format!(
        "the Redis user lacks rights that Bulkhead needs (docs/redis-deployments.md): {}",
        lacking.join(", ")
    )))
}

/// `zadd` on `ns:hosts`.
fn worded(line: &str) -> String {
    let mut words = line.split(' ');
    let name = words.next().unwrap_or_default();
    let mut places: Vec<&str> = words.filter(|word| word.contains(':')).collect();
    places.dedup();
    match (name, &places[..]) {
        ("eval" | "evalsha", _) | (_, []) => format!("`+{name}`"),
        ("publish" | "subscribe", places) => {
            format!("`+{name}` with the channel `{}`", places.join("`, `"))
        }
        (_, places) => format!("`+{name}` with the key `{}`", places.join("`, `")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::script::Scripts;

    fn sources() -> Vec<String> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/redis");
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // These two know commands and error codes by name without sending any.
            let is_router = path.ends_with("slot.rs") || path.ends_with("failure.rs");
            if path.extension().is_some_and(|e| e == "rs") && !is_router {
                let text = std::fs::read_to_string(path).unwrap();
                found.push(text.split("#[cfg(test)]").next().unwrap().to_owned());
            }
        }
        found
    }

    /// Words that follow a command.
    const OPTIONS: [&str; 10] = [
        "WITHSCORES",
        "SLOTS",
        "UNBLOCK",
        "STREAMS",
        "COUNT",
        "BLOCK",
        "MATCH",
        "LIMIT",
        "REPLACE",
        "MAXLEN",
    ];

    /// Commands that Rust code sends: `Cmd::zadd(` and `"ZADD"`.
    fn sent() -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for source in sources() {
            for after in source.split("Cmd::").skip(1) {
                let name = after.split('(').next().unwrap();
                match name {
                    "new" | "with_capacity" => {}
                    "pset_ex" => drop(names.insert("psetex".into())),
                    "zrembyscore" => drop(names.insert("zremrangebyscore".into())),
                    "hset_multiple" => drop(names.insert("hmset".into())),
                    name => drop(names.insert(name.to_owned())),
                }
            }
            for literal in source.split('"').skip(1).step_by(2) {
                let is_word = literal.len() > 2 && literal.bytes().all(|b| b.is_ascii_uppercase());
                if is_word && !OPTIONS.contains(&literal) {
                    names.insert(literal.to_ascii_lowercase());
                }
            }
        }
        names
    }

    /// Asked only of some deployments, or done without where they are forbidden.
    const OPTIONAL: [&str; 7] = ["info", "config", "client", "cluster", "sentinel", "role", "wait"];

    #[test]
    fn every_command_that_is_sent_is_listed() {
        let scripts = Scripts::new();
        let lines = needed("n", &scripts.sources(), true);
        let listed: BTreeSet<&str> =
            lines.iter().filter_map(|line| line.split(' ').next()).collect();
        for name in sent() {
            assert!(
                listed.contains(&*name) || OPTIONAL.contains(&&*name),
                "`{name}` is sent and not listed"
            );
        }
    }

    /// Words that follow a command in scripts.
    const SCRIPT_OPTIONS: [&str; 11] = [
        "WITHSCORES",
        "LIMIT",
        "MATCH",
        "COUNT",
        "NX",
        "XX",
        "PX",
        "KEEPTTL",
        "MAXLEN",
        "OR",
        "BYLEX",
    ];

    #[test]
    fn every_command_of_a_script_is_found() {
        for source in Scripts::new().sources() {
            let found: BTreeSet<String> = called(source).collect();
            for literal in source.split('\'').filter(|text| text.len() > 1) {
                let is_word = literal.bytes().all(|b| b.is_ascii_uppercase());
                let is_found = found.contains(&literal.to_ascii_lowercase());
                assert!(
                    !is_word || is_found || SCRIPT_OPTIONS.contains(&literal),
                    "`{literal}` is neither a call that was found nor a known option"
                );
            }
        }
    }

    /// The page's line for `ACL SETUSER` names exactly what is needed.
    #[test]
    fn the_documented_user_has_these_rights_and_no_others() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/redis-deployments.md");
        let page = std::fs::read_to_string(page).unwrap();
        let line = page.split("ACL SETUSER bulkhead ").nth(1).unwrap();
        let line = line.split("```").next().unwrap().replace("\\\n", " ");
        let documented: BTreeSet<String> = line
            .split_whitespace()
            .filter_map(|word| word.strip_prefix('+'))
            .map(str::to_owned)
            .collect();
        let scripts = Scripts::new();
        let mut wanted: BTreeSet<String> = needed("n", &scripts.sources(), true)
            .iter()
            .filter_map(|line| line.split(' ').next().map(str::to_owned))
            .collect();
        for optional in
            ["info", "config|get", "client|id", "client|unblock", "cluster|slots", "role", "select"]
        {
            wanted.insert(optional.into());
        }
        assert_eq!(documented, wanted);
    }

    #[test]
    fn a_lacking_right_is_named_with_its_key() {
        assert_eq!(worded("zadd n:hosts 1 x"), "`+zadd` with the key `n:hosts`");
        assert_eq!(worded("publish n:control x"), "`+publish` with the channel `n:control`");
        assert_eq!(worded("eval s 1 {n:rights}"), "`+eval`");
        assert_eq!(worded("ping"), "`+ping`");
    }
}
