//! The demo shop of a gateway, open in a browser, with the simulator behind the gateway.

use std::net::TcpListener;
use std::path::PathBuf;

use genesys_sim::{Agent, Rules, Script, Simulator};
use serde_json::json;
use tempfile::TempDir;

use crate::chromium::{Browser, CHROMIUM, has_chromium};
use crate::component::{Look, ROOT};
use crate::process::{Process, command};
use crate::world::simulator;
use left_out::leave_out;

/// The size of a page on a desktop.
pub(super) const DESKTOP: (u32, u32) = (1280, 900);

pub(super) struct Visit {
    pub(super) browser: Browser,
    pub(super) simulator: Simulator,
    /// `None` while it is stopped.
    pub(super) gateway: Option<Process>,
    /// Address of the page.
    pub(super) url: String,
    config: PathBuf,
    _folder: TempDir,
}

impl Visit {
    /// `None` if the machine lacks Chromium.
    pub(super) async fn start(test: &str) -> Option<Self> {
        if !has_chromium().await {
            leave_out(test, CHROMIUM);
            return None;
        }
        // of the gateway, at which it also starts again
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let script = Script::demo_shop(&format!("http://{address}/demo")).unwrap();
        let simulator = simulator(Rules {
            agent: Agent::Scripts(vec![script]),
            ..Rules::default()
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("gateway.toml");
        let text = configuration(&folder, &format!("host = \"{}\"", simulator.host()))
            .replace("127.0.0.1:0", &address.to_string())
            .replace(
                "[[channel]]",
                &format!("[[channel]]\ndeployment = \"{}\"", simulator.deployment_id()),
            );
        std::fs::write(&config, text).unwrap();
        let mut browser = Browser::start().await;
        let (width, height) = DESKTOP;
        browser.show_as(width, height, "light").await;
        let mut visit = Self {
            browser,
            simulator,
            gateway: None,
            url: format!("http://{address}/demo/"),
            config,
            _folder: folder,
        };
        visit.start_gateway().await;
        let url = visit.url.clone();
        visit.browser.open(&url).await;
        Some(visit)
    }

    pub(super) async fn start_gateway(&mut self) {
        let mut serve = command(["serve", "--json", "--config"]);
        serve.arg(&self.config);
        let mut gateway = Process::start(serve);
        let ready = gateway.json().await;
        assert_eq!(ready["demoPage"], self.url.as_str());
        self.gateway = Some(gateway);
    }

    /// Kills the gateway, as a crash does.
    pub(super) async fn kill_gateway(&mut self) {
        let gateway = self.gateway.take().unwrap();
        gateway.signal("KILL");
        gateway.ended().await;
    }

    /// Takes the browser offline, or back online.
    pub(super) async fn network(&mut self, offline: bool) {
        let conditions =
            json!({ "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
        self.browser
            .command("Network.emulateNetworkConditions", conditions)
            .await;
    }

    /// Writes a message that cannot be sent yet.
    pub(super) async fn write_unsent(&mut self, text: &str) {
        let focus = format!("{ROOT}.querySelector('textarea.compose').focus()");
        self.browser.evaluate(&focus).await;
        self.browser.write(text).await;
        self.browser.press("Enter").await;
        self.browser.see(".own:not(.sent)").await;
    }

    /// Makes the choices of the consent dialogue, and waits for the menu of the bot.
    pub(super) async fn begin(&mut self) {
        self.browser.click(".consent button[type=submit]").await;
        self.browser.read("What shall I show you?").await;
    }

    /// Reloads the page.
    pub(super) async fn reload(&mut self) {
        let url = self.url.replace("/demo/", "/demo/?reloaded");
        self.browser.open(&url).await;
    }

    /// Checks the page in light, dark and at 320 px, and takes a picture of each.
    pub(super) async fn check_appearance(&mut self, name: &str) {
        let (width, height) = DESKTOP;
        let desktop = ["light", "dark"].map(|name| Look { name, width, height });
        self.browser
            .check_looks(&format!("demo-page-{name}"), &desktop)
            .await;
        let narrow = Look {
            name: "narrow",
            width: 320,
            height: 760,
        };
        // there the chat covers the page when it is open
        self.browser.show_as(narrow.width, narrow.height, "light").await;
        self.browser
            .evaluate("document.querySelector('.open-chat').click()")
            .await;
        self.browser.see(".chat").await;
        // the newest message is shown
        let at_end = "(log) => log === null || log.scrollHeight - log.scrollTop - log.clientHeight < 2";
        self.browser
            .until(&format!("({at_end})({ROOT}.querySelector('.log'))"))
            .await;
        self.browser
            .check_looks(&format!("demo-page-{name}"), &[narrow])
            .await;
        self.browser
            .evaluate("document.querySelector('.close-chat').click()")
            .await;
        self.browser
            .until(&format!("!{ROOT}.querySelector('.chat').checkVisibility()"))
            .await;
        self.browser.show_as(width, height, "light").await;
    }

    /// Checks that nothing was written to the console, no request left the machine, and Genesys' contract was kept.
    pub(super) fn check_quiet(&self) {
        self.browser.check_quiet();
        let violations = self.simulator.violations();
        assert!(violations.is_empty(), "{violations:?}");
    }
}

/// The configuration of a gateway with the demo shop, with these lines of `[genesys]`.
pub(super) fn configuration(folder: &TempDir, genesys: &str) -> String {
    let path = |name: &str| folder.path().join(name).display().to_string();
    format!(
        "[listen]\naddress = \"127.0.0.1:0\"\n\
         [store]\npath = {store:?}\nkeys = {keys:?}\n\
         [genesys]\n{genesys}\n\
         [sessions]\nallowed_origins = []\npolicy = \"purpose-scoped\"\n\
         [spa]\nclient = \"shop\"\ndemo_page = true\n\
         [[client]]\nid = \"shop\"\nsecret = \"not-used\"\nscopes = [\"webmessaging:guest:write\"]\n\
         [[channel]]\nid = \"shop\"\n",
        store = path("gateway.db"),
        keys = path("gateway.keys"),
    )
}
