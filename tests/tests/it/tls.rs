//! A guest and a simulator over TLS with an untrusted certificate.

use genesys_http::{Client, Tls};
use genesys_sim::{Config, Simulator, throwaway_ca};
use guest_conversation::client::{ConnectLimiter, Connection, Settings};
use guest_conversation::{ConnectionEvent, Conversation, Event, Loss, WebMessaging};
use ws_transport::OriginPolicy;

use crate::page::soon;
use crate::world::ORIGIN;

#[tokio::test]
async fn guest_is_notified_of_an_unknown_certificate_authority() {
    let simulator = Simulator::start(Config::default()).await.unwrap();
    let other = throwaway_ca(&["127.0.0.1"]).unwrap();
    let open = |ca: &str| {
        Connection::open(
            Conversation::new(WebMessaging::new(
                simulator.deployment_id().clone(),
                "7d1f0c3e-8f0e-4e0c-9a37-3f1f2f6b1c11".into(),
            )),
            Settings {
                http: Client::builder(Tls::only_ca(ca.as_bytes()).unwrap()).build(),
                url: simulator.websocket_url().parse().unwrap(),
                origin: OriginPolicy::new([ORIGIN]).unwrap().admit([ORIGIN]).unwrap(),
                limiter: ConnectLimiter::default(),
            },
        )
    };
    let mut trusting = open(simulator.ca_pem.as_ref().unwrap());
    let first = soon(trusting.next_event()).await;
    assert!(
        matches!(first, Some(Event::Connection(ConnectionEvent::Ready(_)))),
        "{first:?}"
    );
    drop(trusting);

    let mut untrusting = open(&other.ca_pem);
    let Some(Event::Connection(ConnectionEvent::Reconnecting {
        cause: Loss::Closed(cause),
        ..
    })) = soon(untrusting.next_event()).await
    else {
        panic!("the connection was made");
    };
    // both authorities have the same name, so only the signature distinguishes them
    assert!(
        cause.reason().contains("configure the new CA if it was renewed"),
        "{}",
        cause.reason()
    );
    drop(untrusting);
    simulator.stop().await;
}
