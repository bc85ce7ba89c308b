//! A short guest session: notice, end, and a new session under the same token.

use std::time::Duration;

use genesys_api::Clock;
use genesys_http::{Client, Tls};
use genesys_sim::{Config, Rules, Simulator};
use guest_conversation::client::{ConnectLimiter, Connection, Settings};
use guest_conversation::{
    ConnectionEvent, Conversation, Ending, Event, SessionEvent, SessionInfo, WebMessaging,
};
use ws_transport::OriginPolicy;

use crate::page::soon;
use crate::world::ORIGIN;

/// Opens the one session, on the simulator's clock.
async fn open(simulator: &Simulator) -> (Connection, SessionInfo) {
    let deployment = simulator.deployment_id().clone();
    let token = "7d1f0c3e-8f0e-4e0c-9a37-3f1f2f6b1c11";
    let client = Client::builder(Tls::system().unwrap()).clock(simulator.clock().clone());
    let settings = Settings {
        http: client.build(),
        url: simulator.websocket_url().parse().unwrap(),
        origin: OriginPolicy::new([ORIGIN]).unwrap().admit([ORIGIN]).unwrap(),
        limiter: ConnectLimiter::default(),
    };
    let session = WebMessaging::new(deployment, token.into());
    let mut connection = Connection::open(Conversation::new(session), settings);
    let ready = soon(connection.next_event()).await;
    let Some(Event::Connection(ConnectionEvent::Ready(session))) = ready else {
        panic!("{ready:?}")
    };
    (connection, session)
}

#[tokio::test]
async fn short_session_is_announced_ends_and_begins_again_with_its_token() {
    let clock = Clock::system();
    let rules = Rules {
        session_duration: Duration::from_secs(900),
        ..Rules::default()
    };
    let simulator = Simulator::start(Config {
        clock: clock.clone(),
        rules,
        ..Config::plain()
    });
    let simulator = simulator.await.unwrap();
    let (mut connection, session) = open(&simulator).await;
    assert!(session.new_session);
    clock.advance(Duration::from_secs(601));
    let mut events = Vec::new();
    let mut advanced = false;
    // the client may confirm the expiry with the service before it announces it
    let ending = loop {
        match soon(connection.next_event()).await.unwrap() {
            Event::Ended(ending) => break ending,
            Event::Session(SessionEvent::Expiring { at }) => {
                assert_eq!(at, session.expires_at);
                assert!(!advanced, "it is announced once");
                advanced = true;
                clock.advance(Duration::from_secs(300));
            }
            event => events.push(event),
        }
    };
    assert!(matches!(ending, Ending::SessionExpired), "{ending:?}");
    assert!(advanced, "{events:?}");
    let (_connection, session) = open(&simulator).await;
    assert!(session.new_session);
    assert!(simulator.violations().is_empty());
    simulator.stop().await;
}
