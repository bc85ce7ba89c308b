//! Attachments: granted, uploaded, sent, fetched, deleted.

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

impl Stage {
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
        send(&mut self.world, request, self.now).0.status().as_u16()
    }

    pub(super) fn fetch(&mut self, url: &Value) -> Response<Bytes> {
        get(&mut self.world, &path(url), self.now).0
    }
}

fn path(url: &Value) -> String {
    let url = url.as_str().unwrap();
    url.strip_prefix("http://127.0.0.1:9").unwrap().to_owned()
}

fn frame(seen: &Seen) -> &Value {
    match seen {
        Seen::Frame(frame) => frame,
        Seen::Closed(code) => panic!("closed with {code}"),
    }
}

#[test]
fn a_file_goes_up_into_a_message_and_comes_down_again() {
    let mut stage = Stage::quiet();
    let (socket, sibling) = (stage.guest(), stage.guest());
    let grant = stage.granted(socket, 5);
    assert_eq!(
        (&grant["attachmentId"], &grant["fileSize"], &grant["fileType"]),
        (&json!(ID), &json!(5), &json!("image/png"))
    );
    assert_eq!(code(&stage.ask(socket, message())), 4010, "not uploaded yet");
    assert_eq!(stage.put(&grant, b"12345"), 200);
    let seen = stage.seen();
    let to: Vec<_> = seen.iter().map(|(socket, _)| *socket).collect();
    assert_eq!(to, [socket, sibling], "all sockets of the session are told");
    let event = frame(&seen[0].1);
    assert_eq!(
        (&event["type"], &event["class"]),
        (&json!("message"), &json!("UploadSuccessEvent"))
    );
    let down = stage.fetch(&event["body"]["downloadUrl"]);
    assert_eq!(
        (down.status().as_u16(), down.body().as_ref()),
        (200, &b"12345"[..])
    );
    assert_eq!(down.headers()["content-type"], "image/png");

    let echo = stage.ask(socket, message());
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

    stage.pass(Duration::from_secs(600));
    assert_eq!(
        stage.fetch(&attachment["url"]).status(),
        403,
        "links live ten minutes"
    );
    let fresh = stage.ask(socket, named("getAttachment"));
    assert_eq!(
        (
            &fresh["class"],
            &fresh["body"]["headers"],
            &fresh["body"]["fileSize"]
        ),
        (&json!("PresignedUrlResponse"), &json!({}), &json!(5))
    );
    assert_eq!(stage.fetch(&fresh["body"]["url"]).status(), 200);
    let jwt = stage.jwt(socket);
    let (_, page) = stage.history(&jwt, "");
    let kept = &page["entities"][0]["content"][0]["attachment"];
    assert_eq!(kept["sha256"], attachment["sha256"]);
    assert_eq!(stage.fetch(&kept["url"]).status(), 200, "history has fresh links");
    assert_eq!(
        code(&stage.ask(socket, named("deleteAttachment"))),
        400,
        "it was sent"
    );
    assert_eq!(stage.world.counters().uploads, 1);
    assert_eq!(stage.world.violations(), []);
}

#[test]
fn what_may_not_be_uploaded_is_refused_in_both_forms() {
    let mut stage = Stage::new(Rules {
        attachments: AttachmentRules {
            file_types: vec!["image/*".to_owned(), "text/plain".to_owned()],
            max_file_kb: 1,
            ..AttachmentRules::default()
        },
        limits: Limits::none(),
        ..rules()
    });
    let socket = stage.guest();
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
        let json = stage.ask(socket, &frame);
        if expected == 200 {
            assert_eq!(code(&json), 200, "{name}");
            continue;
        }
        assert_eq!((&json["class"], code(&json)), (&json!("GenerateUrlError"), 400));
        assert_eq!(json["body"]["errorCode"], expected, "{name} {kind}");
        assert_eq!(json["body"]["attachmentId"], ID);
        frame["errorsAsJson"] = json!(false);
        let text = stage.ask(socket, &frame);
        assert_eq!((&text["class"], code(&text)), (&json!("string"), expected));
    }
}

#[test]
fn an_upload_needs_its_own_link_and_headers() {
    let mut stage = Stage::quiet();
    let socket = stage.guest();
    let grant = stage.granted(socket, 5);
    let url = path(&grant["url"]);
    let bare = Request::put(&url).body(Bytes::from_static(b"12345")).unwrap();
    assert_eq!(send(&mut stage.world, bare, stage.now).0.status(), 403);
    for forged in [
        url.replace(ID, "other"),
        url.replace("session=1", "session=2"),
        url.replace("expires=", "expires=9"),
        url.replace("/upload/", "/download/"),
        url.split('?').next().unwrap().to_owned(),
    ] {
        let mut forged_grant = grant.clone();
        forged_grant["url"] = json!(format!("http://127.0.0.1:9{forged}"));
        assert_ne!(stage.put(&forged_grant, b"12345"), 200, "{forged}");
    }
    assert_eq!(stage.put(&grant, b"12345"), 200);
    assert_eq!(stage.put(&grant, b"12345"), 403, "a grant is good for one upload");
}

#[test]
fn an_upload_that_is_not_what_was_announced_fails_on_the_socket() {
    let mut stage = Stage::quiet();
    let socket = stage.guest();
    for (body, expected) in [(&b""[..], 4102), (b"1234", 4002), (b"123456", 4002)] {
        let grant = stage.granted(socket, 5);
        assert_eq!(stage.put(&grant, body), 200, "the bucket does not mind");
        let seen = stage.seen();
        let event = frame(&seen[0].1);
        assert_eq!(event["class"], "UploadFailureEvent");
        assert_eq!(
            (&event["body"]["errorCode"], &event["body"]["attachmentId"]),
            (&json!(expected), &json!(ID))
        );
        assert_eq!(code(&stage.ask(socket, message())), 4010);
    }
}

#[test]
fn a_grant_expires_and_can_be_had_again() {
    let mut stage = Stage::quiet();
    let socket = stage.guest();
    let grant = stage.granted(socket, 5);
    stage.pass(Duration::from_secs(600));
    assert_eq!(stage.put(&grant, b"12345"), 403);
    assert_eq!(code(&stage.ask(socket, named("getAttachment"))), 4008);
    assert_eq!(code(&stage.ask(socket, message())), 4008);
    let again = stage.granted(socket, 5);
    assert_eq!(stage.put(&again, b"12345"), 200);
}

#[test]
fn an_attachment_can_be_deleted_before_it_is_sent() {
    let mut stage = Stage::quiet();
    let (socket, sibling) = (stage.guest(), stage.guest());
    assert_eq!(code(&stage.ask(socket, named("deleteAttachment"))), 4009);
    let grant = stage.granted(socket, 5);
    stage.put(&grant, b"12345");
    stage.seen();
    stage.tell(socket, named("deleteAttachment"));
    let seen = stage.seen();
    assert_eq!(
        frame(&seen[0].1),
        &json!({"type": "message", "class": "AttachmentDeletedResponse", "code": 200, "tracingId": "t-1",
            "body": {"attachmentId": ID}})
    );
    assert_eq!(
        (seen[1].0, &frame(&seen[1].1)["tracingId"]),
        (sibling, &Value::Null)
    );
    assert_eq!(code(&stage.ask(socket, named("getAttachment"))), 4009);
    assert_eq!(code(&stage.ask(socket, message())), 4009);
}

#[test]
fn an_id_is_of_its_session_alone_and_made_by_the_server_where_none_is_given() {
    let mut stage = Stage::quiet();
    let socket = stage.guest();
    stage.granted(socket, 5);
    let other = stage.connect();
    let stranger = "7d1f0c3e-8f0e-4e0c-9a37-3f1f2f6b1c12";
    let mut configure = configure();
    configure["token"] = json!(stranger);
    stage.ask(other, configure);
    let mut get = named("getAttachment");
    get["token"] = json!(stranger);
    assert_eq!(code(&stage.ask(other, get)), 4009);
    let mut frame = grant("a.png", "image/png", 1);
    frame.as_object_mut().unwrap().remove("attachmentId");
    let made = stage.ask(socket, frame);
    let id = made["body"]["attachmentId"].as_str().unwrap();
    assert!(uuid::Uuid::try_parse(id).is_ok() && id != ID);
}

#[test]
fn what_all_attachments_hold_is_bounded_and_freed_with_their_session() {
    let mut stage = Stage::quiet();
    stage.world.rules.attachments.max_total_bytes = 3 * 1024;
    let socket = stage.guest();
    let ask = |stage: &mut Stage, id: &str, size: u64| {
        let mut frame = grant("a.png", "image/png", size);
        frame["attachmentId"] = json!(id);
        frame["errorsAsJson"] = json!(false);
        code(&stage.ask(socket, frame))
    };
    assert_eq!(ask(&mut stage, "a", 2 * 1024), 200);
    assert_eq!(ask(&mut stage, "b", 1), 200, "it counts one KiB");
    assert_eq!(ask(&mut stage, "c", 1), 5000);
    stage.pass(Duration::from_secs(600));
    assert_eq!(ask(&mut stage, "d", 1), 200, "unused grants hold little");
    let mut anew = configure();
    anew["startNew"] = json!(true);
    stage.ask(socket, anew);
    assert_eq!(
        ask(&mut stage, "a", 3 * 1024),
        200,
        "the conversation is a new one"
    );
}

#[test]
fn a_large_body_is_read_for_a_granted_upload_only() {
    let mut stage = Stage::quiet();
    let socket = stage.guest();
    let grant = stage.granted(socket, 100_000);
    static BODY: [u8; 100_000] = [7; 100_000];
    let mut forged = grant.clone();
    forged["url"] = json!(format!("{}x", grant["url"].as_str().unwrap()));
    assert_eq!(stage.put(&forged, &BODY), 413);
    assert_eq!(stage.put(&grant, &BODY), 200);
    assert_eq!(stage.put(&grant, &BODY), 413, "it is no longer expected");
}

#[test]
fn agent_attachment_needs_room() {
    let script = "name: files\nrules:\n  - on: otherwise\n    do: [{attachment: {name: a.txt, type: text/plain, \
                  body: hello, text: your ticket}}]";
    let mut stage = Stage::new(Rules {
        agent: Agent::Scripts(vec![Script::parse("files.yaml", script).unwrap()]),
        ..rules()
    });
    let socket = stage.guest();
    stage.tell(socket, text("tickets"));
    stage.pass(Duration::ZERO);
    let seen = stage.seen_by(socket);
    assert_eq!(seen.len(), 2);
    let message = frame(&seen[1]);
    assert_eq!(
        (&message["body"]["direction"], &message["body"]["text"]),
        (&json!("Outbound"), &json!("your ticket"))
    );
    let url = &message["body"]["content"][0]["attachment"]["url"];
    assert_eq!(stage.fetch(url).body().as_ref(), b"hello");
    stage.world.rules.attachments.max_total_bytes = 0;
    stage.tell(socket, text("more"));
    stage.pass(Duration::ZERO);
    assert_eq!(stage.seen_by(socket).len(), 1);
}
