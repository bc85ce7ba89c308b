//! The example scripts, each played by a virtual clock.

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
    assert_eq!(script.name(), name);
    script
}

fn stage(names: &[&str]) -> (Stage, SocketId) {
    let mut stage = Stage::new(Rules {
        agent: Agent::Scripts(names.iter().map(|name| example(name)).collect()),
        limits: Limits::none(),
        ..rules()
    });
    let socket = stage.connect();
    stage.tell(socket, configure());
    (stage, socket)
}

/// What the agent did since the last look; the guest's own messages and answers are left out.
fn heard(stage: &mut Stage) -> Vec<Value> {
    stage
        .seen()
        .into_iter()
        .filter_map(|(_, seen)| match seen {
            Seen::Frame(frame) if frame["body"]["direction"] == "Outbound" => Some(frame["body"].clone()),
            Seen::Frame(frame) if frame["type"] == "message" && frame["class"] != "StructuredMessage" => {
                Some(frame["class"].clone())
            }
            Seen::Frame(frame) if frame["class"] == "SessionExpiredEvent" => Some(frame["class"].clone()),
            Seen::Closed(code) => Some(json!(code)),
            Seen::Frame(_) => None,
        })
        .collect()
}

fn pressed(payload: &str) -> Value {
    json!({"action": "onMessage", "token": TOKEN, "message": {"type": "Structured", "text": "x", "content": [
        {"contentType": "ButtonResponse", "buttonResponse": {"type": "QuickReply", "text": "x", "payload": payload}}]}})
}

#[test]
fn the_scripts_of_the_documentation_are_scripts() {
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
fn an_agent_sends_a_file_under_its_own_name() {
    let script = "name: files\nnickname: Rex\nbot: true\nrules:\n  - on: connect\n    do:\n      \
        - attachment: {name: prices.txt, type: text/plain, body: free, text: Our prices}\n";
    let mut stage = Stage::new(Rules {
        agent: Agent::Scripts(vec![Script::parse("files.yaml", script).unwrap()]),
        ..rules()
    });
    let socket = stage.connect();
    stage.tell(socket, configure());
    let message = heard(&mut stage).remove(0);
    assert_eq!(
        [&message["type"], &message["text"], &message["originatingEntity"]],
        ["Structured", "Our prices", "Bot"]
    );
    assert_eq!(message["channel"]["from"]["nickname"], "Rex");
    let file = &message["content"][0]["attachment"];
    assert_eq!([&file["filename"], &file["mime"]], ["prices.txt", "text/plain"]);
    assert_eq!(stage.fetch(&file["url"]).body(), "free");
}

#[test]
fn a_survey_offers_choices_and_hands_over() {
    let (mut stage, socket) = stage(&["shop-survey"]);
    let typing = heard(&mut stage);
    assert_eq!(
        typing[0]["events"][0]["typing"],
        json!({"type": "On", "duration": 1000})
    );
    assert_eq!(typing[0]["originatingEntity"], "Bot");
    assert_eq!(typing.len(), 1);
    stage.pass(Duration::from_secs(1));
    let offer = heard(&mut stage);
    assert_eq!(
        (&offer[0]["type"], &offer[0]["text"]),
        (&json!("Structured"), &json!("How was your order?"))
    );
    assert_eq!(
        offer[0]["content"][1],
        json!({"contentType": "QuickReply", "quickReply": {"text": "Bad", "payload": "BAD", "action": "Message"}})
    );
    stage.tell(socket, pressed("BAD"));
    let sorry = heard(&mut stage);
    assert_eq!(
        (
            &sorry[0]["channel"]["from"]["nickname"],
            &sorry[0]["originatingEntity"]
        ),
        (&json!("Shop Bot"), &json!("Bot"))
    );
    stage.pass(Duration::from_secs(2));
    let ann = heard(&mut stage);
    assert_eq!(
        (
            &ann[0]["channel"]["from"]["nickname"],
            &ann[0]["originatingEntity"]
        ),
        (&json!("Ann"), &json!("Human"))
    );
    for (said, answer) in [
        ("order 42", "I look up order 42."),
        ("so", "Go on."),
        ("so", "I see."),
        ("so", "Go on."),
    ] {
        stage.tell(socket, text(said));
        assert_eq!(heard(&mut stage)[0]["text"], answer);
    }
    stage.pass(Duration::from_secs(600));
    assert_eq!(heard(&mut stage)[0]["text"], "Are you still there?");
    stage.tell(socket, pressed("GOOD"));
    let end = heard(&mut stage);
    assert_eq!(end[1]["metadata"]["readOnly"], "true");
}

#[test]
fn everything_can_be_offered() {
    let (mut stage, socket) = stage(&["card"]);
    for (said, kind, place, value) in [
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
        stage.tell(socket, text(said));
        let content = heard(&mut stage)[0]["content"][0].clone();
        assert_eq!(
            (&content["contentType"], content.pointer(place)),
            (&json!(kind), Some(&value))
        );
    }
    stage.tell(socket, text("nothing of these"));
    assert_eq!(heard(&mut stage), [] as [Value; 0]);
}

#[test]
fn a_conversation_ends_in_every_way() {
    for (said, end) in [
        ("read only", json!([{"readOnly": "true"}])),
        ("Open ", json!([{"readOnly": "false"}])),
        (
            "clear",
            json!(["SessionClearedEvent", "ConnectionClosedEvent", 1000]),
        ),
        ("expire", json!(["SessionExpiredEvent"])),
    ] {
        let (mut stage, socket) = stage(&["disconnects"]);
        stage.tell(socket, text(said));
        let heard: Vec<_> = heard(&mut stage)
            .into_iter()
            .map(|it| {
                if it.is_object() {
                    it["metadata"].clone()
                } else {
                    it
                }
            })
            .collect();
        assert_eq!(json!(heard), end, "{said}");
    }
    let (mut stage, socket) = stage(&["disconnects"]);
    stage.tell(socket, text("drop"));
    let outputs: Vec<_> = std::iter::from_fn(|| stage.world.poll_output()).collect();
    assert_eq!(outputs.last(), Some(&Output::Drop { socket }));
    assert_eq!(stage.world.counters().faults.of(FaultKind::Drop), 1);
}

#[test]
fn a_guest_chooses_an_agent_by_name() {
    let (mut stage, socket) = stage(&["echo", "shop-survey", "card"]);
    assert_eq!(heard(&mut stage), [] as [Value; 0]);
    let mut join = presence("Join");
    join["message"]["channel"] = json!({"metadata": {"customAttributes": {"agent": "shop-survey"}}});
    stage.tell(socket, join);
    stage.pass(Duration::from_secs(1));
    assert_eq!(
        heard(&mut stage)[1]["text"],
        "How was your order?",
        "it greets as if the guest had come to it"
    );
    let mut again = text("hello");
    again["channel"] = json!({"metadata": {"customAttributes": {"agent": "nobody"}}});
    stage.tell(socket, again);
    assert_eq!(
        heard(&mut stage)[0]["text"],
        "Go on.",
        "an unknown name changes nothing"
    );
}
