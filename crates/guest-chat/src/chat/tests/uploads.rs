//! Files of the guest.

use guest_conversation::attachments::{AttachmentId, Failure, Notice};

use super::*;

fn file_id() -> AttachmentId {
    "f1".parse().unwrap()
}

fn told(notice: Notice) -> Event {
    Event::Attachment(Box::new(notice))
}

fn failed() -> Event {
    told(Notice::Failed {
        id: file_id(),
        why: Failure::Content,
    })
}

/// A chat that uploads a file.
fn uploading(writer: Writer) -> Fixture {
    let mut guest = Fixture::connected(writer);
    guest.line("/attach pictures/cat.png");
    assert_eq!(guest.requests(), [Request::Attach("pictures/cat.png".into())]);
    guest.chat.handle_attached(file_id(), "cat.png", 2_048);
    assert_eq!(guest.lines(), ["* uploading cat.png, 2.0 KiB"]);
    guest
}

#[test]
fn a_file_is_sent_once_it_is_uploaded() {
    let mut guest = uploading(SCRIPT);
    assert!(!guest.chat.wants_input());
    guest.event(told(Notice::Uploaded {
        id: file_id(),
        link: None,
    }));
    assert_eq!(guest.lines(), ["* uploaded cat.png"]);
    let said = Said::Text {
        text: "".into(),
        attachments: vec!["f1".into()],
    };
    assert_eq!(guest.requests(), [Request::Say(said.clone())]);
    guest.chat.handle_taken(message_id(1), &said, guest.now);
    assert!(guest.chat.wants_input());
    guest.event(accepted(1));
    assert_eq!(guest.lines(), ["✓ cat.png"]);
    guest.chat.handle_end_of_input(guest.now);
    guest.pass(2.0);
    assert_eq!(guest.chat.failure(), None);
}

#[test]
fn a_person_writes_on_while_a_file_waits_or_is_uploaded() {
    let mut guest = Fixture::new(Writer::Person);
    guest.line("/attach cat.png");
    assert!(guest.chat.wants_input(), "it is not connected");
    guest.event(Event::Configured(session()));
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
fn a_script_waits_while_a_file_is_read() {
    let mut guest = Fixture::connected(SCRIPT);
    guest.line("/attach cat.png");
    assert!(!guest.chat.wants_input());
    guest
        .chat
        .handle_failure(&Request::Attach("cat.png".into()), &"cannot read it");
    assert!(guest.chat.wants_input());
}

#[test]
fn a_file_that_failed_says_why_and_counts_as_undelivered() {
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
fn a_file_waits_for_the_conversation_to_begin_and_does_not_outlive_it() {
    let mut guest = Fixture::new(SCRIPT);
    let attach = Request::Attach("cat.png".into());
    guest.chat.handle_request(attach.clone(), guest.now);
    assert!(guest.requests().is_empty());
    guest.event(Event::Configured(session()));
    assert_eq!(guest.requests(), [attach]);

    let mut over = uploading(Writer::Person);
    over.event(Event::Ended(Ending::SessionExpired));
    assert!(
        over.lines()
            .contains(&"✗ cat.png (not delivered: the conversation ended before it was sent)".to_owned())
    );
}
