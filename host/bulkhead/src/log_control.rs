//! What is logged, changed while the process runs.
//!
//! Whoever installs the log gives this handle to those who may change it: the signal that reads
//! the configuration again, the API.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing_subscriber::EnvFilter;

use crate::config::check_directives;
use crate::log_tail::LogTail;

/// Puts a filter in the place of the one before.
type Replace = dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync;

/// The levels of a log. Clones are the same log's.
#[derive(Clone)]
pub struct LogControl(Arc<Inner>);

struct Inner {
    tail: LogTail,
    directives: Mutex<String>,
    replace: Box<Replace>,
}

impl fmt::Debug for LogControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogControl").field(&self.get()).finish()
    }
}

impl LogControl {
    /// The control of a log that has these directives, whose filter `replace` replaces, and whose
    /// last complaints `tail` keeps.
    pub fn new(
        directives: &str,
        tail: LogTail,
        replace: impl Fn(EnvFilter) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        let directives = Mutex::new(directives.to_owned());
        Self(Arc::new(Inner { tail, directives, replace: Box::new(replace) }))
    }

    /// The warnings and errors that were logged last.
    #[must_use]
    pub fn tail(&self) -> &LogTail {
        &self.0.tail
    }

    /// The directives that hold, such as `info,bulkhead_queue=debug`.
    #[must_use]
    pub fn get(&self) -> String {
        self.0.directives.lock().clone()
    }

    /// Let others hold from now on; whether they are others. What makes no sense changes nothing.
    pub fn set(&self, directives: &str) -> Result<bool, String> {
        check_directives(directives)?;
        let filter = EnvFilter::try_new(directives).map_err(|error| error.to_string())?;
        let mut held = self.0.directives.lock();
        if *held == directives {
            return Ok(false);
        }
        (self.0.replace)(filter)?;
        tracing::info!(from = *held, to = directives, "log levels changed");
        directives.clone_into(&mut held);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Written {
        type Writer = Self;
        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn levels_of_single_modules_change_while_the_log_is_open() {
        let written = Written::default();
        let filter = EnvFilter::try_new("warn").unwrap();
        let (filter, handle) = tracing_subscriber::reload::Layer::new(filter);
        let log = tracing_subscriber::fmt::layer().with_writer(written.clone());
        let subscriber = tracing_subscriber::registry().with(filter).with(log);
        let control = LogControl::new("warn", LogTail::default(), move |filter| {
            handle.reload(filter).map_err(|error| error.to_string())
        });
        tracing::subscriber::with_default(subscriber, || {
            let say = |what: &str| {
                tracing::debug!(target: "here", "here {what}");
                tracing::debug!(target: "there", "there {what}");
            };
            say("before");
            assert_eq!(control.set("warn,here=debug"), Ok(true));
            say("during");
            assert_eq!(control.set("warn,here=debug"), Ok(false));
            assert!(control.set("wran").unwrap_err().contains("`wran` is no log level"));
            assert!(control.set("here=loud").is_err());
            assert_eq!(control.get(), "warn,here=debug");
            assert_eq!(control.set("warn"), Ok(true));
            say("after");
        });
        let text = String::from_utf8(written.0.lock().clone()).unwrap();
        let said: Vec<&str> = text.lines().filter(|line| line.contains("DEBUG")).collect();
        assert_eq!(said.len(), 1, "{text}");
        assert!(said[0].contains("here during"), "{text}");
    }
}
