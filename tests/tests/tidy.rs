//! The rules of the repository, held over every file that git knows.
//!
//! Each rule is a function from one file to the lines that break it, so that each can be
//! shown to find what it looks for. A failure names file, line and rule.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::Command;

/// A tracked text file.
struct Source {
    path: String,
    text: String,
}

/// A line that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Breach {
    line: usize,
    what: String,
}

type Rule = fn(&Source) -> Vec<Breach>;

/// Every rule with the words that a failure is reported under.
const RULES: &[(&str, Rule)] = &[
    ("Redis is known under host/queue/src/redis only", redis_has_its_place),
    ("wasmtime is known under host/sandbox only", wasmtime_has_its_place),
    ("axum is known under host/api only", axum_has_its_place),
    ("actix-web is an option of host/api that nothing turns on", actix_is_an_option),
    ("only main and config of a host read the environment", environment_has_its_place),
    ("core has no input, output, clock or randomness", core_is_pure),
    ("no unsafe code but where machine code is loaded", nothing_is_unsafe),
    ("a source file has at most 500 lines before its tests", files_are_short),
    ("modules are named after what they are about", modules_are_nouns),
    ("every script states its contract", scripts_state_their_contract),
    ("every crate takes part in the lints", crates_have_lints),
    ("nothing is left for later", nothing_is_left),
];

/// This file names what it forbids.
const ITSELF: &str = "tests/tests/tidy.rs";

const MAX_LINES: usize = 500;

/// The places that may have code that is not safe by construction, and how many blocks each.
/// docs/security.md says the sum and argues for each.
const UNSAFE: &[(&str, usize)] = &[
    // The one place that loads machine code.
    ("host/sandbox/src/load/artifact.rs", 1),
];

impl Source {
    fn is_under(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_cargo_manifest(&self) -> bool {
        self.path == "Cargo.toml" || self.path.ends_with("/Cargo.toml")
    }

    /// The lines of code, numbered from 1, without comments and the insides of strings.
    fn code(&self) -> impl Iterator<Item = (usize, String)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, code_of(line)))
    }

    /// Breaches on the lines of code that hold one of these words.
    fn lines_with(&self, words: &[&str]) -> Vec<Breach> {
        let mut found = Vec::new();
        for (line, code) in self.code() {
            if let Some(word) = words.iter().find(|word| has_word(&code, word)) {
                found.push(Breach { line, what: format!("`{word}`") });
            }
        }
        found
    }

    /// Breaches on the lines of a Cargo manifest that name a dependency like this.
    fn dependencies(&self, is_forbidden: impl Fn(&str) -> bool) -> Vec<Breach> {
        let mut found = Vec::new();
        let mut in_dependencies = false;
        for (at, line) in self.text.lines().enumerate() {
            if let Some(table) = line.strip_prefix('[') {
                in_dependencies = table.contains("dependencies");
            } else if in_dependencies {
                let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
                if is_forbidden(name) {
                    found.push(Breach { line: at + 1, what: format!("the dependency `{name}`") });
                }
            }
        }
        found
    }
}

/// A line without its comment and without what is inside string literals. Literals over
/// several lines are taken for code, which at worst finds too much.
fn code_of(line: &str) -> String {
    let mut code = String::new();
    let mut chars = line.chars().peekable();
    let mut in_string = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' if in_string => drop(chars.next()),
            '"' => {
                in_string = !in_string;
                code.push(c);
            }
            // A quote as a character literal opens no string.
            '\'' if !in_string && chars.peek() == Some(&'"') => drop(chars.next()),
            '/' if !in_string && chars.peek() == Some(&'/') => break,
            _ if in_string => {}
            _ => code.push(c),
        }
    }
    code
}

/// Whether `word` stands in `text` with no letter, digit or underscore around it.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back().is_some_and(part);
        let after = text[at + word.len()..].chars().next().is_some_and(part);
        !(before && word.starts_with(part) || after && word.ends_with(part))
    })
}

/// A library that only some folders may know: in the code of others, and as a dependency.
fn known_in(source: &Source, code: &[&str], manifests: &[&str], library: &str) -> Vec<Breach> {
    if source.is_rust() && !source.is_under(code) {
        let of = [format!("{library}::"), format!("use {library};"), format!("extern {library}")];
        let mut found = source.lines_with(&of.each_ref().map(String::as_str));
        // A module of the same name is not the library.
        let own_module = format!("mod {library};");
        if source.text.lines().any(|line| line.trim() == own_module) {
            found.clear();
        }
        found
    } else if source.is_cargo_manifest() && !source.is_under(manifests) && source.path.contains('/')
    {
        source.dependencies(|name| name == library || name.starts_with(&format!("{library}-")))
    } else {
        Vec::new()
    }
}

fn redis_has_its_place(source: &Source) -> Vec<Breach> {
    let code = ["host/queue/src/redis/", "host/queue/tests/", "tests/", "benches/"];
    known_in(source, &code, &["host/queue/", "tests/", "benches/"], "redis")
}

fn wasmtime_has_its_place(source: &Source) -> Vec<Breach> {
    let mut found = known_in(source, &["host/sandbox/"], &["host/sandbox/"], "wasmtime");
    found.extend(known_in(source, &["host/sandbox/"], &["host/sandbox/"], "wasmtime_wasi"));
    found
}

fn axum_has_its_place(source: &Source) -> Vec<Breach> {
    known_in(source, &["host/api/"], &["host/api/"], "axum")
}

fn actix_is_an_option(source: &Source) -> Vec<Breach> {
    let mut found = known_in(source, &["host/api/"], &["host/api/"], "actix_web");
    if source.is_cargo_manifest() {
        let turns_on = |line: &str| line.contains("\"actix\"") && line.contains("features");
        let is_named =
            |line: &str| line.starts_with("actix-web") && !source.is_under(&["host/api/"]);
        for (at, line) in source.text.lines().enumerate() {
            let is_table = source.path == "Cargo.toml";
            if (turns_on(line) && !line.starts_with("required-features"))
                || (is_named(line) && !is_table)
            {
                found.push(Breach { line: at + 1, what: line.to_owned() });
            }
        }
    }
    found
}

fn environment_has_its_place(source: &Source) -> Vec<Breach> {
    // An example is a program of its own, with a `main`.
    let is_example = source.path.contains("/examples/");
    let readers = ["host/bulkhead/src/main.rs", "host/bulkhead/src/config/"];
    let shipped = source.is_under(&["host/", "guest-sdk/", "plugins/"]);
    if !source.is_rust() || !shipped || is_example || source.is_under(&readers) {
        return Vec::new();
    }
    source.lines_with(&[
        "env::var",
        "env::vars",
        "env::var_os",
        "env::vars_os",
        "env::set_var",
        "env::remove_var",
        "env::args",
        "env::args_os",
    ])
}

fn core_is_pure(source: &Source) -> Vec<Breach> {
    if !source.is_under(&["host/core/"]) {
        return Vec::new();
    }
    if source.is_cargo_manifest() {
        // `jiff` is there for calendars and zones; its clock is refused below.
        let impure = ["tokio", "rand", "fastrand", "getrandom", "chrono", "time"];
        return source.dependencies(|name| impure.contains(&name) || name.starts_with("bulkhead"));
    }
    let impure = [
        "std::fs",
        "std::io",
        "std::net",
        "std::env",
        "std::process",
        "std::thread",
        "std::time",
        "Instant",
        "SystemTime",
        "rand::",
        "fastrand::",
        "tokio::",
        "Uuid::new_v4",
        "Uuid::now_v7",
        "Timestamp::now",
        "Zoned::now",
        "TimeZone::system",
    ];
    source.lines_with(&impure)
}

/// Bindings that a macro makes are not in these files, and so not meant.
fn nothing_is_unsafe(source: &Source) -> Vec<Breach> {
    // The macro of the SDK names the word to refuse it.
    if !source.is_rust() || source.path == "guest-sdk/macros/src/signature.rs" {
        return Vec::new();
    }
    let found = source.lines_with(&["unsafe"]);
    let allowed = UNSAFE.iter().find(|(path, _)| *path == source.path).map_or(0, |(_, n)| *n);
    // Fewer than are allowed are a breach too, so that this list and docs/security.md stay true.
    if found.len() == allowed {
        return Vec::new();
    }
    let what = format!("{} of `unsafe` where {allowed} are allowed", found.len());
    let lines = found.iter().map(|breach| breach.line);
    lines
        .chain((found.is_empty()).then_some(1))
        .map(|line| Breach { line, what: what.clone() })
        .collect()
}

fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn files_are_short(source: &Source) -> Vec<Breach> {
    if !(source.is_rust() || source.path.ends_with(".lua")) || is_test(&source.path) {
        return Vec::new();
    }
    let tests = source.text.find("\n#[cfg(test)]\nmod ").unwrap_or(source.text.len());
    let lines = source.text[..tests].lines().count();
    if lines <= MAX_LINES {
        return Vec::new();
    }
    vec![Breach { line: MAX_LINES + 1, what: format!("{lines} lines") }]
}

fn modules_are_nouns(source: &Source) -> Vec<Breach> {
    let vague = [
        "util",
        "utils",
        "utilities",
        "helper",
        "helpers",
        "common",
        "misc",
        "manager",
        "managers",
        "stuff",
    ];
    if !source.is_rust() {
        return Vec::new();
    }
    let path = source.path.trim_end_matches(".rs");
    let named = path.split('/').find(|part| vague.contains(part));
    let mut found: Vec<Breach> = named
        .map(|part| Breach { line: 1, what: format!("`{part}` in the path") })
        .into_iter()
        .collect();
    for (line, code) in source.code() {
        let declared = code.trim_start().trim_start_matches("pub ").strip_prefix("mod ");
        let name = declared.and_then(|rest| rest.split([';', ' ', '{']).next());
        if let Some(name) = name.filter(|name| vague.contains(name)) {
            found.push(Breach { line, what: format!("`mod {name}`") });
        }
    }
    found
}

fn scripts_state_their_contract(source: &Source) -> Vec<Breach> {
    let Some(name) = source.path.rsplit('/').next().and_then(|file| file.strip_suffix(".lua"))
    else {
        return Vec::new();
    };
    // Parts of scripts lie in folders of their own; the script that they are parts of states
    // the contract.
    if !source.path.ends_with(&format!("scripts/{name}.lua")) {
        return Vec::new();
    }
    let lines = source.text.lines();
    let header: Vec<&str> = lines.take_while(|line| line.starts_with("--")).collect();
    let body = source.text.lines().skip(header.len());
    let takes_arguments = body.clone().any(|line| line.contains("ARGV"));
    let mut wanted = vec![("KEYS[1]", true)];
    // What the other scripts begin with is no call of its own.
    if name != "prelude" {
        wanted.extend([("-- Returns", true), ("-- Cost", true), ("-- ARGV", takes_arguments)]);
        let title = format!("-- {name}: ");
        if !header.first().is_some_and(|first| first.starts_with(&title)) {
            let what = format!("it does not begin with `{title}`");
            return vec![Breach { line: 1, what }];
        }
    }
    let states = |part: &str| header.iter().any(|line| line.contains(part));
    let missing = wanted.into_iter().filter(|(part, needed)| *needed && !states(part));
    missing
        .map(|(part, _)| Breach { line: 1, what: format!("`{part}` is not in its header") })
        .collect()
}

fn crates_have_lints(source: &Source) -> Vec<Breach> {
    let is_crate = source.is_cargo_manifest() && source.text.contains("[package]");
    if !is_crate || source.text.lines().any(|line| line.starts_with("[lints")) {
        return Vec::new();
    }
    vec![Breach { line: 1, what: "there is no `[lints]`".into() }]
}

fn nothing_is_left(source: &Source) -> Vec<Breach> {
    if !source.is_rust() {
        return Vec::new();
    }
    source.lines_with(&["#[ignore", "todo!", "dbg!", "unimplemented!"])
}

/// Every file that git knows, that is there and that is text.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()
        .expect("git");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).expect("paths in UTF-8");
    let read = |path: &str| {
        let text = std::fs::read_to_string(root.join(path)).ok()?;
        Some(Source { path: path.to_owned(), text })
    };
    listed.split_terminator('\0').filter(|path| *path != ITSELF).filter_map(read).collect()
}

#[test]
fn the_repository_keeps_its_rules() {
    let sources = sources();
    assert!(sources.len() > 100, "only {} files", sources.len());
    let mut breaches = Vec::new();
    for source in &sources {
        for (name, rule) in RULES {
            for Breach { line, what } in rule(source) {
                breaches.push(format!("{}:{line}: {what}: {name}", source.path));
            }
        }
    }
    assert!(breaches.is_empty(), "{} breaches:\n{}", breaches.len(), breaches.join("\n"));
}

/// What the headings of a text are linked by.
fn anchors(text: &str) -> HashSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| -> String {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

/// The links of one document that lead to no heading of another one, or of itself.
fn lost_links(source: &Source, headings: &HashMap<&str, HashSet<String>>) -> Vec<String> {
    let links = source.text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let links = links.map(|(link, _)| link).filter(|link| !link.contains("://"));
    let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let leads_nowhere = |link: &str| {
        let Some((file, anchor)) = link.split_once('#') else { return false };
        let path = match (file, folder) {
            ("", _) => source.path.clone(),
            (file, "") => file.to_owned(),
            (file, folder) => format!("{folder}/{file}"),
        };
        let known = headings.get(path.as_str());
        known.is_some_and(|headings| !headings.contains(anchor))
    };
    links
        .filter(|link| leads_nowhere(link))
        .map(|link| format!("{}: {link}", source.path))
        .collect()
}

#[test]
fn links_of_documents_lead_to_headings_that_are_there() {
    let mut sources = sources();
    sources.retain(|source| source.path.ends_with(".md"));
    let headings: HashMap<&str, HashSet<String>> =
        sources.iter().map(|source| (&*source.path, anchors(&source.text))).collect();
    let lost: Vec<String> =
        sources.iter().flat_map(|source| lost_links(source, &headings)).collect();
    assert!(lost.is_empty(), "{}", lost.join("\n"));
    let text = "# One (1)\n[a](#one-1) [b](b.md#two) [c](#two)".to_owned();
    let lost = lost_links(
        &Source { path: "docs/b.md".to_owned(), text },
        &HashMap::from([("docs/b.md", anchors("# One (1)"))]),
    );
    assert_eq!(lost, ["docs/b.md: b.md#two", "docs/b.md: #two"]);
}

#[track_caller]
fn check(rule: Rule, path: &str, text: &str, lines: &[usize]) {
    let source = Source { path: path.into(), text: text.into() };
    let found: Vec<usize> = rule(&source).into_iter().map(|breach| breach.line).collect();
    assert_eq!(found, lines, "{path}: {text}");
}

#[test]
fn libraries_are_found_outside_their_places() {
    let uses = "//! redis::x\nuse redis::Client; // redis::y\nlet s = \"redis::z\";\n";
    check(redis_has_its_place, "host/bulkhead/src/a.rs", uses, &[2]);
    check(redis_has_its_place, "host/queue/src/redis/a.rs", uses, &[]);
    check(redis_has_its_place, "host/queue/src/lib.rs", "mod redis;\npub use redis::A;", &[]);
    check(redis_has_its_place, "host/queue/src/a.rs", "impl From<redis::E> for E {}", &[1]);
    let depends = "[package]\nname = \"a\"\n[dev-dependencies]\nredis.workspace = true\n";
    check(redis_has_its_place, "host/api/Cargo.toml", depends, &[4]);
    check(redis_has_its_place, "host/queue/Cargo.toml", depends, &[]);
    check(redis_has_its_place, "Cargo.toml", depends, &[]);
    check(wasmtime_has_its_place, "host/bulkhead/src/a.rs", "use wasmtime_wasi::A;", &[1]);
    check(wasmtime_has_its_place, "host/sandbox/src/a.rs", "use wasmtime::A;", &[]);
    let depends = "[dependencies]\nwasmtime-wasi = \"48\"\n";
    check(wasmtime_has_its_place, "host/queue/Cargo.toml", depends, &[2]);
    check(axum_has_its_place, "host/bulkhead/src/a.rs", "fn a() -> axum::Router {", &[1]);
    check(axum_has_its_place, "host/api/src/a.rs", "fn a() -> axum::Router {", &[]);
    check(actix_is_an_option, "host/bulkhead/src/a.rs", "use actix_web::App;", &[1]);
    check(actix_is_an_option, "host/api/tests/a.rs", "use actix_web::App;", &[]);
    let turned_on = "bulkhead-api = { workspace = true, features = [\"actix\"] }\n";
    check(actix_is_an_option, "host/bulkhead/Cargo.toml", turned_on, &[1]);
    check(actix_is_an_option, "tests/Cargo.toml", "actix-web.workspace = true\n", &[1]);
    check(actix_is_an_option, "host/api/Cargo.toml", "actix = [\"dep:actix-web\"]\n", &[]);
    check(actix_is_an_option, "Cargo.toml", "actix-web = { version = \"4\" }\n", &[]);
}

#[test]
fn readers_of_the_environment_are_found() {
    let reads = "let a = std::env::var(NAME);\nlet b = env!(\"CARGO_PKG_NAME\");";
    check(environment_has_its_place, "host/bulkhead/src/cli/a.rs", reads, &[1]);
    check(environment_has_its_place, "host/bulkhead/src/main.rs", reads, &[]);
    check(environment_has_its_place, "host/bulkhead/src/config/layer.rs", reads, &[]);
    check(environment_has_its_place, "xtask/src/main.rs", reads, &[]);
}

#[test]
fn impurity_of_core_is_found() {
    check(core_is_pure, "host/core/src/a.rs", "let now = Instant::now();", &[1]);
    check(core_is_pure, "host/core/src/a.rs", "use std::fs;\nuse std::fmt;", &[1]);
    check(core_is_pure, "host/core/src/a.rs", "/// An Instant.\nlet operand::x = 1;", &[]);
    check(core_is_pure, "host/core/src/a.rs", "let now = Timestamp::now();", &[1]);
    check(core_is_pure, "host/core/Cargo.toml", "[dependencies]\nrand = \"1\"", &[2]);
    check(core_is_pure, "host/queue/src/a.rs", "let now = Instant::now();", &[]);
}

#[test]
fn unsafe_and_unfinished_code_is_found() {
    check(nothing_is_unsafe, "host/a.rs", "// unsafe\n#![forbid(unsafe_code)]", &[]);
    check(nothing_is_unsafe, "host/a.rs", "let c = '\"'; unsafe { a() }", &[1]);
    check(nothing_is_left, "host/a.rs", "todo!()\n// todo!()\nlet a = dbg!(1);", &[1, 3]);
    check(nothing_is_left, "host/a.rs", "#[test]\n#[ignore = \"slow\"]", &[2]);
}

#[test]
fn the_count_of_unsafe_code_is_the_one_that_is_stated() {
    let sources = sources();
    for (path, _) in UNSAFE {
        assert!(sources.iter().any(|source| source.path == *path), "there is no `{path}`");
    }
    let artifact = UNSAFE[0].0;
    check(nothing_is_unsafe, artifact, "unsafe { a() }", &[]);
    check(nothing_is_unsafe, artifact, "a()", &[1]);
    check(nothing_is_unsafe, artifact, "unsafe { a() }\nunsafe { b() }", &[1, 2]);
    let sum: usize = UNSAFE.iter().map(|(_, number)| number).sum();
    let document = sources.iter().find(|source| source.path == "docs/security.md");
    let stated = format!("`unsafe` blocks in the workspace: {sum}.");
    assert!(document.is_some_and(|document| document.text.contains(&stated)), "{stated}");
}

#[test]
fn long_files_and_vague_names_are_found() {
    let long = "fn a() {}\n".repeat(MAX_LINES);
    check(files_are_short, "host/a.rs", &long, &[]);
    check(
        files_are_short,
        "host/a.rs",
        &format!("{long}#[cfg(test)]\nmod tests {{\n{long}}}"),
        &[],
    );
    check(files_are_short, "host/a.rs", &format!("{long}fn b() {{}}"), &[MAX_LINES + 1]);
    check(files_are_short, "host/a/tests/b.rs", &format!("{long}fn b() {{}}"), &[]);
    check(modules_are_nouns, "host/a/src/utils.rs", "", &[1]);
    check(modules_are_nouns, "host/a/src/helpers/b.rs", "", &[1]);
    check(modules_are_nouns, "host/a/src/b.rs", "mod claim;\npub mod common;", &[2]);
}

#[test]
fn scripts_and_crates_without_their_heads_are_found() {
    let script =
        "-- drop: forget.\n-- KEYS[1]  prefix\n-- Returns  n\n-- Cost     O(1)\nreturn 1\n";
    check(scripts_state_their_contract, "x/scripts/drop.lua", script, &[]);
    check(scripts_state_their_contract, "x/scripts/other.lua", script, &[1]);
    let reads = script.replace("return 1", "return ARGV[1]");
    check(scripts_state_their_contract, "x/scripts/drop.lua", &reads, &[1]);
    let silent = script.replace("-- Returns  n\n", "");
    check(scripts_state_their_contract, "x/scripts/drop.lua", &silent, &[1]);
    check(scripts_state_their_contract, "x/scripts/step/claim.lua", "return 1", &[]);
    check(crates_have_lints, "host/a/Cargo.toml", "[package]\nname = \"a\"\n", &[1]);
    check(crates_have_lints, "host/a/Cargo.toml", "[package]\n[lints]\nworkspace = true", &[]);
}
