//! Messages between two visits are delivered once, to the next connection.

use genesys_sim::{Agent, Rules, Script};
use guest_suite::api::SessionId;
use guest_suite::conversation::{ConnectionEvent, SessionEvent};
use guest_suite::direct::Conversation;

use super::*;
use crate::world::simulator;

/// Answers at once, and again ten seconds later.
const LATE: &str = r#"
name: late
rules:
  - {on: otherwise, do: [{say: "You said: {text}"}, {wait: 10s}, {say: "Later: {text}"}]}
"#;

pub(super) async fn connect(direct: &Direct, id: &SessionId) -> Conversation {
    let mut conversation = soon(direct.connect("shop", id, page_origin())).await.unwrap();
    let first = soon(conversation.next_event()).await;
    assert!(
        matches!(first, Some(Event::Connection(ConnectionEvent::Ready(_)))),
        "{first:?}"
    );
    conversation
}

/// The text of the next message.
async fn receive(conversation: &mut Conversation) -> String {
    loop {
        match soon(conversation.next_event()).await {
            Some(Event::Message(message)) => return message.text,
            Some(Event::Ended(ending)) => panic!("the conversation ended: {ending}"),
            Some(Event::Session(SessionEvent::HistoryUnread { reason, .. })) => panic!("{reason}"),
            Some(_) => {}
            None => panic!("the conversation is over"),
        }
    }
}

pub(super) async fn send_echoed(conversation: &mut Conversation, text: &str) {
    conversation.send(text).unwrap();
    assert_eq!(receive(conversation).await, format!("You said: {text}"));
}

#[tokio::test]
async fn message_between_two_visits_is_delivered_once() {
    let simulator = simulator(Rules {
        agent: Agent::Scripts(vec![Script::parse("late", LATE).unwrap()]),
        ..Rules::default()
    })
    .await;
    let clock = simulator.clock().clone();
    let store = memory();
    let open = async || {
        let deployment = simulator.deployment_id().as_str();
        let config = config(&clock, Hosts::single(simulator.host()), deployment);
        let store = Arc::clone(&store);
        Direct::open(DirectConfig { store, ..config }).await.unwrap()
    };
    // the agent answers before the guest reconnects
    let late = async |texts: usize| {
        clock.advance(Duration::from_secs(11));
        until(async || simulator.counters().agent_messages == texts as u64).await;
    };

    let direct = open().await;
    let id = direct
        .create("shop", newcomer(&clock), None)
        .await
        .unwrap()
        .session
        .id;
    let mut conversation = connect(&direct, &id).await;
    send_echoed(&mut conversation, "one").await;
    conversation.close().await;
    late(2).await;
    let mut conversation = connect(&direct, &id).await;
    assert_eq!(receive(&mut conversation).await, "Later: one");

    // dropped without a close, and reconnected at once
    send_echoed(&mut conversation, "two").await;
    drop(conversation);
    late(4).await;
    let mut conversation = connect(&direct, &id).await;
    assert_eq!(receive(&mut conversation).await, "Later: two");
    drop(conversation);
    let mut conversation = connect(&direct, &id).await;
    send_echoed(&mut conversation, "three").await;

    // by another process
    conversation.close().await;
    drop(direct);
    late(6).await;
    let direct = open().await;
    let mut conversation = connect(&direct, &id).await;
    assert_eq!(receive(&mut conversation).await, "Later: three");
    send_echoed(&mut conversation, "four").await;
    drop(conversation);
    assert!(simulator.violations().is_empty(), "{:?}", simulator.violations());
    simulator.stop().await;
}
