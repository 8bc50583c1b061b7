//! Reads OpenMetrics text, and takes nothing that the format does not allow.

use std::collections::{BTreeMap, BTreeSet};

/// What a host exposed.
pub struct Exposition {
    /// By sample name and labels, those sorted.
    samples: BTreeMap<(String, Vec<(String, String)>), f64>,
    /// Each family's kind.
    kinds: BTreeMap<String, String>,
}

impl Exposition {
    /// Read a whole text.
    ///
    /// # Panics
    /// If it is no OpenMetrics, with the line that is wrong.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("it ends with `# EOF`");
        let mut read = Self { samples: BTreeMap::new(), kinds: BTreeMap::new() };
        let mut family = String::new();
        let mut ended = BTreeSet::new();
        for line in body.lines() {
            if let Some(said) = line.strip_prefix("# ") {
                let (what, rest) = said.split_once(' ').expect(line);
                let (name, value) = rest.split_once(' ').expect(line);
                assert!(is_name(name), "{line}");
                if name != family {
                    assert!(
                        ended.insert(std::mem::replace(&mut family, name.to_owned())),
                        "{line}"
                    );
                    assert!(!ended.contains(name), "a family comes twice: {line}");
                }
                match what {
                    "HELP" => assert!(!value.contains('\n'), "{line}"),
                    "UNIT" => assert!(name.ends_with(&format!("_{value}")), "{line}"),
                    "TYPE" => {
                        assert!(["counter", "gauge", "histogram"].contains(&value), "{line}");
                        assert!(read.kinds.insert(name.into(), value.into()).is_none(), "{line}");
                    }
                    _ => panic!("{line}"),
                }
                continue;
            }
            read.sample(line, &family);
        }
        read.check_histograms();
        read
    }

    fn sample(&mut self, line: &str, family: &str) {
        let end = line.find(['{', ' ']).expect(line);
        let (name, rest) = line.split_at(end);
        let kind = self.kinds.get(family).unwrap_or_else(|| panic!("no type before {line}"));
        let suffixes: &[&str] = match kind.as_str() {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        let belongs = suffixes.iter().any(|suffix| name.strip_suffix(suffix) == Some(family));
        assert!(belongs, "{name} is no sample of the {kind} {family}");
        let (mut labels, value) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest, line),
            None => (Vec::new(), rest),
        };
        labels.sort();
        let value: f64 = value.trim_start().parse().expect(line);
        assert!(kind == "gauge" || value >= 0.0, "{line}");
        assert!(self.samples.insert((name.into(), labels), value).is_none(), "twice: {line}");
    }

    fn check_histograms(&self) {
        type Rows = BTreeMap<Vec<(String, String)>, Vec<(f64, f64)>>;
        for (family, _) in self.kinds.iter().filter(|(_, kind)| *kind == "histogram") {
            let mut series = Rows::new();
            for ((name, labels), value) in &self.samples {
                if *name != format!("{family}_bucket") {
                    continue;
                }
                let (le, others): (Vec<_>, Vec<_>) =
                    labels.clone().into_iter().partition(|(label, _)| label == "le");
                let le = le.first().expect("a bucket has a bound").1.parse().expect("a number");
                series.entry(others).or_default().push((le, *value));
            }
            for (labels, mut buckets) in series {
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                assert!(buckets.windows(2).all(|two| two[0].1 <= two[1].1), "{family} {labels:?}");
                let (last, count) = *buckets.last().expect("buckets");
                assert!(last.is_infinite(), "{family} {labels:?}");
                let told = self.samples.get(&(format!("{family}_count"), labels.clone()));
                assert_eq!(told, Some(&count), "{family} {labels:?}");
                assert!(self.samples.contains_key(&(format!("{family}_sum"), labels)), "{family}");
            }
        }
    }

    /// The families, as they are named in the text.
    pub fn families(&self) -> impl Iterator<Item = (&str, &str)> {
        self.kinds.iter().map(|(name, kind)| (name.as_str(), kind.as_str()))
    }

    /// The value of one sample.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut labels: Vec<(String, String)> =
            labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        labels.sort();
        self.samples.get(&(name.into(), labels)).copied()
    }

    /// The sum of all samples of a name that have these labels.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |known: &[(String, String)]| {
            labels.iter().all(|(label, value)| known.iter().any(|(l, v)| l == label && v == value))
        };
        let meant = self.samples.iter().filter(|((known, l), _)| known == name && has(l));
        meant.map(|(_, value)| value).sum()
    }

    /// The values of a label, over all samples.
    #[must_use]
    pub fn values_of(&self, label: &str) -> BTreeSet<&str> {
        let labels = self.samples.keys().flat_map(|(_, labels)| labels);
        labels.filter(|(known, _)| known == label).map(|(_, value)| value.as_str()).collect()
    }

    /// The names of the labels of a sample name.
    #[must_use]
    pub fn labels_of(&self, name: &str) -> BTreeSet<&str> {
        let meant = self.samples.keys().filter(|(known, _)| known == name);
        meant.flat_map(|(_, labels)| labels).map(|(label, _)| label.as_str()).collect()
    }

    /// How many samples there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The labels up to the closing brace, and what follows it.
fn labels<'a>(mut rest: &'a str, line: &str) -> (Vec<(String, String)>, &'a str) {
    let mut labels = Vec::new();
    loop {
        let (name, quoted) = rest.split_once("=\"").expect(line);
        assert!(is_name(name), "{line}");
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        let end = loop {
            match chars.next().expect(line) {
                (_, '\\') => match chars.next().expect(line).1 {
                    'n' => value.push('\n'),
                    c @ ('\\' | '"') => value.push(c),
                    c => panic!("`\\{c}` in {line}"),
                },
                (at, '"') => break at,
                (_, c) => value.push(c),
            }
        };
        assert!(labels.iter().all(|(known, _)| known != name), "{line}");
        labels.push((name.to_owned(), value));
        rest = &quoted[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return (labels, rest.strip_prefix('}').expect(line)),
        }
    }
}
