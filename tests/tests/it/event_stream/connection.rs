//! A stream of Server-Sent Events on a connection of its own, and the requests of its guest.

use genesys_api::entropy;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::api::{Answer, Api, Call};
use crate::document::{check_received, check_sent};
use crate::page::soon;
use crate::spa::{Visit, of_page};
use crate::world::World;

/// An open stream.
pub(crate) struct EventStream {
    tcp: TcpStream,
    /// Bytes of the body that were not decoded yet, and text of it that is no complete event yet.
    undecoded: Vec<u8>,
    text: String,
    pub(crate) id: String,
    /// The epoch of its handshake.
    pub(crate) epoch: Value,
    /// The credential of its browser: name and value of a header.
    credential: (&'static str, String),
}

/// An event of a stream, or its end.
#[derive(Debug)]
pub(crate) enum StreamEvent {
    Frame(Value),
    Comment,
    /// With the code of the event `close`, if it was the last one.
    Closed(Option<u16>),
}

/// The id of a new stream.
pub(crate) fn new_stream() -> String {
    entropy::uuid().to_string()
}

/// The handshake of a stream.
pub(crate) fn stream_handshake(session: &Value) -> Value {
    json!({
        "type": "handshake",
        "guestSessionId": session["id"],
        "timestamp": session["createdAt"],
    })
}

/// The request for a stream of this browser.
pub(crate) fn stream_call(visit: &Visit, id: &str) -> Call {
    let call = Call::post(&format!("/spa/session/stream?stream={id}"));
    visit.call(call).json(&stream_handshake(&visit.session))
}

/// The request with a frame for a stream of this browser.
pub(crate) fn frame_call(visit: &Visit, id: &str, frame: &Value) -> Call {
    let call = Call::post(&format!("/spa/session/frames?stream={id}"));
    visit.call(call).json(frame)
}

impl EventStream {
    /// Opens a stream, and waits until its handshake is accepted.
    pub(crate) async fn open(world: &World, visit: &Visit) -> Self {
        Self::resume(world, visit, &json!({})).await
    }

    /// Opens a stream after a position: `epoch`, `lastSequence` and `lastMessageId` of the handshake.
    pub(crate) async fn resume(world: &World, visit: &Visit, position: &Value) -> Self {
        let mut handshake = stream_handshake(&visit.session);
        let fields = position.as_object().unwrap().clone();
        handshake.as_object_mut().unwrap().extend(fields);
        check_sent(&handshake);
        let call = stream_call(visit, &new_stream());
        let call = call.with_body("application/json", handshake.to_string());
        let (answer, stream) = Self::ask(world, &call).await;
        let mut stream = stream.unwrap_or_else(|| panic!("{} {}", answer.status, answer.text));
        stream.epoch = stream.until("handshake.accepted").await["epoch"].clone();
        stream
    }

    /// Requests a stream, and returns the reply without its body, or the refusal. It has to match the contract.
    pub(crate) async fn ask(world: &World, call: &Call) -> (Answer, Option<Self>) {
        let request = call.request();
        let mut head = format!(
            "{} {} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n",
            request.method(),
            request.uri(),
            request.body().len()
        );
        for (name, value) in request.headers() {
            head += &format!("{name}: {}\r\n", value.to_str().unwrap());
        }
        let mut tcp = TcpStream::connect(world.gateway.address()).await.unwrap();
        tcp.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        tcp.write_all(request.body()).await.unwrap();
        let mut read = Vec::new();
        let end = loop {
            if let Some(end) = find(&read, b"\r\n\r\n") {
                break end;
            }
            assert!(
                soon(tcp.read_buf(&mut read)).await.unwrap() > 0,
                "the connection ended"
            );
        };
        let head = String::from_utf8(read[..end].to_vec()).unwrap();
        let mut undecoded = read.split_off(end + 4);
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers: HeaderMap = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, HeaderValue::from_str(value).unwrap())
            })
            .collect();
        let mut answer = Answer {
            status: status.parse().unwrap(),
            headers,
            text: String::new(),
        };
        if let Some(length) = answer.headers.get("content-length") {
            let length: usize = length.to_str().unwrap().parse().unwrap();
            while undecoded.len() < length {
                soon(tcp.read_buf(&mut undecoded)).await.unwrap();
            }
            answer.text = String::from_utf8(undecoded).unwrap();
            call.check(&answer);
            return (answer, None);
        }
        call.check(&answer);
        for (name, value) in [("cache-control", "no-store"), ("x-accel-buffering", "no")] {
            assert_eq!(answer.header(name), value);
        }
        let query = request.uri().query().unwrap();
        let credential = ["cookie", "authorization"]
            .into_iter()
            .find_map(|name| {
                let value = request.headers().get(name)?;
                Some((name, value.to_str().unwrap().to_owned()))
            })
            .unwrap();
        let stream = Self {
            tcp,
            undecoded,
            text: String::new(),
            id: query.trim_start_matches("stream=").to_owned(),
            epoch: Value::Null,
            credential,
        };
        (answer, Some(stream))
    }

    /// Posts a frame.
    pub(crate) async fn send(&self, api: &Api, frame: &Value) -> Answer {
        check_sent(frame);
        let call = Call::post(&format!("/spa/session/frames?stream={}", self.id));
        let (name, value) = &self.credential;
        let call = of_page(call).header(name, value);
        api.send(call.json(frame)).await
    }

    /// Posts a new message.
    pub(crate) async fn message(&self, api: &Api, text: &str) {
        let id = entropy::uuid().to_string();
        let sent = self
            .send(api, &json!({ "type": "message", "id": id, "text": text }))
            .await;
        assert_eq!((sent.status.as_u16(), sent.text.as_str()), (202, ""));
    }

    /// The position of a frame, for a later stream.
    pub(crate) fn position(&self, frame: &Value) -> Value {
        json!({ "epoch": self.epoch, "lastSequence": frame["sequence"] })
    }

    /// The next event, or the end.
    pub(crate) async fn event(&mut self) -> StreamEvent {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                return parse(&event);
            }
            if self.undecoded.starts_with(b"0\r\n") {
                return StreamEvent::Closed(None);
            }
            if !self.decode() {
                let read = soon(self.tcp.read_buf(&mut self.undecoded)).await;
                if !read.is_ok_and(|length| length > 0) {
                    return StreamEvent::Closed(None);
                }
            }
        }
    }

    /// Decodes a complete chunk, if there is one.
    fn decode(&mut self) -> bool {
        let Some(line) = find(&self.undecoded, b"\r\n") else {
            return false;
        };
        let size = std::str::from_utf8(&self.undecoded[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let (start, end) = (line + 2, line + 2 + size);
        if self.undecoded.len() < end + 2 {
            return false;
        }
        self.text += std::str::from_utf8(&self.undecoded[start..end]).unwrap();
        self.undecoded.drain(..end + 2);
        true
    }

    /// The next frame. Comments are skipped.
    async fn frame(&mut self) -> Value {
        loop {
            match self.event().await {
                StreamEvent::Frame(frame) => return frame,
                StreamEvent::Comment => {}
                StreamEvent::Closed(code) => panic!("the stream ended with {code:?}"),
            }
        }
    }

    /// The next frame of this type. Others are skipped.
    pub(crate) async fn until(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.frame().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// The next numbered frame.
    pub(crate) async fn numbered(&mut self) -> Value {
        loop {
            let frame = self.frame().await;
            if frame["sequence"].is_u64() && frame["type"] != "handshake.accepted" {
                return frame;
            }
        }
    }

    /// Whether a comment has arrived. Frames before it are skipped.
    pub(crate) async fn try_comment(&mut self) -> bool {
        let mut byte = [0];
        tokio::task::yield_now().await;
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut buffer = tokio::io::ReadBuf::new(&mut byte);
        if self.tcp.poll_peek(&mut context, &mut buffer).is_pending() {
            return false;
        }
        matches!(self.event().await, StreamEvent::Comment)
    }

    /// The code of the last event. Frames before it are skipped.
    pub(crate) async fn closed(&mut self) -> Option<u16> {
        loop {
            if let StreamEvent::Closed(code) = self.event().await {
                return code;
            }
        }
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

fn parse(event: &str) -> StreamEvent {
    if let Some(close) = event.strip_prefix("event: close\ndata: ") {
        let close: Value = serde_json::from_str(close).unwrap();
        let code = close["code"].as_u64().and_then(|code| code.try_into().ok());
        return StreamEvent::Closed(code);
    }
    if event == ":" {
        return StreamEvent::Comment;
    }
    let data = event.strip_prefix("data: ").unwrap();
    let frame = serde_json::from_str(data).unwrap();
    check_received(&frame);
    StreamEvent::Frame(frame)
}
