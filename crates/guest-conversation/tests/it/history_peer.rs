//! A peer whose conversation reads the history.

use std::time::Duration;

use bytes::Bytes;
use genesys_api::Call;
use guest_conversation::{
    Command, ConnectionEvent, DeliveryStatus, Event, HistoryFailure, Job, JobOutcome, Machine as _,
    SessionEvent, WebMessaging,
};
use serde_json::{Value, json};
use web_messaging::rest::history::{History, HistoryPage};

use crate::virtual_peer::{VirtualPeer, id, session_response, with_history};

/// Configured, with an API host.
pub(crate) fn peer() -> VirtualPeer {
    VirtualPeer::configured(with_history())
}

pub(crate) fn jwt(peer: &VirtualPeer, seconds: i64) -> Value {
    json!({"type": "response", "class": "JwtResponse", "code": 200,
        "body": {"jwt": "canary-jwt", "exp": peer.now.utc.unix_timestamp() + seconds}})
}

/// Loses the socket and configures the next one.
pub(crate) fn come_back(peer: &mut VirtualPeer) {
    peer.drop_socket();
    peer.reconnect();
    assert_eq!(peer.frames().len(), 1);
    peer.receive(&session_response(false));
}

/// Passes the next deadline, issues a token, and returns the call.
pub(crate) fn requested_call(peer: &mut VirtualPeer) -> Box<History> {
    peer.pass(Duration::from_secs(3));
    let frames = peer.frames();
    assert_eq!(frames.len(), 1, "{frames:?}");
    assert_eq!(frames[0]["action"], "getJwt");
    peer.receive(&jwt(peer, 60));
    command(peer)
}

pub(crate) fn command(peer: &mut VirtualPeer) -> Box<History> {
    match peer.conversation.poll_command() {
        Some(Command::Run(_, Job::ReadHistory(history))) => history,
        other => panic!("{other:?}"),
    }
}

/// The call of the history fails for good.
pub(crate) fn fail_read(peer: &mut VirtualPeer) {
    let reason = "no route".to_owned();
    let failed = HistoryFailure::Failed { reason };
    peer.conversation
        .handle_outcome(JobOutcome::History(Err(failed)), peer.now);
}

pub(crate) fn entry(name: &str, second: u32, text: &str, inbound: bool) -> Value {
    let direction = if inbound { "Inbound" } else { "Outbound" };
    let mut entry = json!({"id": name, "type": "Text", "text": text, "direction": direction,
        "channel": {"time": format!("2026-11-22T12:00:{second:02}.000Z")}});
    if inbound {
        entry["channel"]["messageId"] = format!("m-{name}").into();
    }
    entry
}

pub(crate) fn page(number: u32, of: u32, entries: &[Value]) -> HistoryPage {
    let history = History {
        host: "https://api.example".parse().unwrap(),
        jwt: "x".into(),
        page: number,
        page_size: 50,
        origin: None,
    };
    let body =
        json!({"entities": entries, "pageSize": 50, "pageNumber": number, "pageCount": of, "total": 9});
    history
        .reply(http::Response::new(Bytes::from(body.to_string())))
        .unwrap()
}

pub(crate) fn answer(peer: &mut VirtualPeer, page: HistoryPage) {
    peer.conversation
        .handle_outcome(JobOutcome::History(Ok(page)), peer.now);
}

/// Events in short: messages, deliveries, pages.
pub(crate) fn emitted(peer: &mut VirtualPeer) -> Vec<String> {
    let events = peer.events();
    assert!(!format!("{events:?}").contains("canary"));
    let short = events.into_iter().filter_map(|event| match event {
        Event::Message(message) => Some(format!("message {}", message.text)),
        Event::Session(SessionEvent::OwnMessage(message)) => Some(format!("own {}", message.text)),
        Event::Delivery {
            id: known,
            status: DeliveryStatus::Delivered { .. },
        } => {
            let number = (0..99).find(|n| id(*n) == known);
            Some(format!("accepted {}", number.unwrap()))
        }
        Event::Delivery {
            status: DeliveryStatus::Failed(reason),
            ..
        } => Some(format!("failed {reason:?}")),
        Event::Delivery {
            status: DeliveryStatus::Unknown,
            ..
        } => Some("unknown 1".to_owned()),
        Event::Session(SessionEvent::HistoryUnread { after, before, .. }) => {
            let [after, before] = [after, before].map(Option::unwrap_or_default);
            Some(format!("unread {after}..{before}"))
        }
        Event::Session(SessionEvent::HistoryFailed { retry_after, .. }) => {
            let seconds = retry_after.map(|wait| format!(", {} s", wait.as_secs()));
            Some(format!("failed page{}", seconds.unwrap_or_default()))
        }
        Event::Session(SessionEvent::History(page)) => {
            Some(format!("page {} of {}", page.page, page.page_count))
        }
        _ => None,
    });
    short.collect()
}

/// A new process with an old session, which requests the history.
pub(crate) fn resumed(contract: WebMessaging) -> VirtualPeer {
    let mut peer = VirtualPeer::new(WebMessaging {
        api: Some("https://api.example".parse().unwrap()),
        ..contract
    });
    peer.connect();
    peer.frames();
    peer.receive(&session_response(false));
    assert!(matches!(
        peer.events()[..],
        [Event::Connection(ConnectionEvent::Ready(_))]
    ));
    assert_eq!(peer.frames()[0]["action"], "getJwt");
    peer
}
