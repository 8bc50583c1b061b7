//! Every target over its corpus, and over a bounded number of mutations of it that are the same
//! in every run. `BULKHEAD_FUZZ_SEED` chooses others, `BULKHEAD_FUZZ_TIMES` so many times as many.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use bulkhead_fuzz::{TARGETS, Target};

/// The most that all corpora take in git, in bytes.
const MAX_CORPUS_BYTES: u64 = 1 << 20;

/// The most files of one corpus.
const MAX_FILES: usize = 80;

/// The longest input that a mutation makes, in bytes.
const MAX_INPUT_BYTES: usize = 64 << 10;

/// A sequence of numbers that is the same in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }
}

/// A number in the environment that is not 0.
fn asked(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse().ok().filter(|number| *number > 0);
    Some(number.unwrap_or_else(|| panic!("`{variable}` is `{text}`, which is no number over 0")))
}

fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// The inputs of a target, in the order of their names.
fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let listed = fs::read_dir(folder(target)).expect("its folder in corpus/");
    let mut files: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let named = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    files.iter().map(|path| (named(path), fs::read(path).unwrap())).collect()
}

/// One small change, of the kinds that fuzzers make.
fn change(input: &mut Vec<u8>, other: &[u8], numbers: &mut Numbers) {
    let at = numbers.below(input.len() + 1);
    match numbers.below(8) {
        0 if at < input.len() => input[at] ^= 1 << numbers.below(8),
        1 if at < input.len() => {
            input[at] = [0, 1, 0x7f, 0x80, 0xc0, 0xdf, 0xff, b'/', b'.', b'%'][numbers.below(10)];
        }
        2 => input.insert(at, numbers.next().to_le_bytes()[0]),
        3 if at < input.len() => drop(input.remove(at)),
        4 => input.truncate(at),
        5 if at < input.len() => {
            let end = (at + 1 + numbers.below(32)).min(input.len());
            let again = input[at..end].to_vec();
            input.splice(at..at, again);
        }
        6 => {
            let from = numbers.below(other.len() + 1);
            let end = (from + numbers.below(64)).min(other.len());
            input.splice(at..at, other[from..end].iter().copied());
        }
        7 if at + 4 <= input.len() => {
            let lies = [0_u32, 1, 0xff, 0xffff, 0x7fff_ffff, 0x8000_0000, u32::MAX];
            let lie = lies[numbers.below(lies.len())];
            let lie = if numbers.below(2) == 0 { lie.to_be_bytes() } else { lie.to_le_bytes() };
            input[at..at + 4].copy_from_slice(&lie);
        }
        _ => {}
    }
    input.truncate(MAX_INPUT_BYTES);
}

/// Run a target; a failure names the input so that it can be kept.
fn run(target: &Target, input: &[u8], what: &str) {
    let ran = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let shown: String = input.iter().take(2_000).map(|byte| format!("{byte:02x}")).collect();
    assert!(ran.is_ok(), "{} fails on {what}: {shown}", target.name);
}

fn check(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let corpus = corpus(target);
    for (file, input) in &corpus {
        run(target, input, file);
    }
    run(target, &[], "nothing");
    let mut numbers = Numbers(asked("BULKHEAD_FUZZ_SEED").unwrap_or(0x9e37_79b9_7f4a_7c15));
    let rounds = u64::from(target.mutations) * asked("BULKHEAD_FUZZ_TIMES").unwrap_or(1);
    for round in 0..rounds {
        let (file, input) = &corpus[numbers.below(corpus.len())];
        let (_, other) = &corpus[numbers.below(corpus.len())];
        let mut input = input.clone();
        for _ in 0..=numbers.below(6) {
            change(&mut input, other, &mut numbers);
        }
        run(target, &input, &format!("mutation {round}, made of {file}"));
    }
}

macro_rules! each {
    ($($name:ident)*) => {
        $(#[test] fn $name() { check(stringify!($name)); })*
        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

each!(
    record reply remote rows plugin worker configuration manifest words trust times host_calls
    redaction sealed outbound paths
);

#[test]
fn every_target_has_a_test_a_corpus_and_a_place_with_cargo_fuzz() {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, TESTED);
    let folder_of = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fuzzed: BTreeSet<String> = fs::read_dir(folder_of.join("fuzz/fuzz_targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(fuzzed, names.iter().map(|name| (*name).to_owned()).collect());
    let manifest = fs::read_to_string(folder_of.join("fuzz/Cargo.toml")).unwrap();
    let mut bytes = 0;
    for target in TARGETS {
        assert!(manifest.contains(&format!("name = \"{}\"", target.name)), "{}", target.name);
        let corpus = corpus(target);
        assert!((2..=MAX_FILES).contains(&corpus.len()), "{}: {}", target.name, corpus.len());
        bytes += corpus.iter().map(|(_, input)| input.len() as u64).sum::<u64>();
    }
    assert!(bytes <= MAX_CORPUS_BYTES, "the corpora have {bytes} bytes");
}
