//! The browser client in a browser: headless chromium, a page that uses it, and the page's backend.

mod outages;

use std::convert::Infallible;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use genesys_http::server::{Limits, Server};
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::api::{Api, Call, SESSIONS};
use crate::chromium::{CHROMIUM, has_chromium};
use crate::world::{CLIENT, ORIGIN, World};
use left_out::leave_out;

const PAGE: &str = include_str!("browser/page.html");
const MODULE: &str = include_str!("../../../clients/browser/guest-sessions.js");
const TYPES: &str = include_str!("../../../clients/browser/guest-sessions.d.ts");

/// Longest time for the start of the browser and its test.
const DEADLINE: Duration = Duration::from_secs(90);

/// The backend of the page.
struct Shop {
    world: World,
    refresh_token: tokio::sync::Mutex<Option<String>>,
    results: mpsc::Sender<Value>,
}

impl Shop {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let (media, answer) = match head.uri.path() {
            "/" => ("text/html; charset=utf-8", PAGE.into()),
            "/guest-sessions.js" => ("text/javascript", MODULE.into()),
            "/refresh" => ("application/json", self.refresh(&body).await),
            "/hour" => {
                self.world.clock.advance(Duration::from_secs(3_601));
                ("application/json", "{}".into())
            }
            "/result" => {
                self.results
                    .send(serde_json::from_slice(&body).unwrap())
                    .await
                    .unwrap();
                ("application/json", "{}".into())
            }
            _ => return self.forward(Request::from_parts(head, body)).await,
        };
        let mut response = Response::new(Full::new(answer));
        response
            .headers_mut()
            .insert(CONTENT_TYPE, media.parse().unwrap());
        response
    }

    /// Rotates the session's tokens, as a backend that keeps the refresh token.
    async fn refresh(&self, body: &[u8]) -> Bytes {
        let mut known = self.refresh_token.lock().await;
        let request: Value = serde_json::from_slice(body).unwrap();
        let path = format!("{SESSIONS}/{}/refresh", request["id"].as_str().unwrap());
        let api = Api::of(&self.world, CLIENT).await;
        let rotated = api
            .ask(Call::post(&path).json(&json!({ "refreshToken": *known })))
            .await;
        *known = rotated["refreshToken"].as_str().map(str::to_owned);
        json!({ "accessToken": rotated["accessToken"] })
            .to_string()
            .into()
    }

    /// Forwards requests of the contract's functions to the gateway.
    async fn forward(&self, request: Request<Bytes>) -> Response<Full<Bytes>> {
        if !matches!(request.uri().path(), "/oauth/token") && !request.uri().path().starts_with(SESSIONS) {
            let mut nothing = Response::new(Full::default());
            *nothing.status_mut() = StatusCode::NOT_FOUND;
            return nothing;
        }
        let mut call = Call::new(request.method().clone(), request.uri().path());
        for name in ["authorization", "content-type"] {
            if let Some(value) = request.headers().get(name) {
                call = call.header(name, value.to_str().unwrap());
            }
        }
        let call = call.bytes(request.into_body());
        let answer = self.api().send(call).await;
        let body = Bytes::from(answer.text);
        if answer.status == StatusCode::CREATED {
            let session: Value = serde_json::from_slice(&body).unwrap();
            *self.refresh_token.lock().await = session["refreshToken"].as_str().map(str::to_owned);
        }
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = answer.status;
        for (name, value) in &answer.headers {
            if name == CONTENT_TYPE || name == "retry-after" {
                response.headers_mut().insert(name, value.clone());
            }
        }
        response
    }

    fn api(&self) -> Api {
        Api::without_token(self.world.http(), self.world.url(""))
    }
}

#[tokio::test]
async fn browser_page_connects_resumes_refreshes_and_ends() {
    if !has_chromium().await {
        return leave_out("the browser client in a browser", CHROMIUM);
    }
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), None, Limits::default())
        .await
        .unwrap();
    let origin = format!("http://{}", server.local_addr());
    let world = World::configured(genesys_sim::Rules::default(), |toml| {
        toml.replace(ORIGIN, &origin)
    })
    .await;
    let (results, mut result) = mpsc::channel(1);
    let shop = Arc::new(Shop {
        world,
        refresh_token: tokio::sync::Mutex::default(),
        results,
    });
    let service = {
        let shop = Arc::clone(&shop);
        service_fn(move |request| {
            let shop = Arc::clone(&shop);
            async move { Ok::<_, Infallible>(shop.answer(request).await) }
        })
    };
    let serving = tokio::spawn(server.serve(service, std::future::pending()));
    let profile = tempfile::tempdir().unwrap();
    let mut browser = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ])
        // without it the browser exits at once
        .arg("--remote-debugging-port=0")
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(&origin)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let result = tokio::time::timeout(DEADLINE, result.recv()).await;
    browser.kill().await.unwrap();
    serving.abort();
    let result = result.expect("the page reported nothing").unwrap();
    assert_eq!(result["fault"], Value::Null, "{result:#}");
    check(&result);
    assert_eq!(shop.world.simulator.counters().guest_messages, 3);
    assert!(shop.world.simulator.violations().is_empty());
}

fn check(result: &Value) {
    assert_eq!(
        result["refused"],
        json!({ "kind": "GuestSessionsError", "status": 409, "code": "guest.id.in.use", "action": "fix" })
    );
    let received = result["received"].as_array().unwrap();
    let of = |name: &str| {
        received
            .iter()
            .filter(|event| event["name"] == name)
            .collect::<Vec<_>>()
    };
    for id in result["ids"].as_array().unwrap() {
        let status: Vec<&Value> = of("delivery")
            .into_iter()
            .filter(|event| event["id"] == *id)
            .collect();
        let status: Vec<&str> = status
            .iter()
            .map(|event| event["state"].as_str().unwrap())
            .collect();
        // one that was written before the connection was open waits for it
        let sent = status.strip_prefix(&["queued"]).unwrap_or(&status);
        assert_eq!(sent, ["sending", "sent"], "{result:#}");
    }
    let texts: Vec<&str> = of("message")
        .iter()
        .map(|event| event["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["You said: one", "You said: two", "You said: three"]);
    let numbers = received.iter().filter(|event| event["name"] != "accepted");
    let numbers: Vec<u64> = numbers.filter_map(|event| event["sequence"].as_u64()).collect();
    assert!(numbers.is_sorted_by(|one, other| one < other), "{numbers:?}");
    assert_eq!(of("refused")[0]["code"], "credentials.expired");
    assert_eq!(
        (of("ended").len(), &of("ended")[0]["detail"]),
        (1, &json!("guest"))
    );
    // one for each connection, and none after the end
    assert_eq!(
        (&result["sockets"], &result["refreshes"]),
        (&json!(3), &json!(1)),
        "{result:#}"
    );
    assert_eq!(result["view"]["state"], "ended");
    assert_eq!(result["unknownToken"], json!({ "cause": "not-refreshed" }));
    // each declared item is exported
    let mut declared: Vec<&str> = TYPES
        .lines()
        .filter_map(|line| line.strip_prefix("export "))
        .filter_map(|line| {
            ["class ", "const ", "function "]
                .iter()
                .find_map(|kind| line.strip_prefix(kind))
        })
        .filter_map(|line| {
            line.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
                .next()
        })
        .collect();
    declared.sort_unstable();
    assert_eq!(result["exports"], json!(declared));
}
