//! The client's driver against a small Genesys Cloud on a loopback socket.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use genesys_api::Clock;
use guest_conversation::client::{ConnectLimiter, Connection, Settings};
use guest_conversation::{
    CloseMode, ConnectionEvent, Conversation, DeliveryStatus, Ending, Event, Loss, MessageId, RequestKind,
    SendError, SessionEvent, State, WebMessaging,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use web_messaging::CustomAttributes;
use ws_transport::OriginPolicy;

use crate::virtual_peer::{TOKEN, agent_message, is_waiting, session_response, web_messaging};

pub(crate) struct Site {
    listener: TcpListener,
    pub(crate) clock: Clock,
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            clock: Clock::system(),
        }
    }

    pub(crate) fn open(&self, config: WebMessaging) -> Connection {
        self.open_within(config, ConnectLimiter::default())
    }

    pub(crate) fn open_within(&self, config: WebMessaging, limiter: ConnectLimiter) -> Connection {
        let tls = genesys_http::Tls::system().unwrap();
        let address = self.listener.local_addr().unwrap();
        let settings = Settings {
            http: genesys_http::Client::builder(tls)
                .clock(self.clock.clone())
                .build(),
            url: format!("ws://{address}/v1").parse().unwrap(),
            origin: OriginPolicy::new(["https://shop.example"])
                .unwrap()
                .admit(["https://shop.example"])
                .unwrap(),
            limiter,
        };
        Connection::open(Conversation::new(config), settings)
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    pub(crate) async fn accept(&self) -> Guest {
        #[expect(
            clippy::result_large_err,
            reason = "the type is that of the library's callback"
        )]
        let check = |request: &Request, response: Response| {
            assert_eq!(request.uri(), "/v1?deploymentId=b3c2");
            assert_eq!(request.headers()["origin"], "https://shop.example");
            assert!(!request.headers().contains_key("sec-websocket-extensions"));
            Ok(response)
        };
        Guest(
            tokio_tungstenite::accept_hdr_async(self.tcp().await, check)
                .await
                .unwrap(),
        )
    }

    /// Accepts a guest and configures it.
    pub(crate) async fn configure(&self) -> Guest {
        let mut guest = self.accept().await;
        let opening = guest.receive().await;
        assert_eq!(
            (&opening["action"], &opening["token"]),
            (&json!("configureSession"), &json!(TOKEN))
        );
        guest.transmit(&session_response(true)).await;
        guest
    }
}

pub(crate) struct Guest(WebSocketStream<TcpStream>);

impl Guest {
    pub(crate) async fn receive(&mut self) -> Value {
        loop {
            match self.0.next().await.unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn transmit(&mut self, frame: &Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// Echoes the next message, as Genesys Cloud does, and returns its text.
    async fn echo(&mut self) -> String {
        let frame = self.receive().await;
        let text = frame["message"]["text"].as_str().unwrap().to_owned();
        self.transmit(
            &json!({"type": "message", "class": "StructuredMessage", "code": 200,
            "tracingId": frame["tracingId"], "body": {"type": "Text", "text": text, "direction": "Inbound",
                "id": frame["tracingId"], "channel": {"time": "2026-11-22T12:00:01.000Z"}}}),
        )
        .await;
        text
    }
}

/// The next event, without those of messages that wait.
pub(crate) async fn next(connection: &mut Connection) -> Option<Event> {
    loop {
        match connection.next_event().await {
            Some(event) if is_waiting(&event) => {}
            event => return event,
        }
    }
}

async fn accepted(connection: &mut Connection) -> MessageId {
    match next(connection).await {
        Some(Event::Delivery {
            id,
            status: DeliveryStatus::Delivered { .. },
        }) => id,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn configured(connection: &mut Connection) {
    assert!(matches!(
        next(connection).await,
        Some(Event::Connection(ConnectionEvent::Ready(_)))
    ));
}

#[tokio::test]
async fn connection_delivers_messages_both_ways() {
    let site = Site::new().await;
    let mut connection = site.open(web_messaging());
    let early = connection.send("before anything is open").unwrap();
    let mut guest = site.configure().await;
    configured(&mut connection).await;
    assert_eq!(guest.echo().await, "before anything is open");
    assert_eq!(accepted(&mut connection).await, early);
    let later = connection.handle().send("grün \"quoted\"").unwrap();
    assert_eq!(guest.echo().await, "grün \"quoted\"");
    assert_eq!(accepted(&mut connection).await, later);
    guest.transmit(&agent_message("a1", "hello")).await;
    assert!(
        matches!(connection.next_event().await, Some(Event::Message(message)) if message.text == "hello")
    );
    connection.typing();
    assert_eq!(
        guest.receive().await["message"]["events"][0]["eventType"],
        "Typing"
    );
    assert_eq!(connection.state(), State::Configured);
}

#[tokio::test]
async fn connection_is_restored_after_a_cut() {
    let site = Site::new().await;
    let mut connection = site.open(web_messaging());
    let mut guest = site.configure().await;
    configured(&mut connection).await;
    let unknown = connection.send("lost on the way").unwrap();
    guest.receive().await;
    drop(guest);
    assert!(matches!(
        connection.next_event().await,
        Some(Event::Connection(ConnectionEvent::Reconnecting {
            attempt: 1,
            cause: Loss::Closed(_),
            ..
        }))
    ));
    site.clock.advance(Duration::from_secs(1));
    let mut guest = site.configure().await;
    assert!(matches!(
        connection.next_event().await,
        Some(Event::Connection(ConnectionEvent::Restored(_)))
    ));
    assert!(
        matches!(connection.next_event().await, Some(Event::Delivery { id, status: DeliveryStatus::Unknown }) if id == unknown)
    );
    let next = connection.send("after").unwrap();
    guest.echo().await;
    assert_eq!(accepted(&mut connection).await, next);
}

#[tokio::test]
async fn origin_refused_with_403_ends_the_conversation() {
    let site = Site::new().await;
    let mut connection = site.open(web_messaging());
    let mut tcp = site.tcp().await;
    let mut head = [0; 4096];
    assert!(tcp.read(&mut head).await.unwrap() > 0);
    tcp.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        .await
        .unwrap();
    assert!(matches!(
        connection.next_event().await,
        Some(Event::Ended(Ending::Refused { status: 403 }))
    ));
    assert!(connection.next_event().await.is_none());
    assert_eq!(connection.state(), State::Failed);
    assert_eq!(connection.send("x"), Err(SendError::Ended));
}

#[tokio::test]
async fn refused_upgrade_is_repeated_after_retry_after() {
    let site = Site::new().await;
    let mut connection = site.open(web_messaging());
    let mut tcp = site.tcp().await;
    let mut head = [0; 4096];
    assert!(tcp.read(&mut head).await.unwrap() > 0);
    tcp.write_all(b"HTTP/1.1 503 Busy\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n")
        .await
        .unwrap();
    let Some(Event::Connection(ConnectionEvent::Reconnecting { after, .. })) = connection.next_event().await
    else {
        panic!()
    };
    assert!(after >= Duration::from_secs(120));
    site.clock.advance(after);
    site.configure().await;
    configured(&mut connection).await;
}

#[tokio::test]
async fn connection_survives_a_moved_clock() {
    let site = Site::new().await;
    let mut connection = site.open(web_messaging());
    let mut guest = site.configure().await;
    configured(&mut connection).await;
    for _ in 0..5 {
        site.clock.advance(Duration::from_secs(14 * 60));
        // the ping that it costs is answered while the message is read
        connection.send("still the same socket").unwrap();
        guest.echo().await;
        accepted(&mut connection).await;
    }
    assert_eq!(connection.state(), State::Configured);
}

#[tokio::test]
async fn connection_to_a_silent_service_is_dropped() {
    let site = Site::new().await;
    let mut connection = site.open(web_messaging());
    let guest = site.configure().await;
    configured(&mut connection).await;
    // nobody reads `guest`, so no ping is answered
    let clock_task = tokio::spawn({
        let clock = site.clock.clone();
        async move {
            loop {
                clock.advance(Duration::from_secs(5));
                tokio::task::yield_now().await;
            }
        }
    });
    assert!(matches!(
        connection.next_event().await,
        Some(Event::Connection(ConnectionEvent::Silent))
    ));
    assert!(matches!(
        connection.next_event().await,
        Some(Event::Connection(ConnectionEvent::Reconnecting {
            cause: Loss::Silent,
            ..
        }))
    ));
    clock_task.abort();
    drop(guest);
}

#[tokio::test]
async fn unread_events_stop_the_socket_and_none_is_lost() {
    const COUNT: usize = 2_000;
    let site = Site::new().await;
    let mut connection = site.open(web_messaging());
    let mut guest = site.configure().await;
    configured(&mut connection).await;
    let service = tokio::spawn(async move {
        for n in 0..COUNT {
            guest
                .transmit(&agent_message(&format!("a{n}"), &n.to_string()))
                .await;
        }
        guest
    });
    for n in 0..COUNT {
        let Some(Event::Message(message)) = connection.next_event().await else {
            panic!("{n}")
        };
        assert_eq!(message.text, n.to_string());
        if n == 0 {
            // a minute and more in which the application reads nothing
            for _ in 0..5 {
                site.clock.advance(Duration::from_secs(15));
                tokio::task::yield_now().await;
            }
        }
    }
    service.await.unwrap();
}

#[tokio::test]
async fn close_sends_a_close_frame_and_drop_does_not() {
    let site = Site::new().await;
    let mut connection = site.open(web_messaging());
    let mut guest = site.configure().await;
    configured(&mut connection).await;
    let leaving = tokio::spawn(connection.close());
    let Some(Ok(Message::Close(Some(frame)))) = guest.0.next().await else {
        panic!()
    };
    assert_eq!(u16::from(frame.code), 1000);
    assert!(guest.0.next().await.is_none());
    assert!(matches!(leaving.await.unwrap()[..], [Event::Ended(Ending::ByUs)]));

    let mut connection = site.open(web_messaging());
    let mut guest = site.configure().await;
    configured(&mut connection).await;
    let handle = connection.handle();
    drop(connection);
    assert!(matches!(guest.0.next().await, None | Some(Err(_))));
    assert_eq!(handle.send("x"), Err(SendError::Ended));
}

#[tokio::test]
async fn connection_closed_event_ends_the_conversation() {
    let site = Site::new().await;
    let mut connection = site.open(web_messaging());
    let mut guest = site.configure().await;
    configured(&mut connection).await;
    guest
        .transmit(&json!({"type": "message", "class": "ConnectionClosedEvent", "code": 200, "body": {"reason": "signedIn"}}))
        .await;
    assert!(matches!(
        connection.next_event().await,
        Some(Event::Ended(Ending::ClosedByServer { reason: Some(reason) })) if reason == "signedIn"
    ));
    let Some(Ok(Message::Close(Some(frame)))) = guest.0.next().await else {
        panic!()
    };
    assert_eq!(u16::from(frame.code), 1000);
}

#[tokio::test]
async fn withdrawn_attributes_are_not_sent_by_the_driver() {
    let site = Site::new().await;
    let attributes = |value: &str| CustomAttributes::new([("interest".to_owned(), value.to_owned())].into());
    let contract = WebMessaging {
        attributes: attributes("chess").unwrap(),
        ..web_messaging()
    };
    let mut connection = site.open(contract);
    let mut guest = site.configure().await;
    configured(&mut connection).await;
    connection.with(|guest, _| guest.update_attributes(CustomAttributes::default()));
    connection.send("withdrawn").unwrap();
    assert!(!guest.receive().await.to_string().contains("chess"));
    connection.with(|guest, _| guest.update_attributes(attributes("granted again").unwrap()));
    connection.send("granted").unwrap();
    let metadata = &guest.receive().await["message"]["channel"]["metadata"];
    assert_eq!(metadata["customAttributes"]["interest"], "granted again");
}

#[tokio::test]
async fn close_clears_the_conversation_first() {
    for (answer, event) in [
        (
            json!({"type": "message", "class": "SessionClearedEvent", "code": 200, "body": {}}),
            "Cleared",
        ),
        (
            json!({"type": "response", "class": "string", "code": 403,
                "body": "Presence events Conversation Clear are not supported"}),
            "ServiceRefusal { code: \"403\"",
        ),
    ] {
        let site = Site::new().await;
        let mut connection = site.open(web_messaging());
        let mut guest = site.configure().await;
        configured(&mut connection).await;
        connection.with(|guest, _| guest.set_close_mode(CloseMode::Clear));
        let leaving = tokio::spawn(connection.close());
        let clear = guest.receive().await;
        assert_eq!(clear["message"]["events"][0]["presence"]["type"], "Clear");
        guest.transmit(&answer).await;
        assert!(matches!(guest.0.next().await, Some(Ok(Message::Close(Some(_))))));
        assert!(guest.0.next().await.is_none());
        let events = leaving.await.unwrap();
        assert!(format!("{events:?}").contains(event), "{events:?}");
        assert!(matches!(
            events[..],
            [
                Event::Session(SessionEvent::Cleared)
                    | Event::Session(SessionEvent::Refused {
                        request: Some(RequestKind::Clear),
                        ..
                    }),
                Event::Ended(Ending::ByUs)
            ]
        ));
    }
}

#[tokio::test]
async fn close_within_ends_in_time() {
    for mode in [CloseMode::Leave, CloseMode::Clear] {
        let site = Site::new().await;
        let mut connection = site.open(web_messaging());
        let guest = site.configure().await;
        configured(&mut connection).await;
        let unanswered = connection.send("x").unwrap();
        connection.with(|guest, _| guest.set_close_mode(mode));
        // nobody reads `guest`: neither the message nor the close frame is answered
        let second = Duration::from_secs(1);
        let (events, ()) = tokio::join!(connection.close_within(second), async {
            site.clock.advance(second);
        });
        assert!(
            matches!(&events[..], [Event::Delivery { id, status: DeliveryStatus::Unknown }, Event::Ended(Ending::ByUs)] if *id == unanswered)
                || matches!(
                    events[..],
                    [
                        Event::Delivery {
                            status: DeliveryStatus::Failed(_),
                            ..
                        },
                        Event::Ended(Ending::ByUs)
                    ]
                ),
            "{events:?}"
        );
        drop(guest);
    }
}

#[tokio::test]
async fn next_event_loses_nothing_when_canceled() {
    const COUNT: usize = 1_000;
    let site = Site::new().await;
    let mut connection = site.open(web_messaging());
    let mut guest = site.configure().await;
    configured(&mut connection).await;
    let service = tokio::spawn(async move {
        for n in 0..COUNT {
            guest
                .transmit(&agent_message(&format!("a{n}"), &n.to_string()))
                .await;
        }
        guest
    });
    let (mut received, mut given_up) = (0, 0);
    while received < COUNT || given_up < COUNT {
        tokio::select! {
            event = connection.next_event() => {
                let Some(Event::Message(message)) = event else { panic!("{event:?}") };
                assert_eq!(message.text, received.to_string(), "in order, and none is missing");
                received += 1;
            }
            () = std::future::ready(()) => {
                given_up += 1;
                tokio::task::yield_now().await;
            }
        }
    }
    service.await.unwrap();
}
