//! The client's driver against a small Genesys Cloud on a loopback socket.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use genesys_api::Clock;
use guest_conversation::client::{ConnectLimiter, Connection, Settings};
use guest_conversation::{
    CloseMode, ConnectionEvent, Conversation, DeliveryStatus, Ending, Event, Loss, MessageId, SendError,
    SessionEvent, State, WebMessaging,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use web_messaging::CustomAttributes;
use ws_transport::OriginPolicy;

use crate::virtual_peer::{TOKEN, agent_says, session_response, web_messaging};

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
        let opening = guest.hear().await;
        assert_eq!(
            (&opening["action"], &opening["token"]),
            (&json!("configureSession"), &json!(TOKEN))
        );
        guest.say(&session_response(true)).await;
        guest
    }
}

pub(crate) struct Guest(WebSocketStream<TcpStream>);

impl Guest {
    pub(crate) async fn hear(&mut self) -> Value {
        loop {
            match self.0.next().await.unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn say(&mut self, frame: &Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// Echoes the next message, as Genesys Cloud does, and returns its text.
    async fn echo(&mut self) -> String {
        let frame = self.hear().await;
        let text = frame["message"]["text"].as_str().unwrap().to_owned();
        self.say(
            &json!({"type": "message", "class": "StructuredMessage", "code": 200,
            "tracingId": frame["tracingId"], "body": {"type": "Text", "text": text, "direction": "Inbound",
                "id": frame["tracingId"], "channel": {"time": "2026-11-22T12:00:01.000Z"}}}),
        )
        .await;
        text
    }
}

async fn accepted(connection: &mut Connection) -> MessageId {
    match connection.next_event().await {
        Some(Event::Delivery {
            id,
            status: DeliveryStatus::Delivered { .. },
        }) => id,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn configured(connection: &mut Connection) {
    assert!(matches!(
        connection.next_event().await,
        Some(Event::Connection(ConnectionEvent::Ready(_)))
    ));
}

#[tokio::test]
async fn a_message_goes_there_and_an_answer_comes_back() {
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
    guest.say(&agent_says("a1", "hello")).await;
    assert!(
        matches!(connection.next_event().await, Some(Event::Message(message)) if message.text == "hello")
    );
    connection.typing();
    assert_eq!(guest.hear().await["message"]["events"][0]["eventType"], "Typing");
    assert_eq!(connection.state(), State::Configured);
}

#[tokio::test]
async fn a_cut_connection_is_restored() {
    let site = Site::new().await;
    let mut connection = site.open(web_messaging());
    let mut guest = site.configure().await;
    configured(&mut connection).await;
    let doubted = connection.send("lost on the way").unwrap();
    guest.hear().await;
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
        matches!(connection.next_event().await, Some(Event::Delivery { id, status: DeliveryStatus::Unknown }) if id == doubted)
    );
    let next = connection.send("after").unwrap();
    guest.echo().await;
    assert_eq!(accepted(&mut connection).await, next);
}

#[tokio::test]
async fn a_refused_origin_is_terminal() {
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
async fn a_refusal_for_now_is_tried_again_when_the_server_said() {
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
async fn a_moved_clock_does_not_close_the_socket() {
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
async fn a_silent_service_is_left() {
    let site = Site::new().await;
    let mut connection = site.open(web_messaging());
    let guest = site.configure().await;
    configured(&mut connection).await;
    // nobody reads `guest`, so no ping is answered
    let mover = tokio::spawn({
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
        Some(Event::Connection(ConnectionEvent::Reconnecting {
            cause: Loss::Silent,
            ..
        }))
    ));
    mover.abort();
    drop(guest);
}

#[tokio::test]
async fn an_application_that_does_not_read_slows_the_service_and_loses_nothing() {
    const COUNT: usize = 2_000;
    let site = Site::new().await;
    let mut connection = site.open(web_messaging());
    let mut guest = site.configure().await;
    configured(&mut connection).await;
    let service = tokio::spawn(async move {
        for n in 0..COUNT {
            guest.say(&agent_says(&format!("a{n}"), &n.to_string())).await;
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
async fn closing_says_goodbye_and_dropping_does_not() {
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
async fn a_service_that_ends_the_connection_for_good_is_believed() {
    let site = Site::new().await;
    let mut connection = site.open(web_messaging());
    let mut guest = site.configure().await;
    configured(&mut connection).await;
    guest
        .say(&json!({"type": "message", "class": "ConnectionClosedEvent", "code": 200, "body": {"reason": "signedIn"}}))
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
async fn what_the_guest_no_longer_agrees_to_stays_here() {
    let site = Site::new().await;
    let attributes = |value: &str| CustomAttributes::new([("interest".to_owned(), value.to_owned())].into());
    let contract = web_messaging().with_attributes(attributes("chess").unwrap());
    let mut connection = site.open(contract);
    let mut guest = site.configure().await;
    configured(&mut connection).await;
    connection.with(|guest, _| guest.update_attributes(CustomAttributes::default()));
    connection.send("withdrawn").unwrap();
    assert!(!guest.hear().await.to_string().contains("chess"));
    connection.with(|guest, _| guest.update_attributes(attributes("granted again").unwrap()));
    connection.send("granted").unwrap();
    let metadata = &guest.hear().await["message"]["channel"]["metadata"];
    assert_eq!(metadata["customAttributes"]["interest"], "granted again");
}

#[tokio::test]
async fn a_guest_who_leaves_for_good_clears_the_conversation_first() {
    for (answer, event) in [
        (
            json!({"type": "message", "class": "SessionClearedEvent", "code": 200, "body": {}}),
            "Cleared",
        ),
        (
            json!({"type": "response", "class": "string", "code": 403,
                "body": "Presence events Conversation Clear are not supported"}),
            "Refused(Refusal { code: \"403\"",
        ),
    ] {
        let site = Site::new().await;
        let mut connection = site.open(web_messaging());
        let mut guest = site.configure().await;
        configured(&mut connection).await;
        connection.with(|guest, _| guest.set_close_mode(CloseMode::Clear));
        let leaving = tokio::spawn(connection.close());
        let clear = guest.hear().await;
        assert_eq!(clear["message"]["events"][0]["presence"]["type"], "Clear");
        guest.say(&answer).await;
        assert!(matches!(guest.0.next().await, Some(Ok(Message::Close(Some(_))))));
        assert!(guest.0.next().await.is_none());
        let events = leaving.await.unwrap();
        assert!(format!("{events:?}").contains(event), "{events:?}");
        assert!(matches!(
            events[..],
            [
                Event::Session(SessionEvent::Cleared) | Event::Session(SessionEvent::Refused(_)),
                Event::Ended(Ending::ByUs)
            ]
        ));
    }
}

#[tokio::test]
async fn a_goodbye_takes_no_longer_than_it_may() {
    for farewell in [CloseMode::Leave, CloseMode::Clear] {
        let site = Site::new().await;
        let mut connection = site.open(web_messaging());
        let guest = site.configure().await;
        configured(&mut connection).await;
        let unanswered = connection.send("x").unwrap();
        connection.with(|guest, _| guest.set_close_mode(farewell));
        // nobody reads `guest`: neither the message nor the goodbye is answered
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
async fn an_event_that_is_waited_for_in_vain_comes_the_next_time() {
    const COUNT: usize = 1_000;
    let site = Site::new().await;
    let mut connection = site.open(web_messaging());
    let mut guest = site.configure().await;
    configured(&mut connection).await;
    let service = tokio::spawn(async move {
        for n in 0..COUNT {
            guest.say(&agent_says(&format!("a{n}"), &n.to_string())).await;
        }
        guest
    });
    let (mut heard, mut given_up) = (0, 0);
    while heard < COUNT || given_up < COUNT {
        tokio::select! {
            event = connection.next_event() => {
                let Some(Event::Message(message)) = event else { panic!("{event:?}") };
                assert_eq!(message.text, heard.to_string(), "in order, and none is missing");
                heard += 1;
            }
            () = std::future::ready(()) => {
                given_up += 1;
                tokio::task::yield_now().await;
            }
        }
    }
    service.await.unwrap();
}
