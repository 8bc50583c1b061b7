//! A host with a dashboard, and a browser before it.

use std::process::Command;

use bulkhead_core::TaskId;
use bulkhead_tests::{
    Chromium, HostProcess, Http, Ran, Site, Tab, eventually, install_as, install_shipped,
};
use serde_json::Value;

/// A host on a server of its own, and a browser.
pub(crate) struct Stand {
    pub(crate) site: Site,
    pub(crate) host: HostProcess,
    pub(crate) api: Http,
    refused: usize,
    browser: Chromium,
}

/// Whether a page has drawn what it asked for.
pub(crate) const DRAWN: &str = "document.querySelector('main :is(td, dd, .nothing, .soon)')";

/// A name that a file may have and that a page must show as it is.
pub(crate) const HOSTILE_NAME: &str = "<img src=x onerror=alert(1)>";

impl Stand {
    /// A host with two plugins that work, and two files that do not.
    pub(crate) async fn new() -> Self {
        let site = Site::new().await;
        install_as(site.folder(), HOSTILE_NAME, b"no component");
        install_as(site.folder(), "broken", b"no component");
        Self::on(site, 2).await
    }

    /// A host at a site whose folder holds so many files that are no plugins.
    pub(crate) async fn on(site: Site, refused: usize) -> Self {
        install_shipped(site.folder(), "text-stats");
        let host = Self::start(&site, "127.0.0.1:0", &[]);
        let api = Http::of(&host).await;
        let stand = Self { site, host, api, refused, browser: Chromium::start() };
        stand.ready().await;
        stand
    }

    fn start(site: &Site, listen: &str, settings: &[(&str, &str)]) -> HostProcess {
        let mut command: Command = HostProcess::command();
        command.args(["--broker", &site.server.url(), "run", "--name", "harbour", "--plugins"]);
        command
            .arg(site.folder())
            .env("BULKHEAD_API__LISTEN", listen)
            .env("BULKHEAD_PLUGINS__FLEET", "any");
        command.envs(settings.iter().map(|(key, value)| (format!("BULKHEAD_API__{key}"), value)));
        HostProcess::spawn(command, site.folder().join("h.log"))
    }

    async fn ready(&self) {
        eventually("it serves", || async {
            let hosts = self.site.client.broker().hosts().await.ok()?;
            let host = hosts.iter().find(|host| host.pid == self.host.pid())?;
            let known = host.plugins.iter().filter(|one| one.serving.is_some()).count();
            (known == 2 && host.plugins.len() == 2 + self.refused).then_some(())
        })
        .await;
    }

    /// End the host, and start another one at the same address, with these settings of `[api]`.
    pub(crate) async fn restart(&mut self, settings: &[(&str, &str)]) {
        let address = self.api.base().trim_start_matches("http://").to_owned();
        self.host.kill();
        self.host = Self::start(&self.site, &address, settings);
        Http::of(&self.host).await;
        self.ready().await;
    }

    /// The API, asked by an administrator.
    pub(crate) fn admin(&self) -> Http {
        self.api.with(&self.token("root", &["--scope", "admin"]))
    }

    /// Submit a task as JSON; its id.
    pub(crate) fn submit(&self, api: &Http, task: &Value) -> TaskId {
        let id = api.post("/v1/tasks", &task.to_string()).with(201)["id"].clone();
        id.as_str().expect("an id").parse().expect("an id")
    }

    /// The text of a new token.
    pub(crate) fn token(&self, name: &str, more: &[&str]) -> String {
        let broker = self.site.server.url();
        Ran::of(&[&["--broker", broker.as_str(), "token", "create", name], more].concat()).said()
    }

    /// A tab before the dashboard.
    pub(crate) fn visitor(&self) -> Tab {
        let tab = self.browser.tab();
        tab.expect_complaint("status of 401");
        tab.go(&format!("{}/", self.api.base()));
        tab
    }

    /// A tab in which nobody has signed in.
    pub(crate) fn stranger(&self) -> Tab {
        let tab = self.visitor();
        tab.shows("Who asks?");
        tab
    }

    /// A tab in which somebody has signed in with a token of these scopes.
    pub(crate) fn tab(&self, scopes: &str) -> Tab {
        self.signed_in(&self.token("somebody", &["--scope", scopes]))
    }

    /// A tab in which a token was shown.
    pub(crate) fn signed_in(&self, token: &str) -> Tab {
        let tab = self.stranger();
        sign_in(&tab, token);
        tab.until("somebody is let in", "document.querySelectorAll('#nav a').length > 0");
        tab
    }
}

/// Show a token.
pub(crate) fn sign_in(tab: &Tab, token: &str) {
    tab.write("Token", token);
    tab.press("Enter");
}

/// Open a page by its address within the dashboard.
pub(crate) fn open(tab: &Tab, page: &str) {
    let go = "(() => { const here = document.querySelector('main > *'); if (location.hash !== to && here) here.dataset.left = ''; location.hash = to; })()";
    tab.js(&format!("window.to = '#/{page}'; {go}"));
    stands(tab);
}

/// Go to a page by the navigation.
pub(crate) fn go(tab: &Tab, title: &str) {
    tab.js("document.querySelector('main > *').dataset.left = ''");
    tab.click_in("#nav", title);
    stands(tab);
}

/// Wait until a page that was gone to stands.
pub(crate) fn stands(tab: &Tab) {
    tab.until("the page stands", "document.querySelector('main > :not([data-left]) h1') !== null");
}

/// The address of a task's page.
pub(crate) fn page_of(id: TaskId) -> String {
    format!("tasks/default/{id}")
}
