//! Attachments: granted, uploaded, sent, downloaded, deleted.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

const ID: &str = "88888888-0000-4000-8000-000000000001";

fn grant(name: &str, kind: &str, size: u64) -> Value {
    json!({"action": "onAttachment", "token": TOKEN, "attachmentId": ID, "fileName": name, "fileType": kind,
        "fileSize": size, "errorsAsJson": true, "tracingId": "t-1"})
}

fn named(action: &str) -> Value {
    json!({"action": action, "token": TOKEN, "attachmentId": ID, "tracingId": "t-1"})
}

fn message() -> Value {
    json!({"action": "onMessage", "token": TOKEN, "tracingId": "t-1", "message": {"content": [
        {"contentType": "Attachment", "attachment": {"id": ID}}]}})
}

impl Harness {
    pub(super) fn granted(&mut self, socket: SocketId, size: u64) -> Value {
        let answer = self.ask(socket, grant("foo.png", "image/png", size));
        assert_eq!(answer["class"], "PresignedUrlResponse", "{answer}");
        answer["body"].clone()
    }

    pub(super) fn put(&mut self, grant: &Value, body: &'static [u8]) -> u16 {
        let mut request = Request::put(path(&grant["url"]));
        for (name, value) in grant["headers"].as_object().unwrap() {
            request = request.header(name, value.as_str().unwrap());
        }
        let request = request.body(Bytes::from_static(body)).unwrap();
        send(&mut self.cloud, request, self.now).0.status().as_u16()
    }

    pub(super) fn fetch(&mut self, url: &Value) -> Response<Bytes> {
        get(&mut self.cloud, &path(url), self.now).0
    }
}

fn path(url: &Value) -> String {
    let url = url.as_str().unwrap();
    url.strip_prefix("http://127.0.0.1:9").unwrap().to_owned()
}

fn frame(received: &Received) -> &Value {
    match received {
        Received::Frame(frame) => frame,
        Received::Closed(code) => panic!("closed with {code}"),
    }
}

#[test]
fn attachment_is_uploaded_sent_and_downloaded() {
    let mut harness = Harness::quiet();
    let (socket, sibling) = (harness.guest(), harness.guest());
    let grant = harness.granted(socket, 5);
    assert_eq!(
        (&grant["attachmentId"], &grant["fileSize"], &grant["fileType"]),
        (&json!(ID), &json!(5), &json!("image/png"))
    );
    assert_eq!(code(&harness.ask(socket, message())), 4010, "not uploaded yet");
    assert_eq!(harness.put(&grant, b"12345"), 200);
    let received = harness.received();
    let to: Vec<_> = received.iter().map(|(socket, _)| *socket).collect();
    assert_eq!(to, [socket, sibling], "all sockets of the session are notified");
    let event = frame(&received[0].1);
    assert_eq!(
        (&event["type"], &event["class"]),
        (&json!("message"), &json!("UploadSuccessEvent"))
    );
    let down = harness.fetch(&event["body"]["downloadUrl"]);
    assert_eq!(
        (down.status().as_u16(), down.body().as_ref()),
        (200, &b"12345"[..])
    );
    assert_eq!(down.headers()["content-type"], "image/png");

    let echo = harness.ask(socket, message());
    let attachment = &echo["body"]["content"][0]["attachment"];
    assert_eq!(
        (
            &attachment["filename"],
            &attachment["mediaType"],
            &attachment["fileSize"],
            &attachment["mime"],
            &attachment["sha256"],
        ),
        (
            &json!("foo.png"),
            &json!("Image"),
            &json!(5),
            &json!("image/png"),
            &json!("5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5"),
        )
    );
    assert_eq!(
        (&echo["body"]["type"], &echo["body"]["text"]),
        (&json!("Text"), &Value::Null)
    );

    harness.advance(Duration::from_secs(600));
    assert_eq!(
        harness.fetch(&attachment["url"]).status(),
        403,
        "links are valid for ten minutes"
    );
    let fresh = harness.ask(socket, named("getAttachment"));
    assert_eq!(
        (
            &fresh["class"],
            &fresh["body"]["headers"],
            &fresh["body"]["fileSize"]
        ),
        (&json!("PresignedUrlResponse"), &json!({}), &json!(5))
    );
    assert_eq!(harness.fetch(&fresh["body"]["url"]).status(), 200);
    let jwt = harness.jwt(socket);
    let (_, page) = harness.history(&jwt, "");
    let kept = &page["entities"][0]["content"][0]["attachment"];
    assert_eq!(kept["sha256"], attachment["sha256"]);
    assert_eq!(
        harness.fetch(&kept["url"]).status(),
        200,
        "history has fresh links"
    );
    assert_eq!(
        code(&harness.ask(socket, named("deleteAttachment"))),
        400,
        "it was sent"
    );
    assert_eq!(harness.cloud.counters().uploads, 1);
    assert_eq!(harness.cloud.violations.list(), []);
}

#[test]
fn invalid_file_is_refused_in_both_forms() {
    let mut harness = Harness::new(Rules {
        attachments: AttachmentRules {
            file_types: vec!["image/*".to_owned(), "text/plain".to_owned()],
            max_file_kb: 1,
            ..AttachmentRules::default()
        },
        limits: Limits::none(),
        ..rules()
    });
    let socket = harness.guest();
    let long = format!("{}.png", "x".repeat(1_020));
    for (name, kind, size, expected) in [
        ("a.png", "image/png", 1, 200),
        ("a.txt", "TEXT/plain", 1_024, 200),
        ("a.png", "video/mp4", 1, 4001),
        ("a.png", "image", 1, 4001),
        ("a.png", "image/*", 1, 4001),
        ("a.ADE", "image/png", 1, 4001),
        ("a.png", "image/png", 1_025, 4002),
        ("noextension", "image/png", 1, 4004),
        (".png", "image/png", 1, 4004),
        ("a.", "image/png", 1, 4004),
        ("", "image/png", 1, 4004),
        ("../a.png", "image/png", 1, 4004),
        ("a\n.png", "image/png", 1, 4004),
        (&long, "image/png", 1, 4005),
        ("a.png", "image/png", 0, 4102),
    ] {
        let mut frame = grant(name, kind, size);
        let json = harness.ask(socket, &frame);
        if expected == 200 {
            assert_eq!(code(&json), 200, "{name}");
            continue;
        }
        assert_eq!((&json["class"], code(&json)), (&json!("GenerateUrlError"), 400));
        assert_eq!(json["body"]["errorCode"], expected, "{name} {kind}");
        assert_eq!(json["body"]["attachmentId"], ID);
        frame["errorsAsJson"] = json!(false);
        let text = harness.ask(socket, &frame);
        assert_eq!((&text["class"], code(&text)), (&json!("string"), expected));
    }
}

#[test]
fn upload_needs_its_own_link_and_headers() {
    let mut harness = Harness::quiet();
    let socket = harness.guest();
    let grant = harness.granted(socket, 5);
    let url = path(&grant["url"]);
    let bare = Request::put(&url).body(Bytes::from_static(b"12345")).unwrap();
    assert_eq!(send(&mut harness.cloud, bare, harness.now).0.status(), 403);
    let forge = |from: &str, to: &str| {
        let parts: Vec<_> = url.splitn(3, '.').collect();
        let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        assert!(claims.contains(from), "{claims}");
        let claims = URL_SAFE_NO_PAD.encode(claims.replace(from, to));
        format!("{}.{claims}.{}", parts[0], parts[2])
    };
    for forged in [
        url.replace(ID, "other"),
        forge(r#""sub":"2""#, r#""sub":"3""#),
        forge(r#""exp":"#, r#""exp":9"#),
        url.replace("/upload/", "/download/"),
        url.split('?').next().unwrap().to_owned(),
    ] {
        let mut forged_grant = grant.clone();
        forged_grant["url"] = json!(format!("http://127.0.0.1:9{forged}"));
        assert_ne!(harness.put(&forged_grant, b"12345"), 200, "{forged}");
    }
    assert_eq!(harness.put(&grant, b"12345"), 200);
    assert_eq!(harness.put(&grant, b"12345"), 403, "a grant allows one upload");
}

#[test]
fn upload_that_differs_from_its_announcement_fails_on_the_socket() {
    let mut harness = Harness::quiet();
    let socket = harness.guest();
    for (body, expected) in [(&b""[..], 4102), (b"1234", 4002), (b"123456", 4002)] {
        let grant = harness.granted(socket, 5);
        assert_eq!(harness.put(&grant, body), 200, "the bucket accepts any body");
        let received = harness.received();
        let event = frame(&received[0].1);
        assert_eq!(event["class"], "UploadFailureEvent");
        assert_eq!(
            (&event["body"]["errorCode"], &event["body"]["attachmentId"]),
            (&json!(expected), &json!(ID))
        );
        assert_eq!(code(&harness.ask(socket, message())), 4010);
    }
}

#[test]
fn grant_expires_and_is_granted_again() {
    let mut harness = Harness::quiet();
    let socket = harness.guest();
    let grant = harness.granted(socket, 5);
    harness.advance(Duration::from_secs(600));
    assert_eq!(harness.put(&grant, b"12345"), 403);
    assert_eq!(code(&harness.ask(socket, named("getAttachment"))), 4008);
    assert_eq!(code(&harness.ask(socket, message())), 4008);
    let again = harness.granted(socket, 5);
    assert_eq!(harness.put(&again, b"12345"), 200);
}

#[test]
fn attachment_is_deleted_only_before_it_is_sent() {
    let mut harness = Harness::quiet();
    let (socket, sibling) = (harness.guest(), harness.guest());
    assert_eq!(code(&harness.ask(socket, named("deleteAttachment"))), 4009);
    let grant = harness.granted(socket, 5);
    harness.put(&grant, b"12345");
    harness.received();
    harness.send_frame(socket, named("deleteAttachment"));
    let received = harness.received();
    assert_eq!(
        frame(&received[0].1),
        &json!({"type": "message", "class": "AttachmentDeletedResponse", "code": 200, "tracingId": "t-1",
            "body": {"attachmentId": ID}})
    );
    assert_eq!(
        (received[1].0, &frame(&received[1].1)["tracingId"]),
        (sibling, &Value::Null)
    );
    assert_eq!(code(&harness.ask(socket, named("getAttachment"))), 4009);
    assert_eq!(code(&harness.ask(socket, message())), 4009);
}

#[test]
fn attachment_id_belongs_to_its_session_and_defaults_to_a_new_one() {
    let mut harness = Harness::quiet();
    let socket = harness.guest();
    harness.granted(socket, 5);
    let other = harness.connect();
    let other_token = "7d1f0c3e-8f0e-4e0c-9a37-3f1f2f6b1c12";
    let mut configure = configure();
    configure["token"] = json!(other_token);
    harness.ask(other, configure);
    let mut get = named("getAttachment");
    get["token"] = json!(other_token);
    assert_eq!(code(&harness.ask(other, get)), 4009);
    let mut frame = grant("a.png", "image/png", 1);
    frame.as_object_mut().unwrap().remove("attachmentId");
    let made = harness.ask(socket, frame);
    let id = made["body"]["attachmentId"].as_str().unwrap();
    assert!(uuid::Uuid::try_parse(id).is_ok() && id != ID);
}

#[test]
fn attachment_bytes_are_bounded_and_freed_with_their_session() {
    let mut harness = Harness::quiet();
    harness.cloud.rules.attachments.max_total_bytes = 3 * 1024;
    let socket = harness.guest();
    let ask = |harness: &mut Harness, id: &str, size: u64| {
        let mut frame = grant("a.png", "image/png", size);
        frame["attachmentId"] = json!(id);
        frame["errorsAsJson"] = json!(false);
        code(&harness.ask(socket, frame))
    };
    assert_eq!(ask(&mut harness, "a", 2 * 1024), 200);
    assert_eq!(ask(&mut harness, "b", 1), 200, "it counts one KiB");
    assert_eq!(ask(&mut harness, "c", 1), 5000);
    harness.advance(Duration::from_secs(600));
    assert_eq!(ask(&mut harness, "d", 1), 200, "unused grants hold little");
    let mut again = configure();
    again["startNew"] = json!(true);
    harness.ask(socket, again);
    assert_eq!(
        ask(&mut harness, "a", 3 * 1024),
        200,
        "the conversation is a new one"
    );
}

#[test]
fn large_body_is_read_for_a_granted_upload_only() {
    let mut harness = Harness::quiet();
    let socket = harness.guest();
    let grant = harness.granted(socket, 100_000);
    static BODY: [u8; 100_000] = [7; 100_000];
    let mut forged = grant.clone();
    forged["url"] = json!(format!("{}x", grant["url"].as_str().unwrap()));
    assert_eq!(harness.put(&forged, &BODY), 413);
    assert_eq!(harness.put(&grant, &BODY), 200);
    assert_eq!(harness.put(&grant, &BODY), 413, "it is no longer expected");
}

#[test]
fn agent_attachment_needs_room() {
    let script = "name: files\nrules:\n  - on: otherwise\n    do: [{attachment: {name: a.txt, type: text/plain, \
                  body: hello, text: your ticket}}]";
    let mut harness = Harness::new(Rules {
        agent: Agent::Scripts(vec![Script::parse("files.yaml", script).unwrap()]),
        ..rules()
    });
    let socket = harness.guest();
    harness.send_frame(socket, text("tickets"));
    harness.advance(Duration::ZERO);
    let received = harness.received_by(socket);
    assert_eq!(received.len(), 2);
    let message = frame(&received[1]);
    assert_eq!(
        (&message["body"]["direction"], &message["body"]["text"]),
        (&json!("Outbound"), &json!("your ticket"))
    );
    let url = &message["body"]["content"][0]["attachment"]["url"];
    assert_eq!(harness.fetch(url).body().as_ref(), b"hello");
    harness.cloud.rules.attachments.max_total_bytes = 0;
    harness.send_frame(socket, text("more"));
    harness.advance(Duration::ZERO);
    assert_eq!(harness.received_by(socket).len(), 1);
}
