//! A page with the component in a browser, its backend, the gateway and the agent.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use genesys_http::server::{Limits, Server};
use genesys_sim::{Agent, Rules, Script};
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::{Mutex, OnceCell};

use crate::api::{Api, Call, SESSIONS};
use crate::chromium::{Browser, CHROMIUM, has_chromium};
use crate::left_out::{Missing, leave_out, target};
use crate::world::{CHANNEL, CLIENT, ORIGIN, World};

const FILES: [(&str, &str, &str); 4] = [
    ("/", "text/html; charset=utf-8", include_str!("index.html")),
    ("/page.css", "text/css", include_str!("page.css")),
    ("/page.js", "text/javascript", include_str!("page.js")),
    (
        "/guest-chat.js",
        "text/javascript",
        include_str!("../../../../clients/browser/guest-chat.js"),
    ),
];

/// The checks of accessibility. They are an npm package.
const AXE: Missing = Missing {
    program: "axe-core",
    install: "npm install --prefix target/axe axe-core@4.14.1",
};

/// The shadow tree of the component.
pub(super) const ROOT: &str = "document.querySelector('guest-chat').shadowRoot";

/// The page's backend: it holds the session of its one guest.
pub(super) struct Shop {
    /// `None` while the gateway is stopped.
    pub(super) world: Mutex<Option<World>>,
    /// Address of the gateway's sockets.
    gateway: String,
    session: Mutex<Option<Value>>,
    pub(super) choices: Mutex<Vec<Value>>,
}

impl Shop {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if let Some((_, media, text)) = FILES.iter().find(|(name, _, _)| *name == path) {
            let policy = format!(
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' {} {}; \
                 base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'",
                self.gateway,
                self.gateway.replacen("ws", "http", 1)
            );
            return Response::builder()
                .header(CONTENT_TYPE, *media)
                .header(CONTENT_SECURITY_POLICY, policy)
                .body(Full::from(*text))
                .unwrap();
        }
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let mut session = self.session.lock().await;
        let world = self.world.lock().await;
        let api = Api::of(world.as_ref().unwrap(), CLIENT).await;
        let path_of = |session: &Option<Value>, rest: &str| {
            format!(
                "{SESSIONS}/{}{rest}",
                session.as_ref().unwrap()["id"].as_str().unwrap()
            )
        };
        match path {
            "/chat" if session.is_none() && body.is_null() => {}
            "/chat" if session.is_none() => {
                self.choices.lock().await.push(body.clone());
                let create = json!({
                    "channelConfigurationId": CHANNEL,
                    "guestAttributes": { "region": "EU" },
                    "consent": body,
                });
                let answer = api
                    .send(Call::post(SESSIONS).bearer(&api.token).json(&create))
                    .await;
                if answer.status != StatusCode::CREATED {
                    let mut refusal = Response::new(Full::from(answer.text));
                    *refusal.status_mut() = answer.status;
                    return refusal;
                }
                *session = Some(answer.json());
            }
            "/chat" => {}
            "/chat/refresh" => {
                let refresh = json!({ "refreshToken": session.as_ref().unwrap()["refreshToken"] });
                let call = Call::post(&path_of(&session, "/refresh")).json(&refresh);
                let tokens = api.ask(call).await;
                for name in ["accessToken", "refreshToken"] {
                    session.as_mut().unwrap()[name] = tokens[name].clone();
                }
            }
            "/chat/consent" => {
                self.choices.lock().await.push(body["choices"].clone());
                let call = Call::new(http::Method::PATCH, &path_of(&session, "/consent"));
                api.ask(call.json(&body["choices"])).await;
            }
            "/chat/end" => {
                let call = Call::new(http::Method::DELETE, &path_of(&session, ""));
                api.ask(call).await;
                *session = None;
            }
            other => panic!("{other}"),
        }
        let answer = session.as_ref().map(|session| {
            json!({
                "guestSessionId": session["id"],
                "accessToken": session["accessToken"],
                "websocketUrl": session["websocketUrl"],
            })
        });
        let mut response = Response::new(Full::default());
        match answer {
            Some(answer) => *response.body_mut() = Full::from(answer.to_string()),
            None => *response.status_mut() = StatusCode::NO_CONTENT,
        }
        response
    }
}

/// The page of the running servers, open in a browser.
pub(super) struct Visit {
    pub(super) shop: Arc<Shop>,
    pub(super) browser: Browser,
    pub(super) origin: String,
    /// The script of axe-core. Without it, its checks alone are left out.
    axe: Option<&'static str>,
}

impl Visit {
    /// `None` if the machine lacks Chromium.
    pub(super) async fn start(test: &str) -> Option<Self> {
        if !has_chromium().await {
            leave_out(test, CHROMIUM);
            return None;
        }
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), None, Limits::default())
            .await
            .unwrap();
        let origin = format!("http://{}", server.local_addr());
        let script = include_str!("../../../../crates/genesys-sim/agents/shop-tour.yaml");
        let rules = Rules {
            agent: Agent::Scripts(vec![Script::parse("shop-tour", script).unwrap()]),
            ..Rules::default()
        };
        let world = World::configured(rules, |toml| toml.replace(ORIGIN, &origin)).await;
        let shop = Arc::new(Shop {
            gateway: world.url("").replacen("http", "ws", 1),
            world: Mutex::new(Some(world)),
            session: Mutex::default(),
            choices: Mutex::default(),
        });
        let service = {
            let shop = Arc::clone(&shop);
            service_fn(move |request| {
                let shop = Arc::clone(&shop);
                async move { Ok::<_, Infallible>(shop.answer(request).await) }
            })
        };
        tokio::spawn(server.serve(service, std::future::pending()));
        let mut browser = Browser::start().await;
        browser.show_as(480, 760, "light").await;
        browser.open(&origin).await;
        Some(Self {
            shop,
            browser,
            origin,
            axe: axe().await,
        })
    }

    /// Waits until an element is shown.
    pub(super) async fn see(&mut self, selector: &str) {
        self.browser
            .until(&format!("{ROOT}.querySelector({selector:?}).checkVisibility()"))
            .await;
    }

    /// Waits until the last message contains a text.
    pub(super) async fn read(&mut self, text: &str) {
        let last = format!("[...{ROOT}.querySelectorAll('.message')].at(-1).textContent.includes({text:?})");
        self.browser.until(&last).await;
    }

    pub(super) async fn click(&mut self, selector: &str) {
        self.see(selector).await;
        self.browser
            .evaluate(&format!("{ROOT}.querySelector({selector:?}).click()"))
            .await;
    }

    /// Writes a message by keyboard, and waits until it is delivered.
    pub(super) async fn write(&mut self, text: &str) {
        self.browser
            .evaluate(&format!("{ROOT}.querySelector('textarea.compose').focus()"))
            .await;
        self.browser.write(text).await;
        self.browser.press("Enter").await;
        let sent = format!(
            "[...{ROOT}.querySelectorAll('.own')].at(-1).matches('.sent') && [...{ROOT}.querySelectorAll('.own')].at(-1).textContent.includes({text:?})"
        );
        self.browser.until(&sent).await;
    }

    /// Checks the page in light, dark and at 320 px, and takes a picture of each.
    pub(super) async fn check_appearance(&mut self, name: &str) {
        for (look, width, scheme) in [
            ("light", 480, "light"),
            ("dark", 480, "dark"),
            ("narrow", 320, "light"),
        ] {
            self.browser.show_as(width, 760, scheme).await;
            let wide = format!(
                "document.documentElement.scrollWidth > innerWidth || \
                 [...{ROOT}.querySelectorAll('.log, .consent, .message')].some((part) => part.scrollWidth > part.clientWidth + 1)"
            );
            assert_eq!(
                self.browser.evaluate(&wide).await,
                false,
                "{name} {look}: wider than the page"
            );
            if let Some(axe) = self.axe {
                // the page's policy allows no script but its own: the browser evaluates this one
                self.browser.evaluate(&format!("{axe};0")).await;
                let violations = "axe.run(document).then(({ violations }) => violations.map(({ id, nodes }) => \
                                  id + ': ' + nodes.map(({ target, failureSummary }) => target + ' ' + failureSummary).join('; ')))";
                let found = self.browser.evaluate(violations).await;
                assert_eq!(found, json!([]), "{name} {look}");
            }
            let picture = target().join(format!("screenshots/guest-chat-{name}-{look}.png"));
            self.browser.screenshot(&picture).await;
        }
        self.browser.show_as(480, 760, "light").await;
    }

    /// Checks that nothing was written to the console, and no request left the machine.
    pub(super) fn check_quiet(&self) {
        assert!(self.browser.console.is_empty(), "{:?}", self.browser.console);
        assert!(self.browser.requests.len() > FILES.len());
        for url in &self.browser.requests {
            let local = ["http://127.0.0.1:", "ws://127.0.0.1:", "data:"];
            assert!(local.iter().any(|start| url.starts_with(start)), "{url}");
        }
    }
}

/// The script of axe-core. The first test installs it below the target folder. `None` if npm or its registry is out of reach.
async fn axe() -> Option<&'static str> {
    static SCRIPT: OnceCell<Option<String>> = OnceCell::const_new();
    let script = SCRIPT.get_or_init(async || {
        let script = install_axe().await;
        if script.is_none() {
            leave_out("the checks of guest-chat by axe", AXE);
        }
        script
    });
    script.await.as_deref()
}

async fn install_axe() -> Option<String> {
    let folder: PathBuf = target().join("axe");
    let script = folder.join("node_modules/axe-core/axe.min.js");
    if !script.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        let install = Command::new("npm")
            .args([
                "install",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "axe-core@4.14.1",
                "--prefix",
            ])
            .arg(&folder)
            .output();
        install.await.ok().filter(|output| output.status.success())?;
    }
    std::fs::read_to_string(script).ok()
}
