//! Files of the guest.

use guest_conversation::attachments::{AttachmentEvent, AttachmentId, Failure};
use guest_conversation::{ConnectionEvent, SessionEvent};

use super::*;

fn file_id() -> AttachmentId {
    "f1".parse().unwrap()
}

fn attachment(notice: AttachmentEvent) -> Event {
    Event::Session(SessionEvent::Attachment(Box::new(notice)))
}

fn failed() -> Event {
    attachment(AttachmentEvent::Failed(
        file_id(),
        Failure::Refused {
            code: web_messaging::ErrorCode::FileContentInvalid,
            message: String::new(),
        },
    ))
}

/// A chat that uploads a file.
fn uploading(input_mode: InputMode) -> Fixture {
    let mut guest = Fixture::connected(input_mode);
    guest.line("/attach pictures/cat.png");
    assert_eq!(guest.requests(), [Request::Attach("pictures/cat.png".into())]);
    guest.chat.handle_attached(file_id(), "cat.png", 2_048);
    assert_eq!(guest.lines(), ["* uploading cat.png, 2.0 KiB"]);
    guest
}

#[test]
fn file_is_sent_after_its_upload() {
    let mut guest = uploading(SCRIPT);
    assert!(!guest.chat.wants_input());
    guest.event(attachment(AttachmentEvent::Uploaded(file_id(), None)));
    assert_eq!(guest.lines(), ["* uploaded cat.png"]);
    let message = OutgoingMessage::Text {
        text: "".into(),
        attachments: vec!["f1".into()],
    };
    assert_eq!(guest.requests(), [Request::Send(message.clone())]);
    guest.chat.handle_queued(message_id(1), &message, guest.now);
    assert!(guest.chat.wants_input());
    guest.event(accepted(1));
    assert_eq!(guest.lines(), ["✓ cat.png"]);
    guest.chat.handle_end_of_input(guest.now);
    guest.advance(2.0);
    assert_eq!(guest.chat.failure(), None);
}

#[test]
fn person_can_write_during_an_upload() {
    let mut guest = Fixture::new(InputMode::Interactive);
    guest.line("/attach cat.png");
    assert!(guest.chat.wants_input(), "it is not connected");
    guest.event(Event::Connection(ConnectionEvent::Ready(session())));
    assert_eq!(guest.requests(), [Request::Attach("cat.png".into())]);
    assert!(guest.chat.wants_input(), "the file is read");
    guest.chat.handle_attached(file_id(), "cat.png", 2_048);
    assert!(guest.chat.wants_input(), "the file is on its way");
    guest.event(Event::Ended(Ending::SessionExpired));
    guest.line("/new");
    assert!(guest.chat.wants_input(), "another is not connected");
    guest.line("/quit");
    assert!(!guest.chat.wants_input());
}

#[test]
fn script_waits_while_a_file_is_read() {
    let mut guest = Fixture::connected(SCRIPT);
    guest.line("/attach cat.png");
    assert!(!guest.chat.wants_input());
    guest
        .chat
        .handle_failure(&Request::Attach("cat.png".into()), &"cannot read it");
    assert!(guest.chat.wants_input());
}

#[test]
fn failed_file_counts_as_undelivered() {
    let mut guest = uploading(SCRIPT);
    guest.event(failed());
    assert_eq!(
        guest.lines(),
        ["✗ cat.png (not delivered: the service does not take what is in the file: attach another one)"]
    );
    assert!(guest.chat.wants_input());
    guest.event(failed());
    assert!(guest.lines().is_empty(), "it is known");
    let refused = Request::Attach("x".into());
    guest.chat.handle_failure(&refused, &"cannot read x");
    assert_eq!(guest.lines(), ["! /attach failed: cannot read x"]);
    guest.chat.handle_end_of_input(guest.now);
    assert_eq!(
        guest.chat.failure().as_deref(),
        Some("2 messages were not delivered")
    );
}

#[test]
fn file_waits_for_the_connection_and_fails_at_the_end() {
    let mut guest = Fixture::new(SCRIPT);
    let attach = Request::Attach("cat.png".into());
    guest.chat.handle_request(attach.clone(), guest.now);
    assert!(guest.requests().is_empty());
    guest.event(Event::Connection(ConnectionEvent::Ready(session())));
    assert_eq!(guest.requests(), [attach]);

    let mut over = uploading(InputMode::Interactive);
    over.event(Event::Ended(Ending::SessionExpired));
    assert!(
        over.lines()
            .contains(&"✗ cat.png (not delivered: the conversation ended before it was sent)".to_owned())
    );
}
