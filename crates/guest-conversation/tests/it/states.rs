//! Each pair of state and input, by the table of the state machine.

use std::time::Duration;

use genesys_api::Now;
use guest_conversation::attachments::{AttachmentId, File, UploadOutcome};
use guest_conversation::{
    CloseMode, Command, Conversation, GuestMachine as _, HistoryFailure, JobOutcome, Machine as _,
    OutgoingMessage, Request, State, WebMessaging,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use ws_transport::CloseInfo;

use crate::virtual_peer::{
    VirtualPeer, agent_message, id, refused, session_response, too_many, with_history,
};

const SOURCE: &str = include_str!("../../src/conversation/states.md");
/// An unknown attachment.
const FILE: &str = "a7fa0000-0000-4000-8000-000000000001";
const STATES: [State; 9] = [
    State::Idle,
    State::Connecting,
    State::Configuring,
    State::Configured,
    State::ReadOnly,
    State::Reconnecting,
    State::Closing,
    State::Closed,
    State::Failed,
];

#[test]
fn state_follows_the_table_for_each_input() {
    let mut rows = SOURCE.lines().filter_map(|line| {
        let cells = line.strip_prefix("| ")?.strip_suffix(" |")?;
        Some(cells.split(" | ").collect::<Vec<_>>())
    });
    let head = rows.next().unwrap();
    assert_eq!(head[1..], STATES.map(|state| format!("`{state:?}`")));
    let mut pairs = 0;
    for row in rows {
        for (state, cell) in STATES.into_iter().zip(&row[1..]) {
            pairs += 1;
            let mut peer = in_state(state, row[0].ends_with("signed in"));
            let refused = act(&mut peer, row[0]).is_err();
            let dropped = peer.conversation.poll_command() == Some(Command::Disconnect);
            let after = peer.conversation.state();
            let expected = match *cell {
                "–" | "drop" | "refused" => format!("{state:?}"),
                next => next.to_owned(),
            };
            let pair = format!("{} in {state:?}", row[0]);
            assert_eq!(format!("{after:?}"), expected, "{pair}");
            assert_eq!(refused, *cell == "refused", "{pair}");
            // dropping a connection that is being opened reports its end as well
            let gave_up = after.is_over() && !state.is_over();
            assert!(dropped == (*cell == "drop") || gave_up, "{pair}");
        }
    }
    assert_eq!(pairs, 44 * 9);
}

fn in_state(state: State, signed_in: bool) -> VirtualPeer {
    let mut contract = with_history();
    if signed_in {
        contract = WebMessaging {
            jwt: Some(SecretString::from("jwt")),
            ..contract
        };
    }
    let mut peer = VirtualPeer::new(contract);
    let configured = |peer: &mut VirtualPeer| {
        peer.connect();
        peer.frames();
        let mut session = session_response(true);
        session["body"]["allowedMedia"] = json!({"inbound": {"fileTypes": [{"type": "*/*"}]}});
        peer.receive(&session);
    };
    match state {
        State::Idle => {}
        State::Connecting => {
            peer.conversation.engine_mut().connect(peer.now);
            peer.conversation.poll_command();
        }
        State::Configuring => {
            peer.connect();
            peer.frames();
        }
        State::Configured => configured(&mut peer),
        State::ReadOnly => {
            configured(&mut peer);
            peer.receive(&refused(409, None));
        }
        State::Reconnecting => {
            configured(&mut peer);
            peer.drop_socket();
        }
        State::Closing => {
            configured(&mut peer);
            peer.send(1, "unacknowledged");
            peer.frames();
            peer.conversation.end(peer.now);
        }
        State::Closed => peer.conversation.end(peer.now),
        State::Failed => {
            configured(&mut peer);
            peer.receive(&refused(4006, None));
        }
    }
    assert_eq!(peer.conversation.state(), state);
    peer.events();
    peer.transmits();
    peer
}

/// The frame of an input of the table.
fn frame(input: &str) -> Option<Value> {
    let event = |class: &str| json!({"type": "message", "class": class, "code": 200, "body": {}});
    Some(match input.strip_prefix("frame: ")? {
        "session" => session(true, false),
        "session, read-only" => session(true, true),
        "session left" => session(false, true),
        "refused" => refused(400, None),
        "server error" => refused(500, None),
        "too many" => too_many(1, None),
        "unauthorized" | "unauthorized, signed in" => refused(401, None),
        "read-only" => refused(409, None),
        "expired" => event("SessionExpiredEvent"),
        "logged out" => event("LogoutEvent"),
        "closed" => event("ConnectionClosedEvent"),
        "cleared" => event("SessionClearedEvent"),
        "message" => agent_message("a", "x"),
        "upload URL" => json!({"type": "response", "class": "PresignedUrlResponse", "code": 200,
            "body": {"attachmentId": FILE, "url": "https://bucket.example/k", "headers": {"x": "y"}}}),
        "upload refused" => json!({"type": "response", "class": "GenerateUrlError", "code": 200,
            "body": {"attachmentId": FILE, "errorCode": 4001, "errorMessage": "no"}}),
        "unknown" => event("Novelty"),
        other => panic!("the table has a frame that this test does not know: {other}"),
    })
}

fn session(connected: bool, read_only: bool) -> Value {
    let mut frame = session_response(false);
    frame["body"]["connected"] = connected.into();
    frame["body"]["readOnly"] = read_only.into();
    frame
}

#[expect(clippy::too_many_lines, reason = "one arm for each row of the table")]
fn act(peer: &mut VirtualPeer, input: &str) -> Result<(), String> {
    if let Some(frame) = frame(input) {
        peer.receive(&frame);
        return Ok(());
    }
    let now = peer.now;
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let conversation = &mut peer.conversation;
    match input {
        "connect" => {
            conversation.engine_mut().connect(now);
            Ok(())
        }
        "reconnect" => {
            conversation.engine_mut().reconnect(now);
            Ok(())
        }
        "handle_connected" => {
            conversation.handle_connected(now);
            Ok(())
        }
        "handle_alive" => {
            conversation.handle_alive();
            Ok(())
        }
        "handle_closed" => {
            conversation.handle_closed(CloseInfo::abnormal("gone"), now, 0);
            Ok(())
        }
        "handle_refused: 503" => {
            conversation.handle_refused(503, None, now, 0);
            Ok(())
        }
        "handle_refused: 403" => {
            conversation.handle_refused(403, None, now, 0);
            Ok(())
        }
        "handle_history" => {
            conversation.handle_outcome(JobOutcome::History(Err(HistoryFailure::Unauthorized)), now);
            Ok(())
        }
        "handle_upload" => {
            conversation.handle_outcome(JobOutcome::Upload(file(), UploadOutcome::Stored), now);
            Ok(())
        }
        "handle_timeout: next deadline" => {
            let due = conversation.poll_timeout();
            peer.pass(due.map_or(Duration::ZERO, |(at, _)| at - now.instant));
            Ok(())
        }
        "handle_timeout: silence" => {
            silence(peer);
            Ok(())
        }
        "send_text" => conversation
            .engine_mut()
            .send(id(9), OutgoingMessage::new("x".to_owned()), now)
            .map_err(|error| words(&error)),
        "send, with an attachment" | "attach" | "delete_attachment" | "refresh_attachment" => {
            act_on_file(conversation, input, now)
        }
        "send_typing" => {
            conversation.send_typing(now);
            Ok(())
        }
        "check_health" => conversation
            .request(Request::CheckHealth, now)
            .map_err(|error| words(&error)),
        "read_history" => conversation
            .request(Request::ReadHistory { page: 1 }, now)
            .map_err(|error| words(&error)),
        "clear" => conversation
            .request(Request::Clear, now)
            .map_err(|error| words(&error)),
        "start_new" => conversation
            .request(Request::StartNew, now)
            .map_err(|error| words(&error)),
        "start_new, and left" => {
            conversation
                .request(Request::StartNew, now)
                .map_err(|error| words(&error))?;
            peer.receive(&session(false, true));
            Ok(())
        }
        "step_up" => {
            let jwt = SecretString::from("jwt");
            conversation
                .request(Request::SignIn { jwt }, now)
                .map_err(|error| words(&error))
        }
        "update_token" => {
            conversation.update_token(SecretString::from("other"));
            Ok(())
        }
        "update_attributes" => {
            conversation.update_attributes(Default::default());
            Ok(())
        }
        "set_close_mode" => {
            conversation.set_close_mode(CloseMode::Clear);
            Ok(())
        }
        "end" => {
            conversation.end(now);
            Ok(())
        }
        other => panic!("the table has an input that this test does not know: {other}"),
    }
}

fn act_on_file(conversation: &mut Conversation, input: &str, now: Now) -> Result<(), String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    match input {
        "attach" => {
            let cat = File::new("cat.png", "png".into());
            conversation.attach(file(), cat).map_err(|error| words(&error))
        }
        "delete_attachment" => conversation
            .delete_attachment(&file())
            .map_err(|error| words(&error)),
        "refresh_attachment" => conversation
            .request(Request::RefreshAttachment { id: file() }, now)
            .map_err(|error| words(&error)),
        _ => {
            let message = OutgoingMessage::Text {
                text: "x".into(),
                attachments: vec![FILE.into()],
            };
            conversation
                .send(id(9), &message, now)
                .map_err(|error| words(&error))
        }
    }
}

fn file() -> AttachmentId {
    FILE.parse().unwrap()
}

/// Lets time pass in silence until there is a command or the conversation is over.
fn silence(peer: &mut VirtualPeer) {
    for _ in 0..10 {
        let Some((at, _)) = peer.conversation.poll_timeout() else {
            return;
        };
        let before = peer.conversation.state();
        peer.pass(at - peer.now.instant);
        peer.transmits();
        let dropping = peer.conversation.poll_timeout().is_none();
        if dropping || peer.conversation.state() != before {
            return;
        }
    }
}
