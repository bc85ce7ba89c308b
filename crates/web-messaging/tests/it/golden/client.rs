//! Frames of a guest.

use std::collections::{BTreeMap, BTreeSet};

use genesys_api::DeploymentId;
use genesys_api::wire::{OwnedText, SecretText, Text};
use secrecy::SecretString;
use serde_json::Value;
use web_messaging::message::{Answer, ButtonKind, Choice, Content, Message, OutgoingMessage};
use web_messaging::{
    ActionMap, ClientAction, ClientFrame, CustomAttributes, GuestMessage, JourneyAction, JourneyContext,
    JourneySession, ServerFrame,
};

use super::{folder, text};

const TOKEN: &str = "7d1f0c9e-3b5a-4c6d-8e2f-1a2b3c4d5e6f";
const TRACING_ID: &str = "5b0e4c1d-7a8b-4c9d-8e0f-112233445566";
const MESSAGE_ID: &str = "c0ffee00-4d5e-4f60-8718-293a4b5c6d7e";
const ATTACHMENT: &str = "88888888-4c3b-4a29-9180-7f6e5d4c3b2a";
const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtYWRlLXVwIn0.bWFkZS11cC1zaWduYXR1cmU";

#[test]
fn client_frame_is_golden_and_golden_frame_is_ours_or_foreign() {
    let mut ours = client_frames();
    let mut actions = BTreeSet::new();
    let mut foreign = Vec::new();
    for golden in folder("client") {
        let value = golden.value();
        if golden.foreign {
            foreign.push(value);
            continue;
        }
        let (json, debug) = ours
            .remove(golden.name())
            .unwrap_or_else(|| panic!("nothing writes {}", golden.file));
        assert_eq!(
            serde_json::from_str::<Value>(&json).unwrap(),
            value,
            "{}",
            golden.file
        );
        assert!(json.starts_with(r#"{"action":""#), "{json}");
        for secret in [TOKEN, JWT, "made-up-resume-token", "Hello", "Red"] {
            assert!(!debug.contains(secret), "{debug}");
        }
        actions.insert(value["action"].as_str().unwrap().to_owned());
    }
    assert!(ours.is_empty(), "without a file: {:?}", ours.keys());
    assert_eq!(actions.len(), 12, "{actions:?}");
    for value in foreign {
        assert!(actions.contains(value["action"].as_str().unwrap()), "{value}");
        assert_eq!(value["token"], TOKEN);
    }
}

#[test]
fn answer_repeats_texts_and_payloads_of_the_offer() {
    let offer = |name: &str| -> Message {
        let text = text(&format!("server/{name}.json"));
        let web_messaging::Body::Structured(message) = ServerFrame::parse(&text).unwrap().body else {
            panic!("{text}")
        };
        message.to_message(time::OffsetDateTime::UNIX_EPOCH).unwrap()
    };
    let picker = offer("list-picker");
    let Content::ListPicker(list) = &picker.content[0] else {
        panic!("{picker:?}")
    };
    let message = OutgoingMessage::Choices {
        kind: ButtonKind::ListPicker,
        question: Some(picker.id.clone().into()),
        choices: list.sections[0].items.iter().map(Choice::from).collect(),
    };
    assert_eq!(&*message.text(), "Espresso, Cappuccino");
    let json = serde_json::to_value(GuestMessage::message(&message, None)).unwrap();
    assert_eq!(json["content"][1]["buttonResponse"]["payload"], "cappuccino");
    assert_eq!(json["metadata"]["parentMessageId"], picker.id);
}

/// One of each kind that this client sends, by the name of its file, with its `Debug`.
#[derive(Default)]
struct ClientFrames(BTreeMap<&'static str, (String, String)>);

impl ClientFrames {
    fn put(&mut self, name: &'static str, token: &SecretString, tracing_id: &str, action: ClientAction<'_>) {
        let frame = ClientFrame {
            action,
            token: token.into(),
            tracing_id: tracing_id.into(),
        };
        let json: Value = serde_json::from_str(&frame.to_json()).unwrap();
        assert_eq!(json["action"], frame.action.name());
        let before = self.0.insert(name, (frame.to_json(), format!("{frame:?}")));
        assert!(before.is_none(), "{name} is written twice");
    }
}

fn client_frames() -> BTreeMap<&'static str, (String, String)> {
    let mut frames = ClientFrames::default();
    let secret = SecretString::from(TOKEN);
    let deployment = "b3c2a0de-1f2e-4d3c-9b4a-5f6e7d8c9b0a".parse().unwrap();
    configure(&mut frames, &secret, &deployment);
    send_messages(&mut frames, &secret);
    send_attachment_requests(&mut frames, &secret);
    for (name, action) in [
        (
            "close-session",
            ClientAction::CloseSession {
                close_all_connections: true,
            },
        ),
        ("disconnect-customer", ClientAction::DisconnectCustomer),
        (
            "get-configuration",
            ClientAction::GetConfiguration {
                deployment_id: &deployment,
            },
        ),
        ("get-jwt", ClientAction::GetJwt),
        ("resume-token", ClientAction::ResumeToken),
    ] {
        frames.put(name, &secret, TRACING_ID, action);
    }
    let message = GuestMessage::text("ping", None);
    let health_check = "SGVhbHRoQ2hlY2tNZXNzYWdlSWQ=";
    frames.put("echo", &secret, health_check, ClientAction::Echo { message });
    frames.0
}

fn configure(frames: &mut ClientFrames, token: &SecretString, deployment_id: &DeploymentId) {
    let new_visitor = JourneyContext {
        cookie: "0f1e2d3c-4b5a-4968-8776-655443322110".into(),
        session: None,
        action: None,
    };
    let visitor = JourneyContext {
        session: Some(JourneySession::App {
            id: "aabbccdd-1122-4334-8556-778899aabbcc".into(),
        }),
        action: Some(JourneyAction {
            id: "11223344-5566-4778-899a-bbccddeeff00".into(),
            action_map: ActionMap {
                id: "22334455-6677-4889-9aab-ccddeeff0011".into(),
                version: 3,
            },
        }),
        ..new_visitor.clone()
    };
    let resume_token = SecretString::from("made-up-resume-token");
    for (name, start_new, journey_context, resume_token) in [
        ("configure-session", false, None, None),
        ("configure-session-journey", false, Some(&new_visitor), None),
        ("configure-session-journey-action", false, Some(&visitor), None),
        ("configure-session-start-new", true, None, None),
        ("configure-session-resume-token", false, None, Some(&resume_token)),
    ] {
        let frame = ClientAction::ConfigureSession {
            deployment_id,
            start_new,
            journey_context,
            resume_token: resume_token.map(SecretText::from),
        };
        frames.put(name, token, TRACING_ID, frame);
    }
    let jwt = SecretString::from(JWT);
    for (name, resume_token) in [
        ("configure-authenticated-session", None),
        (
            "configure-authenticated-session-resume-token",
            Some(&resume_token),
        ),
    ] {
        let frame = ClientAction::ConfigureAuthenticatedSession {
            deployment_id,
            start_new: false,
            jwt: (&jwt).into(),
            resume_token: resume_token.map(SecretText::from),
        };
        frames.put(name, token, TRACING_ID, frame);
    }
}

fn send_messages(frames: &mut ClientFrames, token: &SecretString) {
    let attributes =
        |key: &str, value: &str| CustomAttributes::new([(key.to_owned(), value.to_owned())].into()).unwrap();
    let (account, join) = (attributes("accountId", "42"), attributes("A", "B"));
    let message = message();
    let mut messages = vec![
        ("text", MESSAGE_ID, GuestMessage::text("Hello", None)),
        (
            "text-with-attributes",
            MESSAGE_ID,
            GuestMessage::text("Hello", Some(&account)),
        ),
        ("typing", TRACING_ID, GuestMessage::typing()),
        ("join", TRACING_ID, GuestMessage::join(None)),
        (
            "join-with-attributes",
            TRACING_ID,
            GuestMessage::join(Some(&join)),
        ),
        ("clear", TRACING_ID, GuestMessage::clear()),
    ];
    for (name, message) in &message {
        let attributes = (*name == "text-with-attachment").then_some(&account);
        messages.push((name, MESSAGE_ID, GuestMessage::message(message, attributes)));
    }
    for (name, id, message) in messages {
        let frame = ClientAction::OnMessage { message };
        frames.put(name, token, id, frame);
    }
}

fn send_attachment_requests(frames: &mut ClientFrames, token: &SecretString) {
    for (name, id, md5) in [
        ("on-attachment", Some(ATTACHMENT), None),
        ("on-attachment-md5", None, Some("1B2M2Y8AsgTpgAmY7PhCfg==")),
    ] {
        let frame = ClientAction::OnAttachment {
            attachment_id: id.map(Text::from),
            file_name: "foo.png".into(),
            file_type: "image/png".into(),
            file_size: 424_242,
            file_md5: md5.map(Text::from),
            errors_as_json: true,
        };
        frames.put(name, token, TRACING_ID, frame);
    }
    let get = ClientAction::GetAttachment {
        attachment_id: ATTACHMENT.into(),
    };
    frames.put("get-attachment", token, TRACING_ID, get);
    let delete = ClientAction::DeleteAttachment {
        attachment_id: ATTACHMENT.into(),
    };
    frames.put("delete-attachment", token, TRACING_ID, delete);
}

/// Messages of a guest, by the name of the file.
fn message() -> Vec<(&'static str, OutgoingMessage)> {
    let picker = || OwnedText::from("9c0d1e2f3a4b5c6d7e8f90a1b2c3d4e5");
    let choice = |text: &str, payload: &str| Choice {
        text: text.into(),
        payload: payload.into(),
    };
    let choices = |kind, question, choices| OutgoingMessage::Choices {
        kind,
        question,
        choices,
    };
    vec![
        (
            "text-with-attachment",
            OutgoingMessage::Text {
                text: "Hello".into(),
                attachments: vec![ATTACHMENT.into()],
            },
        ),
        (
            "attachments",
            OutgoingMessage::Text {
                text: OwnedText::default(),
                attachments: vec![ATTACHMENT.into(), "99999999-4c3b-4a29-9180-7f6e5d4c3b2a".into()],
            },
        ),
        (
            "quick-reply",
            choices(ButtonKind::QuickReply, None, vec![choice("Red", "RED")]),
        ),
        (
            "quick-reply-to",
            choices(
                ButtonKind::QuickReply,
                Some("5befde6373a23f32f20b59b4e1cba0e6".into()),
                vec![choice("Red", "RED")],
            ),
        ),
        (
            "card-button",
            choices(ButtonKind::Button, None, vec![choice("Book Now", "I want it")]),
        ),
        (
            "date",
            choices(
                ButtonKind::DatePicker,
                Some(picker()),
                vec![choice("26 Jun 17:30", "2025-06-26T17:30:00.000Z")],
            ),
        ),
        (
            "list-items",
            choices(
                ButtonKind::ListPicker,
                Some(picker()),
                vec![choice("Espresso", "espresso"), choice("Cappuccino", "cappuccino")],
            ),
        ),
        (
            "form",
            OutgoingMessage::Form {
                question: picker(),
                form: "6a7b8c9d-0e1f-4203-9415-263748596a7b".into(),
                text: "Form submitted".into(),
                answers: vec![Answer {
                    field: "colour".into(),
                    choice: choice("Blue", "Blue"),
                }],
            },
        ),
    ]
}
