//! Frames of Genesys Cloud.

use std::collections::BTreeSet;

use proptest::prelude::*;
use secrecy::ExposeSecret;
use serde_json::Value;
use web_messaging::content::{CardAction, Content};
use web_messaging::message::{Direction, Message};
use web_messaging::{Body, FrameKind, MessageEvent, PresenceKind, ServerFrame, StructuredMessage};

use super::{folder, text};

/// Fields whose change `Debug` does not show: secrets, fields that no client uses, and a class of file whose unknown
/// values are files too.
const HIDDEN_IN_DEBUG: [&str; 18] = [
    "attachment /body/content/0/attachment/mediaType",
    "attachment /body/content/0/attachment/url",
    "attachment-content-size /body/content/0/attachment/url",
    "button-response /body/content/0/buttonResponse/id",
    "co-browse /body/events/0/coBrowse/sessionJoinToken",
    "error-schema /body/stack",
    "error-schema /body/tracingId",
    "jwt-response /body/jwt",
    "own-echo-attachment /body/content/0/attachment/url",
    "presigned-url /body/url",
    "presigned-url-download /body/url",
    "quick-replies /body/content/0/quickReply/action",
    "quick-replies /body/content/1/quickReply/action",
    "quick-replies-v2 /body/content/0/quickReplyV2/actions/0/action",
    "resume-token-response /body/resumeToken",
    "text-content /body/content/0/text/type",
    "upload-success /body/downloadUrl",
    "video /body/events/0/video/jwt",
];

#[test]
fn golden_frame_fields_are_all_parsed() {
    let mut hidden = BTreeSet::new();
    for golden in folder("server") {
        let text = golden.text();
        let debug = shown(&text);
        let known = !["Unknown {", "Other {", "Other("]
            .iter()
            .any(|word| debug.contains(word));
        assert_eq!(
            known,
            !golden.unknown || golden.name() == "unknown-fields",
            "{debug}"
        );
        if golden.unknown {
            continue;
        }
        let value = golden.value();
        let mut paths = Vec::new();
        leaves(&value, String::new(), &mut paths);
        for path in paths {
            let mut changed = value.clone();
            alter(changed.pointer_mut(&path).unwrap());
            if shown(&changed.to_string()) == debug {
                hidden.insert(format!("{} {path}", golden.name()));
            }
        }
    }
    assert_eq!(hidden.iter().collect::<Vec<_>>(), HIDDEN_IN_DEBUG);
}

/// `Debug` of a frame: its typed fields, with the length of each text.
fn shown(text: &str) -> String {
    format!("{:?}", ServerFrame::parse(text).unwrap())
}

fn leaves(value: &Value, path: String, paths: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                leaves(field, format!("{path}/{name}"), paths);
            }
        }
        Value::Array(items) => {
            for (position, item) in items.iter().enumerate() {
                leaves(item, format!("{path}/{position}"), paths);
            }
        }
        _ => paths.push(path),
    }
}

/// Changes a value, and the length of its text.
fn alter(value: &mut Value) {
    *value = match &*value {
        Value::Bool(flag) => Value::Bool(!flag),
        Value::Number(number) if number.is_f64() => "0.123456789".parse().unwrap(),
        Value::Number(number) => (number.as_i64().unwrap() * 10 + 1).into(),
        Value::String(text) if text == "false" => "true".into(),
        Value::String(text) => format!("{text}+").into(),
        other => panic!("not a leaf: {other}"),
    };
}

#[test]
fn secrets_are_parsed_and_redacted() {
    let frame = text("server/jwt-response.json");
    let Body::Jwt(jwt) = ServerFrame::parse(&frame).unwrap().body else {
        panic!()
    };
    assert!(jwt.token.to_secret().expose_secret().starts_with("eyJ"));
    for name in ["presigned-url", "presigned-url-download"] {
        let frame = text(&format!("server/{name}.json"));
        let Body::PresignedUrl(url) = ServerFrame::parse(&frame).unwrap().body else {
            panic!()
        };
        assert!(url.url.to_secret().expose_secret().contains("X-Amz-Signature"));
        assert_eq!(url.is_download(), name.ends_with("download"));
    }
    let frame = text("server/upload-success.json");
    let Body::UploadSuccess(success) = ServerFrame::parse(&frame).unwrap().body else {
        panic!()
    };
    assert!(
        success
            .download_url
            .to_secret()
            .expose_secret()
            .contains("X-Amz-Signature")
    );
    let frame = text("server/resume-token-response.json");
    let Body::ResumeToken(token) = ServerFrame::parse(&frame).unwrap().body else {
        panic!()
    };
    assert_eq!(token.token.to_secret().expose_secret(), "made-up-resume-token");
    let Content::Attachment(file) = &message("attachment").content[0] else {
        panic!()
    };
    assert!(
        file.url
            .as_ref()
            .unwrap()
            .expose_secret()
            .contains("X-Amz-Signature")
    );
    assert_eq!(
        (file.size, &**file.name.as_ref().unwrap()),
        (Some(18_000), "price-list.pdf")
    );
}

#[test]
fn message_has_direction_id_author_and_text() {
    for (name, direction, text) in [
        ("own-echo", Direction::Inbound, "Hello"),
        ("own-echo-attachment", Direction::Inbound, ""),
        ("agent-text", Direction::Outbound, "Hi"),
        ("quick-replies", Direction::Outbound, "Which colour?"),
    ] {
        let message = message(name);
        assert_eq!((message.direction, &*message.text), (direction, text));
    }
    assert_eq!(
        message("own-echo").id,
        "b1a2c3d4-e5f6-4708-8192-a3b4c5d6e7f8",
        "channel.messageId"
    );
    assert_eq!(message("agent-text").id, "5befde6373a23f32f20b59b4e1cba0e6");
    assert_eq!(
        message("agent-text-full-name").from.name.as_deref(),
        Some("Ann Example")
    );
    assert_eq!(message("bot-text").from.name, None);
    for name in ["disconnect", "agent-typing", "presence-join"] {
        assert!(read(&text(&format!("server/{name}.json")), |message| message
            .to_message(time::OffsetDateTime::UNIX_EPOCH)
            .is_none()));
    }
}

#[test]
fn content_of_both_quick_reply_types_is_equal() {
    for name in ["quick-replies", "quick-replies-v2"] {
        let message = message(name);
        let replies: Vec<_> = message.quick_replies().map(|reply| &*reply.payload).collect();
        assert_eq!(replies, ["RED", "BLUE"], "{name}");
    }
    assert!(
        matches!(&message("quick-replies-v2").content[0], Content::Text(title) if &**title == "Which colour?")
    );
    let with_images = message("quick-replies");
    let images = with_images.quick_replies().map(|reply| reply.image.as_deref());
    assert_eq!(
        images.collect::<Vec<_>>(),
        [None, Some("https://shop.example/blue.png")]
    );
    let Content::Carousel(cards) = &message("carousel").content[0] else {
        panic!()
    };
    assert!(
        matches!(&cards[0].actions[0], CardAction::Link { url, .. } if &**url == "https://shop.example/blue")
    );
    assert!(
        matches!(&cards[1].actions[0], CardAction::Postback { payload, .. } if &**payload == "I want it")
    );
    let Content::DatePicker(picker) = &message("date-picker").content[0] else {
        panic!()
    };
    assert_eq!(
        (&*picker.slots[1].at, picker.slots[1].seconds),
        ("2025-06-27T17:30:00.000Z", Some(1800))
    );
    let other = message("other-content");
    let names: Vec<_> = other
        .content
        .iter()
        .map(|item| match item {
            Content::Other(raw) => raw.class().unwrap(),
            item => panic!("{item:?}"),
        })
        .collect();
    assert_eq!(names.len(), 14);
    assert_eq!(&names[..2], ["GenericTemplate", "ListTemplate"]);
}

#[test]
fn item_that_does_not_match_its_type_is_kept_unparsed() {
    let frame = r#"{"type":"message","class":"StructuredMessage","code":200,"body":{"type":"Structured","direction":"Outbound",
        "content":[{"contentType":"Card","card":{"title":7}},7,{"card":{}},{"contentType":0,"attachment":{"id":"a"}}],"events":[{"eventType":"Typing"},"x"]}}"#;
    read(frame, |message| {
        let [
            Content::Other(card),
            Content::Other(number),
            Content::Other(bare),
            Content::Other(numbered),
        ] = &message.content[..]
        else {
            panic!("{message:?}")
        };
        assert_eq!(
            (card.class(), card.as_str()),
            (Some("Card"), r#"{"contentType":"Card","card":{"title":7}}"#)
        );
        assert_eq!(
            (number.class(), bare.class(), numbered.class()),
            (None, None, None)
        );
        // a page has a text in their place
        assert!(message.content.iter().all(|item| !item.is_well_formed()));
        assert_eq!(message.content[3].fallback_text(), "[unknown]");
        assert!(
            message
                .events
                .iter()
                .all(|event| matches!(event, MessageEvent::Other { .. }))
        );
    });
}

#[test]
fn card_action_without_its_value_is_a_label() {
    let action = |json: &str| serde_json::from_str::<CardAction>(json).unwrap();
    for json in [
        r#"{"type":"Link","text":"a"}"#,
        r#"{"type":"Postback","text":"a","payload":null}"#,
        r#"{"type":"Novelty","text":"a","url":"https://shop.example"}"#,
    ] {
        assert_eq!(action(json), CardAction::Other { text: "a".into() }, "{json}");
    }
    let link = action(r#"{"url":"https://shop.example","text":null,"type":"Link"}"#);
    assert!(matches!(link, CardAction::Link { text, .. } if text.is_empty()));
}

#[test]
fn numbers_and_flags_may_be_text() {
    read(&text("server/health-check-answer.json"), |answer| {
        let metadata = answer.metadata.as_ref().unwrap();
        assert_eq!(metadata.expires_at.unwrap().unix_timestamp(), 1_791_139_139);
        assert_eq!(metadata.duration_seconds, Some(259_200));
    });
    read(&text("server/disconnect-read-only.json"), |end| {
        assert!(end.metadata.as_ref().unwrap().read_only);
        assert!(
            matches!(&end.events[0], MessageEvent::Presence(presence) if presence.kind == PresenceKind::Disconnect)
        );
    });
    let odd = r#"{"type":"response","class":"SessionResponse","code":200,"body":{"connected":true,"expirationDate":"17","durationSeconds":1.5,"maxCustomDataBytes":null}}"#;
    let Body::Session(session) = ServerFrame::parse(odd).unwrap().body else {
        panic!()
    };
    assert_eq!(
        (
            session.expires_at.map(|at| at.unix_timestamp()),
            session.duration_seconds
        ),
        (Some(17), None)
    );
}

#[test]
fn limits_and_errors_are_parsed_in_every_shape() {
    for (name, code) in [("too-many-4029", 4029), ("too-many-429", 429)] {
        let frame = text(&format!("server/{name}.json"));
        let Body::TooManyRequests(limit) = ServerFrame::parse(&frame).unwrap().body else {
            panic!()
        };
        assert_eq!((limit.retry_after, limit.error_code), (Some(3), Some(code)));
    }
    let frame = text("server/too-many-string.json");
    let frame = ServerFrame::parse(&frame).unwrap();
    assert!(frame.code == 429 && matches!(frame.body, Body::Plain(_)));
    for (name, expected) in [
        ("error-message", "Request failed."),
        ("error-message-only", "Request failed."),
        ("error-schema", "token is required"),
    ] {
        let frame = text(&format!("server/{name}.json"));
        let Body::Error(error) = ServerFrame::parse(&frame).unwrap().body else {
            panic!("{name}")
        };
        assert_eq!(error.text(), expected);
    }
    for name in ["connection-closed-reason", "connection-closed-reason-code"] {
        let frame = text(&format!("server/{name}.json"));
        assert!(
            matches!(ServerFrame::parse(&frame).unwrap().body, Body::ConnectionClosed { reason: Some(reason) } if &*reason == "signedIn")
        );
    }
}

#[test]
fn unknown_class_or_body_is_kept_unparsed() {
    let frame = text("server/unknown-class.json");
    let Body::Unknown { class, body } = ServerFrame::parse(&frame).unwrap().body else {
        panic!()
    };
    assert_eq!(
        (&*class, body.unwrap().as_str()),
        ("NoveltyEvent", r#"{"novelty":{"deep":[1,2,{"x":null}]}}"#)
    );
    assert_eq!(message("unknown-fields").text, "a \"quoted\" word");
    let wrong_body =
        r#"{"type":"message","class":"SessionResponse","code":200,"body":{"connected":"maybe"}}"#;
    assert!(matches!(
        ServerFrame::parse(wrong_body).unwrap().body,
        Body::Unknown { .. }
    ));
    let wrong_message = r#"{"type":"message","class":"StructuredMessage","code":200,"body":{"type":"Text"}}"#;
    assert!(matches!(
        ServerFrame::parse(wrong_message).unwrap().body,
        Body::Unknown { body: Some(_), .. }
    ));
    let other_class = r#"{"tracingId":"StructuredMessage","type":"message","class":"LogoutEvent","code":200,"body":{"type":"Text","direction":"Inbound"}}"#;
    assert!(matches!(
        ServerFrame::parse(other_class).unwrap().body,
        Body::LoggedOut
    ));
    let class_last = r#"{"body":{"type":"Text","direction":"Inbound"},"tracingId":"c0ffee00-4d5e-4f60-8718-293a4b5c6d7e","type":"message","code":200,"class":"StructuredMessage"}"#;
    assert!(matches!(
        ServerFrame::parse(class_last).unwrap().body,
        Body::Structured(_)
    ));
    let newer_kind = r#"{"type":"whisper","class":"LogoutEvent","code":200,"body":{}}"#;
    assert_eq!(ServerFrame::parse(newer_kind).unwrap().kind, FrameKind::Other);
    let bare = r#"{"type":"message","class":"ConnectionClosedEvent","code":200}"#;
    assert!(matches!(
        ServerFrame::parse(bare).unwrap().body,
        Body::ConnectionClosed { reason: None }
    ));
    for text in ["", "hello", "[]", "{}", r#"{"type":"message"}"#] {
        assert!(ServerFrame::parse(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn parser_accepts_or_refuses_any_text(text in any::<String>(), class in "[A-Za-z]{0,20}", body in "[\\[\\]{}\",:0-9a-z]{0,40}") {
        let _ = ServerFrame::parse(&text);
        for class in [&*class, "StructuredMessage", "SessionResponse", "PresignedUrlResponse"] {
            let framed = format!(r#"{{"type":"message","class":"{class}","code":200,"body":{body}}}"#);
            let _ = ServerFrame::parse(&framed);
        }
        let framed = format!(r#"{{"type":"message","class":"StructuredMessage","code":200,"body":{{"type":"Text","direction":"Inbound","content":[{body}]}}}}"#);
        let _ = ServerFrame::parse(&framed);
    }
}

/// Whether all of `part` is in `whole`.
fn is_part(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => part
            .iter()
            .all(|(name, value)| whole.get(name).is_some_and(|whole| is_part(value, whole))),
        (Value::Array(part), Value::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(part, whole)| is_part(part, whole))
        }
        _ => part == whole,
    }
}

#[test]
fn content_is_serialized_as_it_was_received() {
    let mut classes = BTreeSet::new();
    for golden in folder("server") {
        let value = golden.value();
        let Some(items) = value["body"]["content"].as_array() else {
            continue;
        };
        if golden.name() == "quick-replies-v2" || golden.name() == "attachment-content-size" {
            continue;
        }
        let content = read(&golden.text(), |message| message.content.clone());
        assert_eq!(content.len(), items.len());
        for (content, item) in content.iter().zip(items) {
            classes.extend(content.class().map(str::to_owned));
            let written = serde_json::to_value(content).unwrap();
            assert!(is_part(&written, item), "{written:#}\n{item:#}");
            assert_eq!(written["contentType"], item["contentType"]);
            assert!(!content.fallback_text().trim().is_empty(), "{item}");
        }
    }
    for class in [
        "Attachment",
        "ButtonResponse",
        "Card",
        "Carousel",
        "DatePicker",
        "Form",
        "ListPicker",
        "QuickReply",
        "Text",
    ] {
        assert!(classes.contains(class), "{class}: {classes:?}");
    }
    let [v2, size] = ["quick-replies-v2", "attachment-content-size"].map(|name| {
        let content = message(name).content;
        serde_json::to_value(&content).unwrap()
    });
    assert_eq!(v2[0]["contentType"], "Text");
    assert_eq!(v2[1]["contentType"], "QuickReply");
    assert!(size[0]["attachment"]["fileSize"].is_u64());
}

#[test]
fn fallback_text_is_never_empty() {
    for (item, expected) in [
        (r#"{"contentType":"Card","card":{"title":"A table"}}"#, "A table"),
        (r#"{"contentType":"Card","card":{"title":" "}}"#, "[Card]"),
        (r#"{"contentType":"DatePicker","datePicker":{}}"#, "[DatePicker]"),
        (
            r#"{"contentType":"Form","form":{"cannedResponseId":"c","introduction":{"title":"Address"}}}"#,
            "Address",
        ),
        (
            r#"{"contentType":"Form","form":{"cannedResponseId":"c"}}"#,
            "[Form]",
        ),
        (
            r#"{"contentType":"ListPicker","listPicker":{"receivedMessage":{"title":"What?"},"sections":[{"title":"Drinks"}]}}"#,
            "What?\nDrinks",
        ),
        (
            r#"{"contentType":"Attachment","attachment":{"id":"a","filename":"a.pdf","text":"Prices"}}"#,
            "Prices",
        ),
        (r#"{"contentType":"Story"}"#, "[Story]"),
        ("7", "[unknown]"),
        (
            r#"{"contentType":"QuickReplyV2","quickReplyV2":{"title":"Tea?","actions":[{"text":"Yes","payload":"Y"}]}}"#,
            "Tea?\nYes",
        ),
    ] {
        let frame = format!(
            r#"{{"type":"message","class":"StructuredMessage","code":200,"body":{{"type":"Structured","direction":"Outbound","content":[{item}]}}}}"#
        );
        let text = read(&frame, |message| {
            let message = message.to_message(time::OffsetDateTime::UNIX_EPOCH).unwrap();
            message.fallback_text().to_string()
        });
        assert_eq!(text, expected);
    }
    let bare = r#"{"type":"message","class":"StructuredMessage","code":200,"body":{"type":"Text","direction":"Outbound"}}"#;
    read(bare, |message| {
        let message = message.to_message(time::OffsetDateTime::UNIX_EPOCH).unwrap();
        assert_eq!(&*message.fallback_text(), "[empty]");
    });
}

fn message(name: &str) -> Message {
    read(&text(&format!("server/{name}.json")), |message| {
        message.to_message(time::OffsetDateTime::UNIX_EPOCH).unwrap()
    })
}

fn read<T>(text: &str, look: impl FnOnce(&StructuredMessage<'_>) -> T) -> T {
    let Body::Structured(message) = ServerFrame::parse(text).unwrap().body else {
        panic!("{text}")
    };
    look(&message)
}
