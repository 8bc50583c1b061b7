//! A real browser: headless Chromium, spoken to over a pipe.
//!
//! It listens on no port, reaches nothing but this machine, keeps its profile in a folder of its
//! own, and ends with the test, however that ends: a browser whose pipe breaks exits. What a page
//! complains of (console errors, exceptions, breaches of its policy, dialogs) is kept, and a
//! [`Tab`] that is dropped with complaints nobody expected fails the test.

mod hands;
mod pipe;
mod tab;

use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;

use pipe::Pipe;
pub use tab::{Scheme, Tab};

/// A browser, killed when dropped.
pub struct Chromium {
    child: Child,
    pipe: Arc<Pipe>,
    _profile: TempDir,
}

impl Chromium {
    /// Start one.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start() -> Self {
        let profile = tempfile::tempdir().expect("a folder");
        let folder = profile.path().display();
        let mut arguments = [
            "--headless=new",
            "--remote-debugging-pipe",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-default-apps",
            "--disable-extensions",
            "--disable-sync",
            "--metrics-recording-only",
            "--no-first-run",
            "--no-proxy-server",
            "--hide-scrollbars",
            "--lang=en-GB",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.push(format!("--user-data-dir={folder}"));
        // Its own sandbox cannot be set up by root, as whom containers run tests.
        if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
            arguments.push("--no-sandbox".into());
        }
        // It reads from its third and writes to its fourth file.
        let mut child = Command::new("sh")
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh"])
            .args(&arguments)
            .arg("about:blank")
            .env("HOME", profile.path())
            .env("TZ", "UTC")
            .env_remove("CHROMIUM_FLAGS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let pipe = Pipe::new(input.expect("its input"), output.expect("its output"));
        let browser = Self { child, pipe: Arc::new(pipe), _profile: profile };
        // Whether it is there at all is known when it answers.
        browser.pipe.call(None, "Browser.getVersion", &json!({}));
        browser
    }

    /// A tab that shares nothing with others: no storage, no cache.
    ///
    /// # Panics
    /// If it cannot be opened.
    #[must_use]
    pub fn tab(&self) -> Tab {
        let context = self.pipe.call(None, "Target.createBrowserContext", &json!({}));
        let context = &context["browserContextId"];
        let target = json!({"url": "about:blank", "browserContextId": context});
        let target = self.pipe.call(None, "Target.createTarget", &target);
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = self.pipe.call(None, "Target.attachToTarget", &attach);
        let session = session["sessionId"].as_str().expect("a session");
        Tab::new(self.pipe.clone(), session, context)
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
