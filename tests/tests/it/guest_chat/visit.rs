//! A page with the component in a browser, its backend, the gateway and the agent.

use std::convert::Infallible;
use std::ops::{Deref, DerefMut};
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
use tokio::sync::Mutex;

use crate::api::{Api, Call, SESSIONS};
use crate::chromium::{Browser, CHROMIUM, has_chromium};
use crate::component::Look;
use crate::world::{CHANNEL, CLIENT, ORIGIN, World};
use left_out::leave_out;

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
        })
    }

    /// Checks the page in light, dark and at 320 px, and takes a picture of each.
    pub(super) async fn check_appearance(&mut self, name: &str) {
        let looks = [("light", 480), ("dark", 480), ("narrow", 320)].map(|(name, width)| Look {
            name,
            width,
            height: 760,
        });
        self.check_looks(&format!("guest-chat-{name}"), &looks).await;
        self.show_as(480, 760, "light").await;
    }

    /// Checks that nothing was written to the console, and no request left the machine.
    pub(super) fn check_quiet(&self) {
        assert!(self.browser.requests.len() > FILES.len());
        self.browser.check_quiet();
    }
}

impl Deref for Visit {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        &self.browser
    }
}

impl DerefMut for Visit {
    fn deref_mut(&mut self) -> &mut Browser {
        &mut self.browser
    }
}
