//! A page in a tab: what it shows, what it says of itself, how it is looked at.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::pipe::Pipe;

/// How long something may take to come true on a page.
const PATIENCE: Duration = Duration::from_secs(45);

/// Light or dark, as the system says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Dark text on a light ground.
    Light,
    /// Light text on a dark ground.
    Dark,
}

/// A tab of its own.
pub struct Tab {
    pipe: Arc<Pipe>,
    session: String,
    context: Value,
    complaints: RefCell<Vec<String>>,
    expected: RefCell<Vec<String>>,
}

impl Tab {
    pub(super) fn new(pipe: Arc<Pipe>, session: &str, context: &Value) -> Self {
        let complaints = RefCell::default();
        let tab = Self {
            pipe,
            session: session.to_owned(),
            context: context.clone(),
            complaints,
            expected: RefCell::default(),
        };
        for domain in ["Page", "Runtime", "Log"] {
            tab.call(&format!("{domain}.enable"), json!({}));
        }
        tab.size(1360, 900);
        tab
    }

    /// Ask the browser something about this tab.
    ///
    /// # Panics
    /// If it refuses.
    #[track_caller]
    #[allow(clippy::needless_pass_by_value, reason = "callers write `json!` in place")]
    pub fn call(&self, method: &str, params: Value) -> Value {
        self.pipe.call(Some(&self.session), method, &params)
    }

    /// Go to an address.
    #[track_caller]
    pub fn go(&self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
        self.until("the page is loaded", "document.readyState === 'complete'");
    }

    /// Load the page anew, and wait until it has been.
    #[track_caller]
    pub fn reload(&self) {
        self.js("window.isLeft = true");
        self.call("Page.reload", json!({}));
        self.until(
            "the page is loaded anew",
            "!window.isLeft && document.readyState === 'complete'",
        );
    }

    /// The value of an expression on the page.
    ///
    /// # Panics
    /// If it throws.
    #[track_caller]
    pub fn js(&self, expression: &str) -> Value {
        self.evaluate(expression).unwrap_or_else(|thrown| panic!("{expression}: {thrown}"))
    }

    #[track_caller]
    fn evaluate(&self, expression: &str) -> Result<Value, String> {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.pipe.ask(Some(&self.session), "Runtime.evaluate", &asked);
        let answer = answer.map_err(|refused| refused.to_string())?;
        match answer.get("exceptionDetails") {
            Some(thrown) => Err(thrown["exception"]["description"].to_string()),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// Wait until an expression is true, or anything else that counts as true.
    ///
    /// # Panics
    /// If it does not become so.
    #[track_caller]
    pub fn until(&self, what: &str, expression: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // A page that is left throws away what was asked of it.
            let value = self.evaluate(expression);
            let falsy = |value: &Value| {
                matches!(value, Value::Null | Value::Bool(false))
                    || *value == json!(0)
                    || *value == json!("")
            };
            match value {
                Ok(value) if !falsy(&value) => return value,
                last if Instant::now() >= deadline => {
                    panic!(
                        "not within {PATIENCE:?}: {what} ({last:?}); the page says:\n{}",
                        self.text()
                    )
                }
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Wait until the page shows a text.
    #[track_caller]
    pub fn shows(&self, text: &str) {
        self.until(
            &format!("it shows `{text}`"),
            &format!("document.body.innerText.includes({})", json!(text)),
        );
    }

    /// Wait until the page shows a text no more.
    #[track_caller]
    pub fn shows_no_more(&self, text: &str) {
        self.until(
            &format!("it shows `{text}` no more"),
            &format!("!document.body.innerText.includes({})", json!(text)),
        );
    }

    /// What the page says.
    #[track_caller]
    #[must_use]
    pub fn text(&self) -> String {
        self.js("document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// Give the page this much room, in CSS pixels.
    pub fn size(&self, width: u32, height: u32) {
        let phone = width < 600;
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}),
        );
    }

    /// Say what the system prefers.
    pub fn prefer(&self, scheme: Scheme, less_motion: bool) {
        let scheme = if scheme == Scheme::Dark { "dark" } else { "light" };
        let motion = if less_motion { "reduce" } else { "no-preference" };
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// Keep files that the page gives away in this folder.
    pub fn downloads_into(&self, folder: &Path) {
        let asked =
            json!({"behavior": "allow", "downloadPath": folder, "browserContextId": self.context});
        self.pipe.call(None, "Browser.setDownloadBehavior", &asked);
    }

    /// What is seen, as PNG.
    ///
    /// # Panics
    /// If it cannot be told.
    #[must_use]
    pub fn picture(&self) -> Vec<u8> {
        let taken = self.call("Page.captureScreenshot", json!({"format": "png"}));
        STANDARD.decode(taken["data"].as_str().expect("base64")).expect("base64")
    }

    /// Complaints with this text in them are no fault: the test is their cause.
    pub fn expect_complaint(&self, text: &str) {
        self.expected.borrow_mut().push(text.to_owned());
    }

    /// What the page has complained of, and nobody expected.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = self.complaints.borrow_mut();
        complaints.extend(self.pipe.told(&self.session).iter().filter_map(complaint));
        let expected = self.expected.borrow();
        complaints.retain(|said| !expected.iter().any(|text| said.contains(text)));
        complaints.clone()
    }
}

/// What of an event is a complaint.
fn complaint(event: &Value) -> Option<String> {
    let params = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(params["exceptionDetails"].to_string()),
        "Runtime.consoleAPICalled"
            if ["error", "warning", "assert"].contains(&params["type"].as_str()?) =>
        {
            Some(params["args"].to_string())
        }
        "Log.entryAdded" if ["error", "warning"].contains(&params["entry"]["level"].as_str()?) => {
            let entry = &params["entry"];
            Some(format!("{} ({} {})", entry["text"], entry["source"], entry["url"]))
        }
        "Page.javascriptDialogOpening" => Some(format!("a dialog: {}", params["message"])),
        _ => None,
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let complaints = self.complaints();
            assert!(complaints.is_empty(), "the page complained:\n{}", complaints.join("\n"));
        }
    }
}
