//! A headless chromium, driven by the Chrome DevTools Protocol.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::page::soon;
use left_out::Missing;

/// Only the system's packages have it.
pub(crate) const CHROMIUM: Missing = Missing {
    program: "chromium",
    install: "apt-get install chromium",
};

/// Longest real time until the page shows an effect, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Whether the machine has a chromium.
pub(crate) async fn has_chromium() -> bool {
    let version = Command::new(CHROMIUM.program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    version.await.is_ok_and(|status| status.success())
}

/// A tab of a browser, by its id of the protocol.
#[derive(Debug, Default)]
pub(crate) struct Tab(String);

/// A browser with a tab. Dropping it stops the browser.
pub(crate) struct Browser {
    socket: WebSocketStream<TcpStream>,
    tab: Tab,
    next: u64,
    /// Warnings, errors and exceptions of the page, as its console shows them.
    pub(crate) console: VecDeque<String>,
    /// Addresses of all requests of the page.
    pub(crate) requests: Vec<String>,
    _process: Child,
    _profile: TempDir,
}

impl Browser {
    pub(crate) async fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut process = Command::new(CHROMIUM.program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--hide-scrollbars",
                "--remote-debugging-port=0",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-quic",
                "--disable-sync",
                // no request can leave the machine
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let url = soon(async {
            loop {
                let line = lines.next_line().await.unwrap().expect("chromium ended");
                if let Some((_, url)) = line.split_once("DevTools listening on ") {
                    break url.to_owned();
                }
            }
        })
        .await;
        // a full pipe would stop the browser
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let request = url.into_client_request().unwrap();
        let address = request.uri().authority().unwrap().as_str().to_owned();
        let stream = TcpStream::connect(address).await.unwrap();
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        let mut browser = Self {
            socket,
            tab: Tab::default(),
            next: 0,
            console: VecDeque::new(),
            requests: Vec::new(),
            _process: process,
            _profile: profile,
        };
        browser.open_tab().await;
        browser
    }

    /// Opens a tab, to which all commands go from now on. Returns the tab of the commands before.
    pub(crate) async fn open_tab(&mut self) -> Tab {
        let before = self.switch_to(Tab::default());
        let tab = self
            .command("Target.createTarget", json!({ "url": "about:blank" }))
            .await;
        let attach = json!({ "targetId": tab["targetId"], "flatten": true });
        let attached = self.command("Target.attachToTarget", attach).await;
        attached["sessionId"]
            .as_str()
            .unwrap()
            .clone_into(&mut self.tab.0);
        for domain in ["Runtime", "Log", "Page", "Network"] {
            self.command(&format!("{domain}.enable"), json!({})).await;
        }
        before
    }

    /// Sends all commands to a tab from now on. Returns the tab of the commands before.
    pub(crate) fn switch_to(&mut self, tab: Tab) -> Tab {
        std::mem::replace(&mut self.tab, tab)
    }

    /// Sends a command, and returns its result. Events until then are recorded.
    pub(crate) async fn command(&mut self, method: &str, params: Value) -> Value {
        let mut answer = self.answer(method, params).await;
        assert_eq!(answer["error"], Value::Null, "{method}");
        answer["result"].take()
    }

    /// Sends a command, and returns its result or error.
    async fn answer(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let mut command = json!({ "id": self.next, "method": method, "params": params });
        if !self.tab.0.is_empty() {
            command["sessionId"] = self.tab.0.as_str().into();
        }
        self.socket
            .send(Message::text(command.to_string()))
            .await
            .unwrap();
        loop {
            let message = soon(self.socket.next()).await.unwrap().unwrap();
            let Message::Text(text) = message else { continue };
            let frame: Value = serde_json::from_str(&text).unwrap();
            if frame["id"] == self.next {
                return frame;
            }
            self.record(&frame);
        }
    }

    fn record(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.consoleAPICalled") if params["type"] == "error" || params["type"] == "warning" => {
                self.console.push_back(params["args"].to_string());
            }
            Some("Runtime.exceptionThrown") => self.console.push_back(params["exceptionDetails"].to_string()),
            Some("Log.entryAdded") => self.console.push_back(params["entry"].to_string()),
            Some("Network.requestWillBeSent") => {
                let url = params["request"]["url"].as_str().unwrap_or_default();
                self.requests.push(url.to_owned());
            }
            Some("Network.webSocketCreated") => {
                self.requests
                    .push(params["url"].as_str().unwrap_or_default().to_owned());
            }
            _ => {}
        }
    }

    /// Opens a page, and waits until it is loaded.
    pub(crate) async fn open(&mut self, url: &str) {
        self.command("Page.navigate", json!({ "url": url })).await;
        self.until(&format!(
            "location.href.startsWith({url:?}) && document.readyState === 'complete'"
        ))
        .await;
    }

    /// The value of an expression, which may be a promise.
    pub(crate) async fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.command("Runtime.evaluate", params).await;
        assert_eq!(answer["exceptionDetails"], Value::Null, "{expression}");
        answer["result"]["value"].take()
    }

    /// Waits until the expression is true in the page.
    pub(crate) async fn until(&mut self, condition: &str) {
        let holds = format!("(() => {{ try {{ return !!({condition}); }} catch {{ return false; }} }})()");
        // the page may be replaced while it waits, also during an evaluation, so it is asked again and again
        let params = json!({ "expression": holds, "returnByValue": true });
        let polled = async {
            while self.answer("Runtime.evaluate", params.clone()).await["result"]["result"]["value"] != true {
                tokio::time::sleep(POLL).await;
            }
        };
        if tokio::time::timeout(DEADLINE, polled).await.is_err() {
            let shown =
                "[document, ...[...document.querySelectorAll('*')].flatMap((part) => part.shadowRoot ?? [])]
                .map((root) => (root.body ?? root.firstElementChild).innerText).join('\\n')";
            let text = self.evaluate(shown).await;
            panic!(
                "never true: {condition}\nconsole: {:?}\npage: {text}",
                self.console
            );
        }
    }

    /// Presses and releases a key, such as `Tab` or `Enter`.
    pub(crate) async fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            " " => (32, " "),
            _ => panic!("{key} has no code here"),
        };
        let down = json!({ "type": "keyDown", "key": key, "windowsVirtualKeyCode": code, "text": text });
        self.command("Input.dispatchKeyEvent", down).await;
        let up = json!({ "type": "keyUp", "key": key, "windowsVirtualKeyCode": code });
        self.command("Input.dispatchKeyEvent", up).await;
    }

    /// Types a text into the focused field.
    pub(crate) async fn write(&mut self, text: &str) {
        self.command("Input.insertText", json!({ "text": text })).await;
    }

    /// Sets the size of the tab, and the color scheme that the system prefers.
    pub(crate) async fn show_as(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.command("Emulation.setDeviceMetricsOverride", size).await;
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.command("Emulation.setEmulatedMedia", features).await;
    }

    /// Writes a picture of the tab.
    pub(crate) async fn screenshot(&mut self, path: &Path) {
        let answer = self
            .command("Page.captureScreenshot", json!({ "format": "png" }))
            .await;
        let picture = STANDARD.decode(answer["data"].as_str().unwrap()).unwrap();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, picture).unwrap();
    }
}
