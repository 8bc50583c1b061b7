//! The `log` facade, wired to the host's log.
//!
//! A line's key-values become its fields. A line that does not come from the plugin's
//! own crate carries where it does come from in the field `log.target`.

use log::kv::{Error, Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};

use crate::host;

/// Lines below this level are dropped in the guest, until the plugin says otherwise
/// with `log::set_max_level`: each line is a call to the host.
#[cfg(target_arch = "wasm32")]
const DEFAULT_LEVEL: LevelFilter = LevelFilter::Info;
/// A test sees every line.
#[cfg(not(target_arch = "wasm32"))]
const DEFAULT_LEVEL: LevelFilter = LevelFilter::Trace;

struct HostLog {
    /// The plugin's crate, in Cargo's spelling.
    own: Option<&'static str>,
}

/// Make the host's log that of the `log` facade. A logger that the plugin installed
/// itself stays.
pub(crate) fn install(own: Option<&'static str>) {
    static COMPONENT: std::sync::OnceLock<HostLog> = std::sync::OnceLock::new();
    let logger = COMPONENT.get_or_init(|| HostLog { own });
    if log::set_logger(logger).is_ok() {
        log::set_max_level(DEFAULT_LEVEL);
    }
}

impl Log for HostLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut fields = Fields(Vec::new());
        let target = record.target();
        if !self.is_own(target) {
            fields.0.push(("log.target".to_owned(), target.to_owned()));
        }
        // A source that fails half-way has given what it could.
        let _ = record.key_values().visit(&mut fields);
        match record.args().as_str() {
            Some(message) => host::write_log(record.level(), message, &fields.0),
            None => host::write_log(record.level(), &record.args().to_string(), &fields.0),
        }
    }

    fn flush(&self) {}
}

impl HostLog {
    fn is_own(&self, target: &str) -> bool {
        let Some(own) = self.own else { return true };
        let krate = target.split("::").next().unwrap_or(target);
        krate.len() == own.len()
            && krate.bytes().zip(own.bytes()).all(|(t, o)| t == o || (t == b'_' && o == b'-'))
    }
}

struct Fields(Vec<(String, String)>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        self.0.push((key.as_str().to_owned(), value.to_string()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_foreign_lines_name_their_origin() {
        let log = HostLog { own: Some("text-stats") };
        for (target, own) in [
            ("text_stats", true),
            ("text_stats::words", true),
            ("text_statistics", false),
            ("image::codecs", false),
            ("", false),
        ] {
            assert_eq!(log.is_own(target), own, "{target}");
        }
        assert!(HostLog { own: None }.is_own("image"));
    }
}
