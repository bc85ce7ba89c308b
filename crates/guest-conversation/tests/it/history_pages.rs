//! Pages of the history that the application requests.

use std::time::Duration;

use guest_conversation::{Command, HistoryFailure, Job, JobOutcome, Machine as _, Request, RequestError};

use crate::history_peer::{answer, command, emitted, entry, fail_read, jwt, page, peer};
use crate::virtual_peer::{VirtualPeer, refused, session_response};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn failed_page_of_the_application_is_no_gap() {
    let mut peer = peer();
    peer.conversation
        .request(Request::ReadHistory { page: 1 }, peer.now)
        .unwrap();
    peer.frames();
    peer.receive(&jwt(&peer, 60));
    command(&mut peer);
    fail_read(&mut peer);
    assert_eq!(emitted(&mut peer), ["failed page"]);
}

#[test]
fn history_pages_are_limited_to_ten_a_minute() {
    let mut peer = peer();
    for number in 1..=4 {
        peer.conversation
            .request(Request::ReadHistory { page: number }, peer.now)
            .unwrap();
    }
    peer.conversation
        .request(Request::ReadHistory { page: 5 }, peer.now)
        .unwrap();
    assert_eq!(
        peer.conversation
            .request(Request::ReadHistory { page: 6 }, peer.now),
        Err(RequestError::Busy { waiting: 4 })
    );
    assert_eq!(peer.frames()[0]["action"], "getJwt");
    peer.receive(&jwt(&peer, 600));
    let mut pages = Vec::new();
    while let Some(Command::Run(_, Job::ReadHistory(call))) = peer.conversation.poll_command() {
        pages.push(call.page);
        answer(&mut peer, page(call.page, 9, &[entry("d", 1, "old", false)]));
        if pages.len() < 7 {
            peer.conversation
                .request(Request::ReadHistory { page: 9 }, peer.now)
                .unwrap();
        }
    }
    assert_eq!(pages, [1, 2, 3, 4, 5, 9, 9, 9, 9, 9]);
    let events = emitted(&mut peer);
    assert_eq!((&*events[0], &*events[9]), ("page 1 of 9", "page 9 of 9"));
    // further ones fail at once, with the time to wait
    assert_eq!(events[10..], ["failed page, 60 s"]);
    peer.pass(20 * SECOND);
    let read = |peer: &mut VirtualPeer| {
        peer.conversation
            .request(Request::ReadHistory { page: 2 }, peer.now)
            .unwrap();
    };
    read(&mut peer);
    assert_eq!(emitted(&mut peer), ["failed page, 40 s"]);
    peer.pass(41 * SECOND);
    read(&mut peer);
    command(&mut peer);
    // so do those that the service refuses
    let retry_after = 7 * SECOND;
    peer.conversation.handle_outcome(
        JobOutcome::History(Err(HistoryFailure::RateLimited { retry_after })),
        peer.now,
    );
    assert_eq!(emitted(&mut peer), ["failed page, 7 s"]);
    let mut without = VirtualPeer::web_messaging();
    assert_eq!(
        without
            .conversation
            .request(Request::ReadHistory { page: 1 }, without.now),
        Err(RequestError::NoHistoryHost)
    );
}

#[test]
fn page_of_the_application_is_read_in_the_conversation_that_follows() {
    let mut peer = peer();
    peer.receive(&refused(409, None));
    peer.events();
    peer.conversation
        .request(Request::ReadHistory { page: 1 }, peer.now)
        .unwrap();
    peer.receive(&jwt(&peer, 600));
    command(&mut peer);
    peer.conversation.request(Request::StartNew, peer.now).unwrap();
    assert!(emitted(&mut peer).is_empty());
    let mut closed = session_response(false);
    closed["body"]["readOnly"] = true.into();
    closed["body"]["connected"] = false.into();
    peer.receive(&closed);
    peer.receive(&session_response(true));
    answer(&mut peer, page(1, 1, &[entry("a1", 1, "before", false)]));
    assert_eq!(emitted(&mut peer), ["page 1 of 1"]);
}
