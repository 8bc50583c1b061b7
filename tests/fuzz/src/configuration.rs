//! What operators and uploaders write: configuration files, variables, manifests, and the
//! small words in them.

use std::path::PathBuf;

use bulkhead::config::quantity::{Size, Span};
use bulkhead::config::{BrokerUrl, Config, Sources};
use bulkhead::manifest;
use bulkhead_core::{QueueName, Rate, TaskType, TenantName, check_name};
use bulkhead_queue::SecretId;
use bulkhead_sandbox::fuzzing::check_plugin_name;

use crate::{choice, texts};

/// A configuration: the first byte says whether TOML, YAML or variables. The same text has the
/// same meaning again, and what is wrong is said.
pub fn configuration(data: &[u8]) {
    let (kind, data) = choice(data);
    let folder = tempfile::tempdir().unwrap();
    let mut sources = Sources { dir: folder.path().to_owned(), ..Sources::default() };
    if kind % 3 == 2 {
        let text = String::from_utf8_lossy(data);
        let pairs = text.split('\n').filter_map(|line| line.split_once('='));
        sources.env =
            pairs.map(|(name, value)| (format!("BULKHEAD_{name}"), value.into())).collect();
        // What the operator's own file system holds is not an input.
        sources.env.retain(|(name, _)| name != "BULKHEAD_CONFIG");
    } else {
        let name = if kind % 3 == 0 { "bulkhead.toml" } else { "bulkhead.yaml" };
        let file = folder.path().join(name);
        std::fs::write(&file, data).unwrap();
        sources.file = Some(PathBuf::from(&file));
    }
    match Config::load(&sources) {
        Ok(config) => {
            for setting in config.settings() {
                assert!(!format!("{setting:?}").is_empty());
            }
            let again = config.reload().expect("the same sources say the same");
            assert_eq!(format!("{:?}", again.settings()), format!("{:?}", config.settings()));
        }
        Err(error) => assert!(!error.problems.is_empty()),
    }
}

/// A manifest: what is wrong is said with the name of its file.
pub fn manifest(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match manifest::parse("plugin.toml", &text) {
        Ok(said) => {
            assert_ne!(said.instances, Some(0));
            let again = manifest::parse("plugin.toml", &text).expect("the same text");
            assert_eq!(again, said);
        }
        Err(error) => assert!(error.to_string().contains("plugin.toml")),
    }
}

/// Spans, sizes, names, rates, URLs of brokers: spans, sizes and names are written so that the
/// same is read, and a password is shown by nothing.
pub fn words(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(span) = text.parse::<Span>() {
        assert_eq!(span.to_string().parse(), Ok(span), "{text:?}");
    }
    if let Ok(size) = text.parse::<Size>() {
        assert_eq!(size.to_string().parse(), Ok(size), "{text:?}");
    }
    if let Ok(rate) = text.parse::<Rate>() {
        // Shown to people, rounded: `10/64s` is 9.375 a minute.
        assert!(rate.interval_us > 0 && rate.burst > 0, "{text:?}");
        assert!(rate.to_string().ends_with(&format!(" burst {}", rate.burst)), "{text:?}");
    }
    for named in [
        check_name("name", &text).is_ok(),
        QueueName::new(&text).is_ok(),
        TenantName::new(&text).is_ok(),
        TaskType::new(&text).is_ok(),
        check_plugin_name(&text).is_ok(),
    ] {
        assert!(!named || (1..=128).contains(&text.len()), "{text:?}");
        assert!(!named || text.chars().all(|c| c.is_ascii_graphic()), "{text:?}");
    }
    if let Ok(id) = text.parse::<SecretId>() {
        assert_eq!(id.to_string().parse().ok(), Some(id), "{text:?}");
    }
    match text.parse::<BrokerUrl>() {
        Ok(url) => plain(&url.to_string()),
        Err(error) => plain(&error),
    }
    let [user, password, place] = texts(data);
    let secret = format!("hunter2{}", password.replace(['@', '/', '?', '#'], ""));
    if let Ok(url) = format!("redis://{user}:{secret}@{place}").parse::<BrokerUrl>() {
        assert!(!format!("{url} {url:?}").contains("hunter2"), "{url}");
    }
}

/// A text that changes no terminal.
fn plain(text: &str) {
    let hostile = text.chars().find(|c| c.is_control());
    assert_eq!(hostile, None, "{text:?}");
}
