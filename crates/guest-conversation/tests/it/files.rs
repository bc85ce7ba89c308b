//! Attachments of a conversation.

use std::time::Duration;

use genesys_api::Call as _;
use guest_conversation::attachments::{
    AttachError, AttachmentEvent, AttachmentId, DeleteError, Failure, File, FileUpload, Stage, UploadOutcome,
};
use guest_conversation::{
    ButtonKind, Choice, Command, DeliveryStatus, DeploymentRules, Event, GuestMachine as _, Job, JobOutcome,
    Machine as _, OutgoingMessage, Request, SendError, SessionEvent, State, WebMessaging,
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use uuid::Uuid;
use web_messaging::ErrorCode;

use crate::virtual_peer::{
    VirtualPeer, echo, id, refused, session_response, too_many, web_messaging, with_history,
};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn session_with_files(new_session: bool) -> Value {
    let mut session = session_response(new_session);
    session["body"]["allowedMedia"] =
        json!({"inbound": {"fileTypes": [{"type": "image/*"}], "maxFileSizeKB": 1}});
    session["body"]["blockedExtensions"] = json!([".gif"]);
    session
}

pub(crate) fn granted(id: &Value, url: &str) -> Value {
    json!({"type": "response", "class": "PresignedUrlResponse", "code": 200, "tracingId": id,
        "body": {"attachmentId": id, "url": url, "headers": {"x-amz-tagging": "a=b"},
            "fileName": "cat.png", "fileSize": 3, "fileType": "image/png"}})
}

pub(crate) fn uploaded(id: &Value) -> Value {
    json!({"type": "message", "class": "UploadSuccessEvent", "code": 200,
        "body": {"attachmentId": id, "downloadUrl": "https://bucket.example/d?sig=canary",
            "timestamp": "2026-11-22T12:00:02.000Z"}})
}

fn name(n: u128) -> AttachmentId {
    Uuid::from_u128(0xf11e_0000_0000_4000_8000_0000_0000_0000 + n).into()
}

fn cat() -> File {
    File::new("cat.png", "png".into())
}

fn with(n: u128) -> OutgoingMessage {
    OutgoingMessage::Text {
        text: "".into(),
        attachments: vec![name(n).as_str().to_owned().into()],
    }
}

fn peer() -> VirtualPeer {
    let mut peer = VirtualPeer::new(with_history());
    peer.connect();
    peer.frames();
    peer.receive(&session_with_files(true));
    peer.events();
    peer
}

fn next_upload(peer: &mut VirtualPeer) -> Box<FileUpload> {
    match peer.conversation.poll_command() {
        Some(Command::Run(_, Job::Upload(put))) => put,
        other => panic!("{other:?}"),
    }
}

fn upload(peer: &mut VirtualPeer, n: u128) {
    peer.conversation.attach(name(n), cat()).unwrap();
    assert_eq!(peer.frames()[0]["action"], "onAttachment");
    peer.receive(&granted(&json!(name(n).as_str()), "https://bucket.example/k"));
    next_upload(peer);
    peer.conversation
        .handle_outcome(JobOutcome::Upload(name(n), UploadOutcome::Stored), peer.now);
    peer.receive(&uploaded(&json!(name(n).as_str())));
    assert_eq!(peer.conversation.attachment(&name(n)), Some(Stage::Uploaded));
    peer.events();
}

fn attachment_events(peer: &mut VirtualPeer) -> Vec<AttachmentEvent> {
    let events = peer.events();
    assert!(!format!("{events:?}").contains("canary"));
    let attachment_events = events.into_iter().filter_map(|event| match event {
        Event::Session(SessionEvent::Attachment(event)) => Some(*event),
        _ => None,
    });
    attachment_events.collect()
}

fn failure(peer: &mut VirtualPeer) -> Failure {
    match attachment_events(peer).pop() {
        Some(
            AttachmentEvent::Failed(_, reason)
            | AttachmentEvent::NoLink(_, reason)
            | AttachmentEvent::NotDeleted(_, reason),
        ) => reason,
        other => panic!("no failure: {other:?}"),
    }
}

fn refusal(peer: &mut VirtualPeer) -> ErrorCode {
    match failure(peer) {
        Failure::Refused { code, .. } => code,
        other => panic!("no refusal: {other:?}"),
    }
}

#[test]
fn file_is_uploaded_and_sent_with_a_message() {
    let mut peer = peer();
    peer.conversation.attach(name(1), cat()).unwrap();
    let asked = peer.frames();
    assert_eq!(asked.len(), 1);
    let text = name(1).to_string();
    for field in ["attachmentId", "tracingId"] {
        assert_eq!(asked[0][field], text);
    }
    assert_eq!(
        (
            &asked[0]["fileName"],
            &asked[0]["fileSize"],
            &asked[0]["errorsAsJson"]
        ),
        (&json!("cat.png"), &json!(3), &json!(true))
    );
    peer.receive(&granted(&json!(text), "https://bucket.example/k?sig=canary"));
    let upload = next_upload(&mut peer);
    let request = upload.upload.request(upload.upload.host());
    assert_eq!(request.headers()["x-amz-tagging"], "a=b");
    let early = peer.conversation.send(id(1), &with(1), peer.now);
    assert!(matches!(
        early,
        Err(SendError::NotUploaded {
            stage: Stage::Uploading,
            ..
        })
    ));
    peer.conversation
        .handle_outcome(JobOutcome::Upload(name(1), UploadOutcome::Stored), peer.now);
    peer.receive(&uploaded(&json!(text)));
    assert!(
        matches!(&attachment_events(&mut peer)[..], [AttachmentEvent::Uploaded(id, Some(link))]
            if *id == name(1) && link.url(peer.now.instant).unwrap().expose_secret().ends_with("canary"))
    );
    peer.conversation.send(id(1), &with(1), peer.now).unwrap();
    assert_eq!(
        peer.conversation.delete_attachment(&name(1)),
        Err(DeleteError::Sending)
    );
    let frames = peer.frames();
    assert_eq!(frames[0]["message"]["content"][0]["attachment"]["id"], text);
    peer.receive(&echo(1));
    assert!(
        matches!(&attachment_events(&mut peer)[..], [AttachmentEvent::Sent(_, message)] if *message == id(1))
    );
    assert_eq!(peer.conversation.attachment(&name(1)), None);
    let timeline = peer.conversation.engine().timeline.to_string();
    assert!(timeline.contains("a file was uploaded"), "{timeline}");
    assert!(!timeline.contains("cat") && !timeline.contains("canary"));
}

#[test]
fn attach_obeys_the_rules_of_session_and_deployment() {
    let mut peer = peer();
    let attach = |peer: &mut VirtualPeer, file| peer.conversation.attach(name(9), file);
    assert!(matches!(
        attach(&mut peer, File::new("cat.gif", "x".into())),
        Err(AttachError::Blocked { .. })
    ));
    assert!(matches!(
        attach(&mut peer, File::new("cat.pdf", "x".into())),
        Err(AttachError::MediaType { .. })
    ));
    assert!(matches!(
        attach(&mut peer, File::new("cat.png", vec![0; 1025].into())),
        Err(AttachError::TooLarge { .. })
    ));
    let mut without = VirtualPeer::web_messaging();
    assert_eq!(attach(&mut without, cat()), Err(AttachError::Off));
    let rules = DeploymentRules {
        attachments: false,
        ..DeploymentRules::default()
    };
    let mut forbidden = VirtualPeer::new(WebMessaging {
        rules,
        ..web_messaging()
    });
    assert_eq!(attach(&mut forbidden, cat()), Err(AttachError::NotReady));
    forbidden.connect();
    forbidden.receive(&session_with_files(true));
    assert_eq!(attach(&mut forbidden, cat()), Err(AttachError::Off));
}

#[test]
fn refusal_is_assigned_to_its_attachment() {
    let mut peer = peer();
    let tracing = |n: u128| name(n).to_string().parse().ok();
    peer.conversation.attach(name(1), cat()).unwrap();
    peer.frames();
    peer.receive(&refused(4000, tracing(1)));
    assert_eq!(refusal(&mut peer), ErrorCode::FeatureUnavailable);
    // too soon: requested again, at most three times
    peer.conversation.attach(name(2), cat()).unwrap();
    for _ in 0..3 {
        assert_eq!(peer.frames().len(), 1);
        peer.receive(&too_many(2, tracing(2)));
        assert!(attachment_events(&mut peer).is_empty());
        assert!(peer.frames().is_empty());
        peer.pass(2 * SECOND);
    }
    assert_eq!(peer.frames().len(), 1);
    peer.receive(&too_many(2, tracing(2)));
    assert_eq!(refusal(&mut peer), ErrorCode::TooManyRequests);
    peer.pass(2 * SECOND);
    // the name of an attachment of the other side need not be a UUID
    let other: AttachmentId = "attachment-of-theirs".parse().unwrap();
    peer.conversation
        .request(Request::RefreshAttachment { id: other.clone() }, peer.now)
        .unwrap();
    assert_eq!(peer.frames()[0]["action"], "getAttachment");
    let mut gone = refused(4009, None);
    gone["tracingId"] = other.as_str().into();
    peer.receive(&gone);
    assert_eq!(refusal(&mut peer), ErrorCode::AttachmentNotFound);
    // and a message is still a message
    peer.send(1, "x");
    peer.frames();
    peer.receive(&refused(4011, Some(id(1))));
    assert!(matches!(
        peer.conversation.engine().delivery(id(1)),
        Some(DeliveryStatus::Failed(_))
    ));
}

#[test]
fn lost_connection_fails_uploads_and_keeps_uploaded_files() {
    let mut peer = peer();
    upload(&mut peer, 1);
    peer.conversation.attach(name(2), cat()).unwrap();
    peer.frames();
    peer.receive(&granted(&json!(name(2).as_str()), "https://bucket.example/k"));
    peer.drop_socket();
    assert!(matches!(failure(&mut peer), Failure::ConnectionLost { .. }));
    assert_eq!(
        peer.conversation.poll_command(),
        None,
        "nobody waits for the upload"
    );
    peer.conversation.send(id(1), &with(1), peer.now).unwrap();
    peer.reconnect();
    peer.frames();
    peer.receive(&session_with_files(false));
    peer.pass(Duration::ZERO);
    let frames = peer.frames();
    let message = frames.iter().find(|frame| frame["action"] == "onMessage");
    assert!(message.is_some(), "{frames:?}");
    // in doubt, and so is what it carries, until the history shows it
    peer.drop_socket();
    assert_eq!(peer.conversation.attachment(&name(1)), Some(Stage::Sending));
    peer.reconnect();
    peer.frames();
    peer.receive(&session_with_files(true));
    assert_eq!(failure(&mut peer), Failure::SessionEnded);
}

#[test]
fn attachment_times_out_and_fails_with_the_conversation() {
    let mut peer = peer();
    peer.conversation.attach(name(1), cat()).unwrap();
    peer.frames();
    for _ in 0..2 {
        peer.pass(15 * SECOND);
        peer.conversation.handle_alive();
    }
    assert!(matches!(failure(&mut peer), Failure::TimedOut { .. }));
    upload(&mut peer, 2);
    peer.conversation.delete_attachment(&name(2)).unwrap();
    assert_eq!(peer.frames().last().unwrap()["action"], "deleteAttachment");
    peer.receive(
        &json!({"type": "response", "class": "AttachmentDeletedResponse", "code": 200,
        "body": {"attachmentId": name(2).as_str()}}),
    );
    assert!(matches!(
        attachment_events(&mut peer)[..],
        [AttachmentEvent::Deleted(_)]
    ));
    upload(&mut peer, 3);
    peer.receive(&refused(4006, None));
    let events = peer.events();
    assert!(
        matches!(
            &events[..],
            [Event::Session(SessionEvent::Attachment(_)), Event::Ended(_)]
        ),
        "{events:?}"
    );
    assert_eq!(peer.conversation.poll_timeout(), None);
    assert_eq!(peer.conversation.attach(name(4), cat()), Err(AttachError::Ended));
}

#[test]
fn link_is_refreshed_in_a_read_only_conversation() {
    let mut peer = VirtualPeer::web_messaging();
    peer.receive(&refused(409, None));
    peer.events();
    assert_eq!(peer.conversation.state(), State::ReadOnly);
    let id: AttachmentId = "7d1f0c9e-0000-4000-8000-000000000009".parse().unwrap();
    peer.conversation
        .request(Request::RefreshAttachment { id }, peer.now)
        .unwrap();
    assert_eq!(peer.frames()[0]["action"], "getAttachment");
}

#[test]
fn choice_is_sent_as_content() {
    let chosen = OutgoingMessage::Choices {
        kind: ButtonKind::QuickReply,
        question: None,
        choices: vec![Choice {
            text: "Yes".into(),
            payload: "yes".into(),
        }],
    };
    let mut peer = VirtualPeer::web_messaging();
    peer.conversation.send(id(1), &chosen, peer.now).unwrap();
    let frame = &peer.frames()[0];
    assert!(
        frame["message"]["content"][0].to_string().contains("\"yes\""),
        "{frame}"
    );
}
