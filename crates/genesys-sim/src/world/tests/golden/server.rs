//! What Genesys Cloud sends is produced.

use super::*;
use crate::config::AttachmentRules;

type Produced = BTreeMap<&'static str, Value>;

/// An agent who sends what a golden file holds when the guest writes its name.
fn parrot(files: &BTreeMap<String, (Golden, Value)>) -> Agent {
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

/// Everything that an agent may send beside plain words, each written as Genesys does.
fn offers(files: &BTreeMap<String, (Golden, Value)>, produced: &mut Produced) {
    const BY_BOT: [&str; 19] = [
        "agent-typing-bare",
        "agent-typing-off",
        "attachment-content-size",
        "button-response",
        "card",
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
        let mut stage = Stage::new(Rules {
            agent: parrot(files),
            limits: Limits::none(),
            ..rules()
        });
        let socket = stage.guest();
        for name in names {
            let mut said = text(name);
            said["message"]["channel"] = json!({"metadata": {"customAttributes": {"agent": agent}}});
            stage.tell(socket, said);
            let sent = stage.frames(socket).pop().unwrap();
            produced.insert(*name, sent);
        }
    }
}

fn words_and_files(produced: &mut Produced) {
    let script = json!({"name": "all", "nickname": "Robot Friend", "picture": "https://shop.example/r.png", "bot": true,
    "rules": [
        {"on": {"text": "hi"}, "do": [{"say": "Welcome"}]},
        {"on": {"text": "person"}, "do": [{"hand_over": "Ann"}, {"type": "3s"}, {"say": "Hi"}]},
        {"on": {"text": "prices"}, "do": [{"attachment":
            {"name": "price-list.pdf", "type": "application/pdf", "body": "free", "text": "Our prices"}}]},
        {"on": {"text": "colours"}, "do": [{"quick_replies": {"text": "Which colour?", "replies": [
            "Red", {"text": "Blue", "payload": "BLUE", "image": "https://shop.example/blue.png"}]}}]},
        {"on": {"text": "stay"}, "do": [{"disconnect": "open"}]},
        {"on": {"text": "bye"}, "do": [{"disconnect": "read_only"}]},
    ]});
    let person = json!({"name": "person", "picture": "https://shop.example/ann.png",
        "rules": [{"on": "otherwise", "do": [{"say": "Hi"}]}]});
    let mut stage = Stage::new(Rules {
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
    let socket = stage.connect();
    produced.insert("session-response", stage.ask(socket, traced(configure())));
    produced.insert("session-response-bare", stage.ask(socket, traced(configure())));
    produced.insert("presence-join", stage.ask(socket, presence("Join")));
    produced.insert("session-response-resumed", stage.ask(socket, traced(configure())));
    let mut say = |words: &str, agent: &str| {
        let mut said = text(words);
        said["message"]["channel"] = json!({"metadata": {"customAttributes": {"agent": agent}}});
        stage.tell(socket, said);
        stage.frames(socket)
    };
    let mut heard = say("hi", "all");
    produced.insert("bot-text", heard.remove(1));
    produced.insert("own-echo", heard.remove(0));
    produced.insert("agent-text", say("Hello", "person").remove(1));
    produced.insert("attachment", say("prices", "all").remove(1));
    produced.insert("quick-replies", say("colours", "all").remove(1));
    produced.insert("disconnect", say("stay", "all").remove(1));
    produced.insert("agent-typing", say("person", "all").remove(1));
    say("other", "person");
    produced.insert("disconnect-read-only", say("bye", "all").remove(1));
    produced.insert(
        "session-response-read-only",
        stage.ask(socket, traced(configure())),
    );
    produced.insert("read-only-409", stage.ask(socket, text("more")));
    let leave =
        json!({"action": "closeSession", "token": TOKEN, "closeAllConnections": true, "tracingId": "t-2"});
    produced.insert("session-response-closed", stage.ask(socket, leave));
}

fn own_requests(produced: &mut Produced) {
    let mut stage = Stage::quiet();
    let socket = stage.guest();
    let client = folder("client");
    let ask = |stage: &mut Stage, name: &str| stage.ask(socket, ours(&client[name].1, ""));
    for (name, request) in [
        ("presigned-url", "on-attachment"),
        ("attachment-deleted", "delete-attachment"),
        ("get-configuration-response", "get-configuration"),
        ("health-check-answer", "echo"),
        ("jwt-response", "get-jwt"),
        ("own-echo-quick-reply", "quick-reply-to"),
        ("resume-token-response", "resume-token"),
    ] {
        produced.insert(name, ask(&mut stage, request));
    }
    produced.insert("upload-success", stage.upload(socket, FILE, b"12345"));
    produced.insert("presigned-url-download", ask(&mut stage, "get-attachment"));
    produced.insert("own-echo-attachment", ask(&mut stage, "attachment-bare"));
    let other = "99999999-4c3b-4a29-9180-7f6e5d4c3b2a";
    produced.insert("upload-failure", stage.upload(socket, other, b""));

    let sibling = stage.guest();
    stage.guest();
    let fourth = stage.connect();
    stage.tell(fourth, configure());
    produced.insert("connection-closed", stage.frames(socket).remove(0));
    stage.tell(sibling, presence("Clear"));
    let mut seen = stage.frames(sibling);
    produced.insert("session-cleared", seen.remove(1));
    produced.insert("presence-clear", seen.remove(0));
}

fn refusals(produced: &mut Produced) {
    let mut stage = Stage::new(Rules {
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
    let stranger = stage.handshake("other", None).unwrap();
    produced.insert("deployment-not-found", stage.ask(stranger, traced(configure())));
    let socket = stage.connect();
    produced.insert("session-not-found-4007", stage.ask(socket, text("early")));
    stage.ask(socket, configure());
    produced.insert("too-many-429", stage.ask(socket, configure()));
    produced.insert("generate-url-error", stage.grant(socket, FILE, 5));
    produced.insert("forbidden-403-clear", stage.ask(socket, presence("Clear")));
    let video = json!({"action": "onMessage", "token": TOKEN, "tracingId": "t-1", "message":
        {"type": "Event", "events": [{"eventType": "Video", "video": {"type": "Offering"}}]}});
    produced.insert("forbidden-403-feature", stage.ask(socket, video));
    let long = stage.ask(socket, text(&"x".repeat(5_000)));
    produced.insert("error-string", long.clone());
    produced.insert("message-too-long-4011", long);
    let mut heavy = text("x");
    heavy["message"]["channel"] = json!({"metadata": {"customAttributes": {"a": "x".repeat(3_000)}}});
    produced.insert("attributes-too-large-4013", stage.ask(socket, heavy));
    for _ in 0..5 {
        stage.ask(socket, text("x"));
    }
    produced.insert("too-many-4029", stage.ask(socket, text("x")));
    stage.pass(Duration::from_secs(259_200));
    produced.insert("session-expired", stage.frames(socket).remove(0));
    produced.insert("session-expired-4006", stage.ask(socket, text("late")));

    let mut full = Stage::new(Rules {
        max_sessions: 0,
        ..rules()
    });
    let socket = full.connect();
    produced.insert("unexpected-5000", full.ask(socket, traced(configure())));
}

fn signing_in(produced: &mut Produced) {
    let mut stage = Stage::quiet();
    let (jwt, _) = stage.sign_in("");
    let (socket, other) = (stage.guest(), stage.guest());
    stage.seen();
    stage.tell(socket, sign_in::signed_in(TOKEN, &jwt));
    let seen = stage.seen();
    let to = |wanted: SocketId| {
        seen.iter()
            .filter_map(|(socket, seen)| match seen {
                Seen::Frame(frame) if *socket == wanted => Some(frame.clone()),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    produced.insert("connection-closed-reason", to(other).remove(0));
    produced.insert("presence-sign-in", to(socket).remove(1));
    produced.insert("session-response-stepped-up", to(socket).remove(0));
    produced.insert("cannot-downgrade-4017", stage.ask(socket, traced(configure())));
    let late = stage.ask(socket, sign_in::signed_in(TOKEN, "no.jwt.at-all"));
    produced.insert("unauthorized-401", late);
    stage.call("DELETE", sign_in::REVOKE, &jwt, &json!({}));
    produced.insert("logout", stage.frames(socket).remove(0));
    let refused = stage.ask(socket, sign_in::signed_in(TOKEN, &jwt));
    produced.insert("forbidden-403-authentication", refused);

    let mut stage = Stage::quiet();
    let (_, refresh) = stage.sign_in("");
    stage.pass(Duration::from_secs(86_399));
    let (_, last) = stage.call("POST", sign_in::REFRESH, "", &json!({"refreshToken": refresh}));
    stage.pass(Duration::from_secs(1));
    let socket = stage.connect();
    let jwt = last["jwt"].as_str().unwrap();
    let refused = stage.ask(socket, sign_in::signed_in(TOKEN, jwt));
    produced.insert("forbidden-403-again", refused);
}

/// What only a fault brings.
fn faults(produced: &mut Produced) {
    for (name, fault) in [
        ("connection-closed-reason-code", "evict:reasonCode@in1"),
        ("error-message", "refuse:400:ErrorMessage"),
        ("error-schema", "refuse:4020:Error"),
        ("timeout-408", "refuse:408"),
        ("too-many-string", "refuse:429"),
    ] {
        let mut stage = Stage::quiet();
        let socket = stage.guest();
        stage.seen();
        stage.world.arm(fault.parse().unwrap(), None).unwrap();
        stage.tell(socket, text("Hello"));
        produced.insert(name, stage.frames(socket).remove(0));
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
fn every_frame_of_genesys_cloud_is_produced() {
    let files = folder("server");
    covered("server", &files, &produced(&files));
}

#[test]
fn nothing_is_produced_that_no_golden_frame_of_its_class_has() {
    let files = folder("server");
    let class = |frame: &Value| frame["class"].as_str().unwrap().to_owned();
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, frame) in files.values() {
        known.entry(class(frame)).or_default().extend(fields(frame));
    }
    for (name, frame) in produced(&files) {
        let strange: Vec<_> = fields(&frame)
            .into_iter()
            .filter(|field| !known[&class(&frame)].contains(field))
            .collect();
        assert_eq!(strange, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn what_a_script_offers_has_the_fields_of_the_golden_content() {
    let files = folder("server");
    let content = |name: &str| files[name].1["body"]["content"][0].clone();
    let mut stage = Stage::new(Rules {
        agent: Agent::Scripts(vec![
            Script::parse("card.yaml", include_str!("../../../../agents/card.yaml")).unwrap(),
        ]),
        limits: Limits::none(),
        ..rules()
    });
    let socket = stage.guest();
    for (said, name) in [
        ("card", "card"),
        ("carousel", "carousel"),
        ("date", "date-picker"),
        ("list", "list-picker"),
        ("form", "form"),
    ] {
        stage.tell(socket, text(said));
        let offered = stage.frames(socket).pop().unwrap()["body"]["content"][0].clone();
        let golden = content(name);
        assert_eq!(offered["contentType"], golden["contentType"]);
        let strange: Vec<_> = fields(&offered).difference(&fields(&golden)).cloned().collect();
        assert_eq!(strange, Vec::<String>::new(), "{name}");
    }
}
