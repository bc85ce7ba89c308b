//! Golden frames of Genesys Cloud are produced.

use super::*;
use crate::config::AttachmentRules;

type Produced = BTreeMap<&'static str, Value>;

/// An agent who sends what a golden file holds when the guest writes its name.
fn golden_agent(files: &BTreeMap<String, (Golden, Value)>) -> Agent {
    let mut scripts = [true, false].map(|bot| {
        let rules: Vec<_> = files
            .iter()
            .filter(|(_, (_, frame))| (frame["body"]["originatingEntity"] == "Bot") == bot)
            .filter_map(|(name, (_, frame))| {
                let body = &frame["body"];
                let step = match (&body["content"], &body["events"][0]) {
                    (Value::Array(items), _) => json!({"content": {"text": body["text"], "items": items}}),
                    (_, event @ Value::Object(_)) => json!({"event": event}),
                    _ => return None,
                };
                Some(json!({"on": {"text": name}, "do": [step]}))
            })
            .collect();
        let name = if bot { "bot" } else { "person" };
        let script = json!({"name": name, "nickname": "Robot Friend", "bot": bot, "rules": rules});
        Script::parse(name, &script.to_string()).unwrap()
    });
    scripts.reverse();
    Agent::Scripts(scripts.to_vec())
}

/// Everything that an agent may send beside plain text, each written as Genesys does.
fn offers(files: &BTreeMap<String, (Golden, Value)>, produced: &mut Produced) {
    const BY_BOT: [&str; 20] = [
        "agent-typing-bare",
        "agent-typing-off",
        "attachment-content-size",
        "button-response",
        "card",
        "card-bare",
        "carousel",
        "date-picker",
        "form",
        "form-response",
        "list-picker",
        "other-content",
        "presence-authenticate",
        "presence-authenticate-cancel",
        "presence-authenticate-failure",
        "presence-session-expired",
        "presence-unknown",
        "quick-replies-v2",
        "text-content",
        "unknown-event",
    ];
    const BY_PERSON: [&str; 4] = ["agent-typing-duration-ms", "co-browse", "reactions", "video"];
    for (agent, names) in [("bot", &BY_BOT[..]), ("person", &BY_PERSON[..])] {
        let mut harness = Harness::new(Rules {
            agent: golden_agent(files),
            limits: Limits::none(),
            ..rules()
        });
        let socket = harness.guest();
        for name in names {
            let mut sent = text(name);
            sent["message"]["channel"] = json!({"metadata": {"customAttributes": {"agent": agent}}});
            harness.send_frame(socket, sent);
            let sent = harness.frames(socket).pop().unwrap();
            produced.insert(*name, sent);
        }
    }
}

fn words_and_files(produced: &mut Produced) {
    let script = json!({"name": "all", "nickname": "Robot Friend", "picture": "https://shop.example/r.png", "bot": true,
    "rules": [
        {"on": {"text": "hi"}, "do": [{"say": "Welcome"}]},
        {"on": {"text": "person"}, "do": [{"transfer": "Ann"}, {"type": "3s"}, {"say": "Hi"}]},
        {"on": {"text": "prices"}, "do": [{"attachment":
            {"name": "price-list.pdf", "type": "application/pdf", "body": "free", "text": "Our prices"}}]},
        {"on": {"text": "colours"}, "do": [{"quick_replies": {"text": "Which colour?", "replies": [
            "Red", {"text": "Blue", "payload": "BLUE", "image": "https://shop.example/blue.png"}]}}]},
        {"on": {"text": "stay"}, "do": [{"disconnect": "open"}]},
        {"on": {"text": "bye"}, "do": [{"disconnect": "read_only"}]},
    ]});
    let person = json!({"name": "person", "picture": "https://shop.example/ann.png",
        "rules": [{"on": "otherwise", "do": [{"say": "Hi"}]}]});
    let mut harness = Harness::new(Rules {
        agent: Agent::Scripts(
            [script, person]
                .map(|script| Script::parse("golden", &script.to_string()).unwrap())
                .to_vec(),
        ),
        attachments: AttachmentRules {
            file_types: ["*/*", "image/*", "application/pdf"].map(str::to_owned).to_vec(),
            ..AttachmentRules::default()
        },
        limits: Limits::none(),
        ..rules()
    });
    let socket = harness.connect();
    produced.insert("session-response", harness.ask(socket, traced(configure())));
    produced.insert("session-response-bare", harness.ask(socket, traced(configure())));
    produced.insert("presence-join", harness.ask(socket, presence("Join")));
    produced.insert(
        "session-response-resumed",
        harness.ask(socket, traced(configure())),
    );
    let mut say = |words: &str, agent: &str| {
        let mut sent = text(words);
        sent["message"]["channel"] = json!({"metadata": {"customAttributes": {"agent": agent}}});
        harness.send_frame(socket, sent);
        harness.frames(socket)
    };
    let mut received = say("hi", "all");
    produced.insert("bot-text", received.remove(1));
    produced.insert("own-echo", received.remove(0));
    produced.insert("agent-text", say("Hello", "person").remove(1));
    produced.insert("attachment", say("prices", "all").remove(1));
    produced.insert("quick-replies", say("colours", "all").remove(1));
    produced.insert("disconnect", say("stay", "all").remove(1));
    produced.insert("agent-typing", say("person", "all").remove(1));
    say("other", "person");
    produced.insert("disconnect-read-only", say("bye", "all").remove(1));
    produced.insert(
        "session-response-read-only",
        harness.ask(socket, traced(configure())),
    );
    produced.insert("read-only-409", harness.ask(socket, text("more")));
    let leave =
        json!({"action": "closeSession", "token": TOKEN, "closeAllConnections": true, "tracingId": "t-2"});
    produced.insert("session-response-closed", harness.ask(socket, leave));
}

fn own_requests(produced: &mut Produced) {
    let mut harness = Harness::quiet();
    let socket = harness.guest();
    let client = folder("client");
    let ask = |harness: &mut Harness, name: &str| harness.ask(socket, ours(&client[name].1, ""));
    for (name, request) in [
        ("presigned-url", "on-attachment"),
        ("attachment-deleted", "delete-attachment"),
        ("get-configuration-response", "get-configuration"),
        ("health-check-answer", "echo"),
        ("jwt-response", "get-jwt"),
        ("own-echo-quick-reply", "quick-reply-to"),
        ("resume-token-response", "resume-token"),
    ] {
        produced.insert(name, ask(&mut harness, request));
    }
    produced.insert("upload-success", harness.upload(socket, FILE, b"12345"));
    produced.insert("presigned-url-download", ask(&mut harness, "get-attachment"));
    produced.insert("own-echo-attachment", ask(&mut harness, "attachment-bare"));
    let other = "99999999-4c3b-4a29-9180-7f6e5d4c3b2a";
    produced.insert("upload-failure", harness.upload(socket, other, b""));

    let sibling = harness.guest();
    harness.guest();
    let fourth = harness.connect();
    harness.send_frame(fourth, configure());
    produced.insert("connection-closed", harness.frames(socket).remove(0));
    harness.send_frame(sibling, presence("Clear"));
    let mut received = harness.frames(sibling);
    produced.insert("session-cleared", received.remove(1));
    produced.insert("presence-clear", received.remove(0));
}

fn refusals(produced: &mut Produced) {
    let mut harness = Harness::new(Rules {
        agent: Agent::Silent,
        attachments: AttachmentRules {
            file_types: vec!["image/jpeg".to_owned()],
            ..AttachmentRules::default()
        },
        conversation_clear: false,
        limits: Limits {
            configures_per_minute: Some(1),
            ..Limits::default()
        },
        ..rules()
    });
    let other = harness.handshake("other", None).unwrap();
    produced.insert("deployment-not-found", harness.ask(other, traced(configure())));
    let socket = harness.connect();
    produced.insert("session-not-found-4007", harness.ask(socket, text("early")));
    harness.ask(socket, configure());
    produced.insert("too-many-429", harness.ask(socket, configure()));
    produced.insert("generate-url-error", harness.grant(socket, FILE, 5));
    produced.insert("forbidden-403-clear", harness.ask(socket, presence("Clear")));
    let video = json!({"action": "onMessage", "token": TOKEN, "tracingId": "t-1", "message":
        {"type": "Event", "events": [{"eventType": "Video", "video": {"type": "Offering"}}]}});
    produced.insert("forbidden-403-feature", harness.ask(socket, video));
    let long = harness.ask(socket, text(&"x".repeat(5_000)));
    produced.insert("error-string", long.clone());
    produced.insert("message-too-long-4011", long);
    let mut oversized = text("x");
    oversized["message"]["channel"] = json!({"metadata": {"customAttributes": {"a": "x".repeat(3_000)}}});
    produced.insert("attributes-too-large-4013", harness.ask(socket, oversized));
    for _ in 0..5 {
        harness.ask(socket, text("x"));
    }
    produced.insert("too-many-4029", harness.ask(socket, text("x")));
    harness.advance(Duration::from_secs(259_200));
    produced.insert("session-expired", harness.frames(socket).remove(0));
    produced.insert("session-expired-4006", harness.ask(socket, text("late")));

    let mut full = Harness::new(Rules {
        max_sessions: 0,
        ..rules()
    });
    let socket = full.connect();
    produced.insert("unexpected-5000", full.ask(socket, traced(configure())));
}

fn signing_in(produced: &mut Produced) {
    let mut harness = Harness::quiet();
    let (jwt, _) = harness.sign_in("");
    let (socket, other) = (harness.guest(), harness.guest());
    harness.received();
    harness.send_frame(socket, sign_in::signed_in(TOKEN, &jwt));
    let received = harness.received();
    let to = |wanted: SocketId| {
        received
            .iter()
            .filter_map(|(socket, received)| match received {
                Received::Frame(frame) if *socket == wanted => Some(frame.clone()),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    produced.insert("connection-closed-reason", to(other).remove(0));
    produced.insert("presence-sign-in", to(socket).remove(1));
    produced.insert("session-response-stepped-up", to(socket).remove(0));
    produced.insert("cannot-downgrade-4017", harness.ask(socket, traced(configure())));
    let late = harness.ask(socket, sign_in::signed_in(TOKEN, "no.jwt.at-all"));
    produced.insert("unauthorized-401", late);
    harness.call("DELETE", sign_in::REVOKE, &jwt, &json!({}));
    produced.insert("logout", harness.frames(socket).remove(0));
    let refused = harness.ask(socket, sign_in::signed_in(TOKEN, &jwt));
    produced.insert("forbidden-403-authentication", refused);

    let mut harness = Harness::quiet();
    let (_, refresh) = harness.sign_in("");
    harness.advance(Duration::from_secs(86_399));
    let (_, last) = harness.call("POST", sign_in::REFRESH, "", &json!({"refreshToken": refresh}));
    harness.advance(Duration::from_secs(1));
    let socket = harness.connect();
    let jwt = last["jwt"].as_str().unwrap();
    let refused = harness.ask(socket, sign_in::signed_in(TOKEN, jwt));
    produced.insert("forbidden-403-again", refused);
}

/// Frames that only a fault produces.
fn faults(produced: &mut Produced) {
    for (name, fault) in [
        ("connection-closed-reason-code", "evict:reasonCode@in1"),
        ("error-message", "refuse:400:ErrorMessage"),
        ("error-schema", "refuse:4020:Error"),
        ("timeout-408", "refuse:408"),
        ("too-many-string", "refuse:429"),
    ] {
        let mut harness = Harness::quiet();
        let socket = harness.guest();
        harness.received();
        let faults = &mut harness.cloud.active_faults;
        faults.add(fault.parse().unwrap(), None).unwrap();
        harness.send_frame(socket, text("Hello"));
        produced.insert(name, harness.frames(socket).remove(0));
    }
}

fn traced(mut frame: Value) -> Value {
    frame["tracingId"] = json!("t-1");
    frame
}

fn produced(files: &BTreeMap<String, (Golden, Value)>) -> Produced {
    let mut produced = Produced::new();
    words_and_files(&mut produced);
    offers(files, &mut produced);
    own_requests(&mut produced);
    refusals(&mut produced);
    signing_in(&mut produced);
    faults(&mut produced);
    produced
}

#[test]
fn server_frames_of_the_golden_set_are_produced() {
    let files = folder("server");
    covered("server", &files, &produced(&files));
}

#[test]
fn produced_frames_have_no_field_outside_the_golden_set() {
    let files = folder("server");
    let class = |frame: &Value| frame["class"].as_str().unwrap().to_owned();
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, frame) in files.values() {
        known.entry(class(frame)).or_default().extend(fields(frame));
    }
    for (name, frame) in produced(&files) {
        let unexpected: Vec<_> = fields(&frame)
            .into_iter()
            .filter(|field| !known[&class(&frame)].contains(field))
            .collect();
        assert_eq!(unexpected, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn script_content_has_the_fields_of_the_golden_content() {
    let files = folder("server");
    let content = |name: &str| files[name].1["body"]["content"][0].clone();
    let mut harness = Harness::new(Rules {
        agent: Agent::Scripts(vec![
            Script::parse("card.yaml", include_str!("../../../../agents/card.yaml")).unwrap(),
        ]),
        limits: Limits::none(),
        ..rules()
    });
    let socket = harness.guest();
    for (sent, name) in [
        ("card", "card"),
        ("carousel", "carousel"),
        ("date", "date-picker"),
        ("list", "list-picker"),
        ("form", "form"),
    ] {
        harness.send_frame(socket, text(sent));
        let offered = harness.frames(socket).pop().unwrap()["body"]["content"][0].clone();
        let golden = content(name);
        assert_eq!(offered["contentType"], golden["contentType"]);
        let unexpected: Vec<_> = fields(&offered).difference(&fields(&golden)).cloned().collect();
        assert_eq!(unexpected, Vec::<String>::new(), "{name}");
    }
}
