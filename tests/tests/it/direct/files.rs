//! Files of a guest of the suite.

use bytes::Bytes;
use genesys_sim::Simulator;
use guest_suite::conversation::attachments::{AttachmentEvent, File};
use guest_suite::conversation::{OutgoingMessage, SessionEvent};

use super::*;

async fn attachment_event(session: &mut GuestSession) -> AttachmentEvent {
    loop {
        match next(session).await {
            Event::Session(SessionEvent::Attachment(attachment_event)) => return *attachment_event,
            Event::Ended(ending) => panic!("the conversation ended: {ending}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn guest_sends_a_file() {
    let simulator = Simulator::start(genesys_sim::Config::plain()).await.unwrap();
    let deployment = simulator.deployment_id().as_str();
    let config = config(simulator.clock(), Hosts::single(simulator.host()), deployment);
    let suite = GuestSessions::direct(config, "shop").await.unwrap();
    let mut session = suite.create(newcomer(simulator.clock())).await.unwrap();
    soon(session.connect(page_origin())).await.unwrap();
    let handle = session.handle().unwrap();
    let id = handle
        .attach(File::new("cat.png", Bytes::from_static(b"png")))
        .unwrap();
    let uploaded = attachment_event(&mut session).await;
    assert!(
        matches!(&uploaded, AttachmentEvent::Uploaded(known, _) if *known == id),
        "{uploaded:?}"
    );
    let sent = OutgoingMessage::Text {
        text: "look".into(),
        attachments: vec![id.to_string().into()],
    };
    handle.send_message(&sent).unwrap();
    let sent = attachment_event(&mut session).await;
    assert!(matches!(sent, AttachmentEvent::Sent(..)), "{sent:?}");
    session.end().await.unwrap();
    assert!(simulator.violations().is_empty(), "{:?}", simulator.violations());
    simulator.stop().await;
}
