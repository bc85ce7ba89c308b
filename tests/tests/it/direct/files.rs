//! Files of a guest of the suite, in both modes.

use bytes::Bytes;
use genesys_sim::Simulator;
use guest_suite::conversation::attachments::{AttachError, AttachmentEvent, AttachmentId, Failure, File};
use guest_suite::conversation::{OutgoingMessage, SessionEvent};

use super::*;
use crate::world::World;

async fn attachment_event(session: &mut GuestSession) -> AttachmentEvent {
    loop {
        match next(session).await {
            Event::Session(SessionEvent::Attachment(attachment_event)) => return *attachment_event,
            Event::Ended(ending) => panic!("the conversation ended: {ending}"),
            _ => {}
        }
    }
}

async fn upload(session: &mut GuestSession, name: &str) -> AttachmentId {
    let id = session
        .attach(File::new(name, Bytes::from_static(b"png")))
        .unwrap();
    let uploaded = attachment_event(session).await;
    assert!(
        matches!(&uploaded, AttachmentEvent::Uploaded(known, _) if *known == id),
        "{uploaded:?}"
    );
    id
}

/// Uploads files, sends one and deletes another.
async fn send_files(session: &mut GuestSession, clock: &Clock) {
    soon(session.connect(page_origin())).await.unwrap();
    let blocked = session.attach(File::new("old.ade", Bytes::from_static(b"x")));
    assert!(
        matches!(blocked, Err(Error::Attach(AttachError::Blocked { .. }))),
        "{blocked:?}"
    );
    let id = upload(session, "größe.png").await;
    let sent = OutgoingMessage::Text {
        text: "look".into(),
        attachments: vec![id.to_string().into()],
    };
    let message = session.send_message(&sent).unwrap();
    let event = attachment_event(session).await;
    assert!(
        matches!(&event, AttachmentEvent::Sent(file, sent) if *file == id && *sent == message),
        "{event:?}"
    );
    session.refresh_attachment(&id).unwrap();
    let AttachmentEvent::Link(file, link) = attachment_event(session).await else {
        panic!("there is no link");
    };
    assert_eq!(file, id);
    assert!(link.url(clock.now().instant).is_some());
    let other = upload(session, "cat.png").await;
    session.delete_attachment(&other).unwrap();
    let deleted = attachment_event(session).await;
    assert!(
        matches!(&deleted, AttachmentEvent::Deleted(file) if *file == other),
        "{deleted:?}"
    );
    session.refresh_attachment(&other).unwrap();
    let AttachmentEvent::NoLink(_, failure) = attachment_event(session).await else {
        panic!("what was deleted has a link");
    };
    let is_unknown = match &failure {
        Failure::Refused { code, .. } => code.number() == 4009,
        Failure::RefusedByGateway { code, .. } => &**code == "attachment.unknown",
        _ => false,
    };
    assert!(is_unknown, "{failure}");
}

#[tokio::test]
async fn guest_sends_files() {
    let simulator = Simulator::start(genesys_sim::Config::plain()).await.unwrap();
    let deployment = simulator.deployment_id().as_str();
    let config = config(simulator.clock(), Hosts::single(simulator.host()), deployment);
    let suite = GuestSessions::direct(config, "shop").await.unwrap();
    let mut session = suite.create(newcomer(simulator.clock())).await.unwrap();
    send_files(&mut session, simulator.clock()).await;
    session.end().await.unwrap();
    assert!(simulator.violations().is_empty(), "{:?}", simulator.violations());
    simulator.stop().await;
}

#[tokio::test]
async fn guest_of_a_gateway_sends_files() {
    let world = World::start().await;
    let mut session = world.suite().create(newcomer(&world.clock)).await.unwrap();
    send_files(&mut session, &world.clock).await;
    session.end().await.unwrap();
    world.stop().await;
}
