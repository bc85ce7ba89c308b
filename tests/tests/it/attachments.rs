//! Files of a guest: from the disk to the simulator's storage, and to other readers.

use bytes::Bytes;
use genesys_http::{Client, Tls};
use genesys_sim::{Rules, Simulator};
use guest_conversation::attachments::{
    AttachError, AttachmentEvent, AttachmentId, Failure, File, Link, Stage,
};
use guest_conversation::client::{ConnectLimiter, Connection, Settings};
use guest_conversation::{
    ConnectionEvent, Content, Conversation, Event, GuestMachine as _, OutgoingMessage, SessionEvent,
    WebMessaging,
};
use http::Request;
use secrecy::{ExposeSecret, SecretString};
use web_messaging::ErrorCode;
use ws_transport::OriginPolicy;

use crate::page::soon;
use crate::world::{ORIGIN, simulator};

struct Fixture {
    simulator: Simulator,
    http: Client,
}

impl Fixture {
    async fn start(rules: Rules) -> Self {
        let simulator = simulator(rules).await;
        let clock = simulator.clock().clone();
        Self {
            simulator,
            http: Client::builder(Tls::system().unwrap()).clock(clock).build(),
        }
    }

    async fn guest(&self) -> Connection {
        let token = "7d1f0c3e-8f0e-4e0c-9a37-3f1f2f6b1c11".into();
        let contract = WebMessaging::new(self.simulator.deployment_id().clone(), token);
        let mut guest = Connection::open(
            Conversation::new(contract),
            Settings {
                http: self.http.clone(),
                url: self.simulator.websocket_url().parse().unwrap(),
                origin: OriginPolicy::new([ORIGIN]).unwrap().admit([ORIGIN]).unwrap(),
                limiter: ConnectLimiter::default(),
            },
        );
        let first = soon(guest.next_event()).await;
        assert!(
            matches!(first, Some(Event::Connection(ConnectionEvent::Ready(_)))),
            "{first:?}"
        );
        guest
    }

    async fn fetch(&self, link: &Link) -> (u16, Bytes) {
        let url = link.url(self.http.clock().now().instant).unwrap();
        self.fetch_url(url).await
    }

    async fn fetch_url(&self, url: &SecretString) -> (u16, Bytes) {
        let request = Request::get(url.expose_secret()).body(Bytes::new()).unwrap();
        let response = soon(self.http.send(request)).await.unwrap();
        (response.status().as_u16(), response.into_body())
    }

    async fn stop(self) {
        assert!(
            self.simulator.violations().is_empty(),
            "{:?}",
            self.simulator.violations()
        );
        self.simulator.stop().await;
    }
}

/// The next attachment event; other events are skipped.
async fn attachment_event(guest: &mut Connection) -> AttachmentEvent {
    loop {
        match soon(guest.next_event()).await {
            Some(Event::Session(SessionEvent::Attachment(attachment_event))) => return *attachment_event,
            Some(_) => {}
            None => panic!(
                "the conversation is over: {}",
                guest.with(|guest, _| guest.engine().timeline.explain())
            ),
        }
    }
}

fn with(text: &'static str, id: &AttachmentId) -> OutgoingMessage {
    OutgoingMessage::Text {
        text: text.into(),
        attachments: vec![id.to_string().into()],
    }
}

#[tokio::test]
async fn file_is_uploaded_sent_and_downloaded_by_a_fresh_link() {
    let fixture = Fixture::start(Rules::default()).await;
    let mut guest = fixture.guest().await;
    let mut elsewhere = fixture.guest().await;
    let handle = guest.handle();
    let body = Bytes::from(vec![7; 300_000]);
    let id = handle.attach(File::new("cat.png", body.clone())).unwrap();
    let AttachmentEvent::Uploaded(_, Some(link)) = attachment_event(&mut guest).await else {
        panic!("it was not uploaded");
    };
    assert_eq!(fixture.fetch(&link).await, (200, body.clone()));
    handle.send_message(&with("look", &id)).unwrap();
    let sent = attachment_event(&mut guest).await;
    assert!(matches!(sent, AttachmentEvent::Sent(..)), "{sent:?}");
    assert_eq!(handle.with(|guest, _| guest.attachment(&id)), None);
    let seen = loop {
        if let Some(Event::Session(SessionEvent::OwnMessage(message))) = soon(elsewhere.next_event()).await {
            break message;
        }
    };
    assert_eq!(seen.text, "look");
    let Some(Content::Attachment(attachment)) = seen.content.first() else {
        panic!("{seen:?}");
    };
    assert_eq!(&*attachment.id, id.as_str());
    assert_eq!(attachment.name.as_deref(), Some("cat.png"));

    // a link is valid for ten minutes; another reader gets a new one by the attachment's id
    fixture.http.clock().advance(std::time::Duration::from_secs(601));
    let expired = fixture.fetch_url(attachment.url.as_ref().unwrap()).await;
    assert_eq!(expired.0, 403);
    let elsewhere_handle = elsewhere.handle();
    elsewhere_handle
        .request(guest_conversation::Request::RefreshAttachment { id: id.clone() })
        .unwrap();
    let AttachmentEvent::Link(_, link) = attachment_event(&mut elsewhere).await else {
        panic!("there is no link");
    };
    assert_eq!(fixture.fetch(&link).await, (200, body));
    let timeline = handle.with(|guest, _| guest.engine().timeline.to_string());
    assert!(timeline.contains("a file was uploaded"), "{timeline}");
    drop((guest, elsewhere));
    fixture.stop().await;
}

#[tokio::test]
async fn file_is_refused_before_upload_or_deleted_before_it_is_sent() {
    let fixture = Fixture::start(Rules::default()).await;
    let mut guest = fixture.guest().await;
    let handle = guest.handle();
    let blocked = handle.attach(File::new("old.ade", Bytes::from_static(b"x")));
    assert!(matches!(blocked, Err(AttachError::Blocked { .. })));
    let large = handle.attach(File::new("large.png", Bytes::from(vec![0; 10_240 * 1024 + 1])));
    assert!(matches!(large, Err(AttachError::TooLarge { .. })));
    let id = handle
        .attach(File::new("cat.png", Bytes::from_static(b"png")))
        .unwrap();
    let uploaded = attachment_event(&mut guest).await;
    assert!(matches!(uploaded, AttachmentEvent::Uploaded(..)), "{uploaded:?}");
    assert_eq!(
        handle.with(|guest, _| guest.attachment(&id)),
        Some(Stage::Uploaded)
    );
    handle.with(|guest, _| guest.delete_attachment(&id)).unwrap();
    let deleted = attachment_event(&mut guest).await;
    assert!(matches!(deleted, AttachmentEvent::Deleted(_)), "{deleted:?}");
    assert!(handle.send_message(&with("too late", &id)).is_err());
    handle
        .request(guest_conversation::Request::RefreshAttachment { id })
        .unwrap();
    let AttachmentEvent::NoLink(_, reason) = attachment_event(&mut guest).await else {
        panic!("what was deleted has a link");
    };
    assert!(
        matches!(
            reason,
            Failure::Refused {
                code: ErrorCode::AttachmentNotFound,
                ..
            }
        ),
        "{reason}"
    );
    drop(guest);
    fixture.stop().await;
}

#[tokio::test]
async fn failed_upload_is_reported_and_the_next_one_succeeds() {
    let rules = Rules {
        faults: vec!["upload-failure".parse().unwrap()],
        ..Rules::default()
    };
    let fixture = Fixture::start(rules).await;
    let mut guest = fixture.guest().await;
    let handle = guest.handle();
    let cat = || File::new("cat.png", Bytes::from_static(b"png"));
    let id = handle.attach(cat()).unwrap();
    let failed = attachment_event(&mut guest).await;
    assert!(
        matches!(&failed, AttachmentEvent::Failed(known, _) if *known == id),
        "{failed:?}"
    );
    handle.attach(cat()).unwrap();
    let uploaded = attachment_event(&mut guest).await;
    assert!(matches!(uploaded, AttachmentEvent::Uploaded(..)), "{uploaded:?}");
    drop(guest);
    fixture.stop().await;
}
