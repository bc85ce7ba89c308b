//! The rules of the cloud, on a virtual clock.

mod age;
mod agents;
mod attachment;
mod conversation;
mod faults;
mod golden;
mod hardening;
mod lifetime;
mod limit;
mod platform;
mod sign_in;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use genesys_api::{Clock, Now, parse_rfc3339};
use http::{Request, Response};
use serde_json::{Value, json};

use super::*;
use crate::config::{AttachmentRules, Limits, SocketTimeouts};

use crate::script::{Agent, Script};

pub(crate) const DEPLOYMENT: &str = "b3c2a0de-1111-4222-8333-444455556666";
pub(crate) const TOKEN: &str = "7d1f0c3e-8f0e-4e0c-9a37-3f1f2f6b1c11";

/// The start time of all tests.
pub(crate) fn now() -> Now {
    static START: OnceLock<Instant> = OnceLock::new();
    Now {
        instant: *START.get_or_init(|| Clock::system().now().instant),
        utc: parse_rfc3339("2026-01-01T00:00:00Z").unwrap(),
    }
}

pub(crate) fn at(start: Now, after: Duration) -> Now {
    Now {
        instant: start.instant + after,
        utc: start.utc + after,
    }
}

pub(crate) fn rules() -> Rules {
    Rules {
        deployment: Some(DEPLOYMENT.parse().unwrap()),
        client_id: Some("client".to_owned()),
        client_secret: Some("s3cret".into()),
        ..Rules::default()
    }
}

pub(crate) fn cloud() -> Cloud {
    cloud_of(rules())
}

pub(crate) fn cloud_of(rules: Rules) -> Cloud {
    Cloud::new(rules, "http://127.0.0.1:9".parse().unwrap(), [1; 32])
}

pub(crate) fn send(cloud: &mut Cloud, request: Request<Bytes>, now: Now) -> (Response<Bytes>, Value) {
    let response = cloud.handle_request(request, now);
    let body = serde_json::from_slice(response.body()).unwrap_or_default();
    (response, body)
}

pub(crate) fn get(cloud: &mut Cloud, path: &str, now: Now) -> (Response<Bytes>, Value) {
    send(cloud, Request::get(path).body(Bytes::new()).unwrap(), now)
}

/// A cloud on a clock that only the test moves.
struct Harness {
    cloud: Cloud,
    now: Now,
}

/// A frame or a close that a socket received.
#[derive(Debug, PartialEq)]
enum Received {
    Closed(u16),
    Frame(Value),
}

impl Harness {
    fn new(rules: Rules) -> Self {
        Self {
            cloud: cloud_of(rules),
            now: now(),
        }
    }

    /// A cloud without agent and limits: all events come from the test.
    fn quiet() -> Self {
        Self::new(Rules {
            agent: Agent::Silent,
            limits: Limits::none(),
            ..rules()
        })
    }

    fn advance(&mut self, time: Duration) {
        self.now = at(self.now, time);
        self.cloud.handle_timeout(self.now);
    }

    fn connect(&mut self) -> SocketId {
        self.handshake(DEPLOYMENT, None).unwrap()
    }

    #[expect(clippy::unwrap_in_result, reason = "a test's own request is valid")]
    fn handshake(
        &mut self,
        deployment: &str,
        origin: Option<&str>,
    ) -> Result<SocketId, Box<Response<Bytes>>> {
        let mut request = Request::get(format!("/v1?deploymentId={deployment}&application=x"));
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let request = request.body(()).unwrap();
        self.cloud.handle_handshake(&request, self.now)
    }

    /// A socket configured for [`TOKEN`].
    fn guest(&mut self) -> SocketId {
        let socket = self.connect();
        let answer = self.ask(socket, configure());
        assert_eq!(answer["class"], "SessionResponse");
        socket
    }

    fn send_frame(&mut self, socket: SocketId, frame: impl ToString) {
        self.cloud.handle_frame(socket, &frame.to_string(), self.now);
    }

    /// Sends a frame, and returns the one frame in reply. Earlier frames are discarded.
    fn ask(&mut self, socket: SocketId, frame: impl ToString) -> Value {
        self.received();
        self.send_frame(socket, frame);
        let mut received = self.received_by(socket);
        assert_eq!(received.len(), 1, "{received:?}");
        match received.remove(0) {
            Received::Frame(frame) => frame,
            Received::Closed(code) => panic!("closed with {code}"),
        }
    }

    /// Frames that all sockets received since the last call.
    fn received(&mut self) -> Vec<(SocketId, Received)> {
        std::iter::from_fn(|| self.cloud.poll_output())
            .map(|output| match output {
                Output::Frame { socket, text, .. } => {
                    (socket, Received::Frame(serde_json::from_str(&text).unwrap()))
                }
                Output::Close { socket, code, .. } => (socket, Received::Closed(code)),
                other => panic!("{other:?} comes of faults only"),
            })
            .collect()
    }

    /// Frames that one socket received since the last call. Those of other sockets are discarded.
    fn received_by(&mut self, socket: SocketId) -> Vec<Received> {
        self.received()
            .into_iter()
            .filter(|(other, _)| *other == socket)
            .map(|(_, received)| received)
            .collect()
    }

    fn history(&mut self, jwt: &str, query: &str) -> (u16, Value) {
        let request = Request::get(format!("/api/v2/webmessaging/messages{query}"))
            .header("authorization", format!("bearer {jwt}"))
            .body(Bytes::new())
            .unwrap();
        let (response, body) = send(&mut self.cloud, request, self.now);
        (response.status().as_u16(), body)
    }

    /// A REST call with a bearer token.
    fn call(&mut self, method: &str, path: &str, bearer: &str, body: &Value) -> (Response<Bytes>, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {bearer}"))
            .body(Bytes::from(body.to_string()))
            .unwrap();
        send(&mut self.cloud, request, self.now)
    }

    fn jwt(&mut self, socket: SocketId) -> String {
        let answer = self.ask(socket, json!({"action": "getJwt", "token": TOKEN}));
        answer["body"]["jwt"].as_str().unwrap().to_owned()
    }
}

fn configure() -> Value {
    json!({"action": "configureSession", "token": TOKEN, "deploymentId": DEPLOYMENT, "startNew": false})
}

fn text(text: &str) -> Value {
    json!({"action": "onMessage", "token": TOKEN, "tracingId": "t-1", "message": {"type": "Text", "text": text}})
}

fn presence(kind: &str) -> Value {
    json!({"action": "onMessage", "token": TOKEN, "tracingId": "t-1", "message":
        {"type": "Event", "events": [{"eventType": "Presence", "presence": {"type": kind}}]}})
}

fn code(frame: &Value) -> u64 {
    frame["code"].as_u64().unwrap()
}

fn refusal(code: u64, body: &str) -> Value {
    json!({"type": "response", "class": "string", "code": code, "body": body})
}
