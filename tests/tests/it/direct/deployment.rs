//! The deployment's published configuration is read and applied before a socket is opened.

use std::time::Duration;

use genesys_sim::{Rules, Simulator};
use guest_suite::api::{Clock, Host, SessionId};
use guest_suite::conversation::{ConnectionEvent, Event, Request, RequestError, SessionEvent};
use guest_suite::web_messaging::rest::deployment::NotAdmitted;

use super::*;
use crate::world::simulator;

/// A session in direct mode at this simulator, whose deployment is published at `cdn`.
async fn session(simulator: &Simulator, cdn: Host) -> (Direct, SessionId) {
    let clock: Clock = simulator.clock().clone();
    let hosts = Hosts {
        cdn,
        ..Hosts::single(simulator.host())
    };
    let direct = Direct::open(config(&clock, hosts, simulator.deployment_id().as_str()))
        .await
        .unwrap();
    let created = direct.create("shop", newcomer(&clock), None).await.unwrap();
    (direct, created.session.id)
}

#[tokio::test]
async fn page_outside_the_allowed_domains_opens_no_socket() {
    let simulator = simulator(Rules {
        allowed_domains: Some(vec!["elsewhere.example".to_owned()]),
        ..Rules::default()
    })
    .await;
    let (direct, id) = session(&simulator, simulator.host().clone()).await;
    let refused = soon(direct.connect("shop", &id, page_origin()))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, Error::NotAdmitted(NotAdmitted::Origin { .. })),
        "{refused}"
    );
    assert!(refused.to_string().contains("https://shop.example"), "{refused}");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert_eq!(simulator.counters().connections, 0);
    simulator.stop().await;
}

#[tokio::test]
async fn disabled_features_of_the_deployment_are_not_used() {
    let simulator = simulator(Rules {
        conversation_clear: false,
        ..Rules::default()
    })
    .await;
    let (direct, id) = session(&simulator, simulator.host().clone()).await;
    let mut conversation = soon(direct.connect("shop", &id, page_origin())).await.unwrap();
    assert!(matches!(
        soon(conversation.next_event()).await,
        Some(Event::Connection(ConnectionEvent::Ready(_)))
    ));
    let handle = (*conversation).clone();
    assert_eq!(handle.request(Request::Clear), Err(RequestError::NotAllowed));
    handle.request(Request::CheckHealth).unwrap();
    assert!(matches!(
        soon(conversation.next_event()).await,
        Some(Event::Session(SessionEvent::Health { .. }))
    ));
    drop(conversation);
    simulator.stop().await;
}

#[tokio::test]
async fn unreachable_configuration_host_does_not_block_guests() {
    let simulator = simulator(Rules::default()).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cdn = format!("http://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let (direct, id) = session(&simulator, cdn).await;
    let clock = simulator.clock().clone();
    let (connected, _) = tokio::join!(soon(direct.connect("shop", &id, page_origin())), async {
        // both files were requested, and neither was answered
        let asked = (listener.accept().await.unwrap(), listener.accept().await.unwrap());
        clock.advance(Duration::from_secs(5));
        asked
    });
    let mut conversation = connected.unwrap();
    assert!(matches!(
        soon(conversation.next_event()).await,
        Some(Event::Connection(ConnectionEvent::Ready(_)))
    ));
    drop(conversation);
    simulator.stop().await;
}
