//! The example scripts, each run on a virtual clock.

use super::*;
use crate::Script;

fn example(name: &str) -> Script {
    let text = match name {
        "card" => include_str!("../../../agents/card.yaml"),
        "disconnects" => include_str!("../../../agents/disconnects.yaml"),
        "echo" => include_str!("../../../agents/echo.yaml"),
        "shop-survey" => include_str!("../../../agents/shop-survey.yaml"),
        other => panic!("{other}"),
    };
    let script = Script::parse(name, text).unwrap();
    assert_eq!(script.name, name);
    script
}

fn harness(names: &[&str]) -> (Harness, SocketId) {
    let mut harness = Harness::new(Rules {
        agent: Agent::Scripts(names.iter().map(|name| example(name)).collect()),
        limits: Limits::none(),
        ..rules()
    });
    let socket = harness.connect();
    harness.send_frame(socket, configure());
    (harness, socket)
}

/// Messages of the agent since the last call, without the guest's own messages and replies.
fn received(harness: &mut Harness) -> Vec<Value> {
    harness
        .received()
        .into_iter()
        .filter_map(|(_, received)| match received {
            Received::Frame(frame) if frame["body"]["direction"] == "Outbound" => Some(frame["body"].clone()),
            Received::Frame(frame) if frame["type"] == "message" && frame["class"] != "StructuredMessage" => {
                Some(frame["class"].clone())
            }
            Received::Frame(frame) if frame["class"] == "SessionExpiredEvent" => Some(frame["class"].clone()),
            Received::Closed(code) => Some(json!(code)),
            Received::Frame(_) => None,
        })
        .collect()
}

fn pressed(payload: &str) -> Value {
    json!({"action": "onMessage", "token": TOKEN, "message": {"type": "Structured", "text": "x", "content": [
        {"contentType": "ButtonResponse", "buttonResponse": {"type": "QuickReply", "text": "x", "payload": payload}}]}})
}

#[test]
fn documented_scripts_parse() {
    let pages = [
        include_str!("../../../README.md"),
        include_str!("../../../agents/README.md"),
    ];
    for page in pages {
        let (_, rest) = page.split_once("```yaml\n").unwrap();
        let (script, _) = rest.split_once("```").unwrap();
        Script::parse("README.md", script).unwrap();
    }
}

#[test]
fn agent_sends_a_file_under_its_nickname() {
    let script = "name: files\nnickname: Rex\nbot: true\nrules:\n  - on: connect\n    do:\n      \
        - attachment: {name: prices.txt, type: text/plain, body: free, text: Our prices}\n";
    let mut harness = Harness::new(Rules {
        agent: Agent::Scripts(vec![Script::parse("files.yaml", script).unwrap()]),
        ..rules()
    });
    let socket = harness.connect();
    harness.send_frame(socket, configure());
    let message = received(&mut harness).remove(0);
    assert_eq!(
        [&message["type"], &message["text"], &message["originatingEntity"]],
        ["Structured", "Our prices", "Bot"]
    );
    assert_eq!(message["channel"]["from"]["nickname"], "Rex");
    let file = &message["content"][0]["attachment"];
    assert_eq!([&file["filename"], &file["mime"]], ["prices.txt", "text/plain"]);
    assert_eq!(harness.fetch(&file["url"]).body(), "free");
}

#[test]
fn structured_message_has_texts_unless_left_out() {
    let script = r#"{name: cards, rules: [{on: connect, do: [
        {card: {title: A, actions: []}},
        {card: {title: A, text: T, description: D, actions: []}},
        {card: {title: A, text: null, description: null, actions: []}},
        {carousel: [{title: A, actions: []}, {title: B, text: T, actions: []}, {title: C, text: null, actions: []}]},
        {carousel: [{title: A, text: null, actions: []}]},
        {form: {id: f, introduction: {title: A}}},
        {form: {id: f}},
        {form: {id: f, text: T}},
        {form: {id: f, text: null}}]}]}"#;
    let mut harness = Harness::new(Rules {
        agent: Agent::Scripts(vec![Script::parse("cards", script).unwrap()]),
        ..rules()
    });
    let socket = harness.connect();
    harness.send_frame(socket, configure());
    let sent = received(&mut harness);
    let text = |index: usize| sent[index]["text"].as_str();
    assert_eq!(
        [0, 1, 2, 3, 4].map(text),
        [Some("A"), Some("T"), None, Some("A\nT"), None]
    );
    assert_eq!([5, 6, 7, 8].map(text), [Some("A"), Some("Form"), Some("T"), None]);
    assert!(sent[7]["content"][0]["form"]["text"].is_null());
    let description = |index: usize| sent[index]["content"][0]["card"]["description"].as_str();
    assert_eq!([0, 1, 2].map(description), [Some("A"), Some("D"), None]);
    assert_eq!(sent[3]["content"][0]["carousel"]["cards"][1]["description"], "B");
}

#[test]
fn survey_script_offers_choices_and_transfers() {
    let (mut harness, socket) = harness(&["shop-survey"]);
    let typing = received(&mut harness);
    assert_eq!(
        typing[0]["events"][0]["typing"],
        json!({"type": "On", "duration": 1000})
    );
    assert_eq!(typing[0]["originatingEntity"], "Bot");
    assert_eq!(typing.len(), 1);
    harness.advance(Duration::from_secs(1));
    let offer = received(&mut harness);
    assert_eq!(
        (&offer[0]["type"], &offer[0]["text"]),
        (&json!("Structured"), &json!("How was your order?"))
    );
    assert_eq!(
        offer[0]["content"][1],
        json!({"contentType": "QuickReply", "quickReply": {"text": "Bad", "payload": "BAD", "action": "Message"}})
    );
    harness.send_frame(socket, pressed("BAD"));
    let fallback = received(&mut harness);
    assert_eq!(
        (
            &fallback[0]["channel"]["from"]["nickname"],
            &fallback[0]["originatingEntity"]
        ),
        (&json!("Shop Bot"), &json!("Bot"))
    );
    harness.advance(Duration::from_secs(2));
    let ann = received(&mut harness);
    assert_eq!(
        (
            &ann[0]["channel"]["from"]["nickname"],
            &ann[0]["originatingEntity"]
        ),
        (&json!("Ann"), &json!("Human"))
    );
    for (sent, answer) in [
        ("order 42", "I look up order 42."),
        ("so", "Go on."),
        ("so", "I see."),
        ("so", "Go on."),
    ] {
        harness.send_frame(socket, text(sent));
        assert_eq!(received(&mut harness)[0]["text"], answer);
    }
    harness.advance(Duration::from_secs(600));
    assert_eq!(received(&mut harness)[0]["text"], "Are you still there?");
    harness.send_frame(socket, pressed("GOOD"));
    let end = received(&mut harness);
    assert_eq!(end[1]["metadata"]["readOnly"], "true");
}

#[test]
fn script_sends_every_kind_of_content() {
    let (mut harness, socket) = harness(&["card"]);
    for (sent, kind, pointer, value) in [
        (
            "a card",
            "Card",
            "/card/actions/1",
            json!({"type": "Link", "text": "Look", "url": "https://example.com/"}),
        ),
        ("a carousel", "Carousel", "/carousel/cards/1/title", json!("Two")),
        (
            "a date",
            "DatePicker",
            "/datePicker/availableTimes/0/duration",
            json!(1800),
        ),
        (
            "a list",
            "ListPicker",
            "/listPicker/sections/0/multipleSelection",
            json!(true),
        ),
        ("a form", "Form", "/form/cannedResponseId", json!("canned-1")),
    ] {
        harness.send_frame(socket, text(sent));
        let content = received(&mut harness)[0]["content"][0].clone();
        assert_eq!(
            (&content["contentType"], content.pointer(pointer)),
            (&json!(kind), Some(&value))
        );
    }
    harness.send_frame(socket, text("nothing of these"));
    assert_eq!(received(&mut harness), [] as [Value; 0]);
}

#[test]
fn script_ends_a_conversation_in_every_way() {
    for (sent, end) in [
        ("read only", json!([{"readOnly": "true"}])),
        ("Open ", json!([{"readOnly": "false"}])),
        (
            "clear",
            json!(["SessionClearedEvent", "ConnectionClosedEvent", 1000]),
        ),
        ("expire", json!(["SessionExpiredEvent"])),
    ] {
        let (mut harness, socket) = harness(&["disconnects"]);
        harness.send_frame(socket, text(sent));
        let received: Vec<_> = received(&mut harness)
            .into_iter()
            .map(|it| {
                if it.is_object() {
                    it["metadata"].clone()
                } else {
                    it
                }
            })
            .collect();
        assert_eq!(json!(received), end, "{sent}");
    }
    let (mut harness, socket) = harness(&["disconnects"]);
    harness.send_frame(socket, text("drop"));
    let outputs: Vec<_> = std::iter::from_fn(|| harness.cloud.poll_output()).collect();
    assert_eq!(outputs.last(), Some(&Output::Drop { socket }));
    assert_eq!(harness.cloud.counters().faults["drop"], 1);
}

#[test]
fn guest_chooses_an_agent_by_name() {
    let (mut harness, socket) = harness(&["echo", "shop-survey", "card"]);
    assert_eq!(received(&mut harness), [] as [Value; 0]);
    let mut join = presence("Join");
    join["message"]["channel"] = json!({"metadata": {"customAttributes": {"agent": "shop-survey"}}});
    harness.send_frame(socket, join);
    harness.advance(Duration::from_secs(1));
    assert_eq!(
        received(&mut harness)[1]["text"],
        "How was your order?",
        "its rule `connect` runs"
    );
    let mut again = text("hello");
    again["channel"] = json!({"metadata": {"customAttributes": {"agent": "nobody"}}});
    harness.send_frame(socket, again);
    assert_eq!(
        received(&mut harness)[0]["text"],
        "Go on.",
        "an unknown name changes nothing"
    );
}
