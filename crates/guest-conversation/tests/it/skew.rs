//! Clock skew: only times of the service decide.

use std::time::Duration;

use genesys_api::rfc3339;
use guest_conversation::{DeliveryStatus, GuestMachine as _, Machine as _, WebMessaging};
use serde_json::{Value, json};

use crate::history_peer::{answer, command, emitted, entry, page, peer, requested_call, resumed};
use crate::virtual_peer::{VirtualPeer, agent_message, echo, epoch, id, session_response, web_messaging};

const MINUTE: Duration = Duration::from_secs(60);

/// The service's clock, as long as the test lasts.
#[derive(Clone, Copy)]
enum Skew {
    Ahead,
    Behind,
}

impl Skew {
    fn at(self, peer: &VirtualPeer) -> time::OffsetDateTime {
        match self {
            Self::Ahead => peer.now.utc + MINUTE,
            Self::Behind => peer.now.utc - MINUTE,
        }
    }

    fn entry(self, peer: &VirtualPeer, name: &str, inbound: bool) -> Value {
        let mut entry = entry(name, 0, name, inbound);
        entry["channel"]["time"] = rfc3339(self.at(peer)).into();
        entry
    }

    fn live(self, peer: &VirtualPeer, name: &str) -> Value {
        let mut frame = agent_message(name, name);
        frame["body"]["channel"]["time"] = rfc3339(self.at(peer)).into();
        frame
    }

    fn jwt(self, peer: &VirtualPeer) -> Value {
        json!({"type": "response", "class": "JwtResponse", "code": 200,
            "body": {"jwt": "canary-jwt", "exp": (self.at(peer) + MINUTE).unix_timestamp()}})
    }
}

fn restore(peer: &mut VirtualPeer) {
    peer.drop_socket();
    peer.reconnect();
    peer.frames();
    peer.receive(&session_response(false));
}

#[test]
fn resumed_session_uses_the_clock_of_the_service() {
    for skew in [Skew::Ahead, Skew::Behind] {
        let mut peer = resumed(web_messaging());
        peer.pass(Duration::from_secs(20));
        let between = skew.entry(&peer, "between", false);
        let mut old = between.clone();
        old["id"] = "old".into();
        old["channel"]["time"] = rfc3339(skew.at(&peer) - Duration::from_secs(26)).into();
        peer.receive(&skew.jwt(&peer));
        command(&mut peer);
        answer(&mut peer, page(1, 1, &[between, old.clone()]));
        assert_eq!(emitted(&mut peer), ["message between"]);
        // what is old stays old on the connections to come
        restore(&mut peer);
        let missed = skew.entry(&peer, "missed", false);
        peer.pass(Duration::from_secs(3));
        if let Some(frame) = peer.frames().first() {
            assert_eq!(frame["action"], "getJwt");
            peer.receive(&skew.jwt(&peer));
        }
        command(&mut peer);
        answer(&mut peer, page(1, 1, &[missed, old]));
        assert_eq!(emitted(&mut peer), ["message missed"]);
    }
}

#[test]
fn skewed_clock_costs_the_first_reading_at_most() {
    // as an application says it that takes the time from a clock of its own, a minute ahead
    let mut peer = resumed(WebMessaging {
        resume_after: Some(epoch().utc),
        ..web_messaging()
    });
    peer.receive(&Skew::Behind.jwt(&peer));
    command(&mut peer);
    answer(&mut peer, page(1, 1, &[]));
    peer.receive(&Skew::Behind.live(&peer, "live"));
    assert_eq!(emitted(&mut peer), ["message live"]);
    restore(&mut peer);
    let missed = Skew::Behind.entry(&peer, "missed", false);
    peer.pass(Duration::from_secs(3));
    command(&mut peer);
    answer(&mut peer, page(1, 1, &[missed]));
    assert_eq!(emitted(&mut peer), ["message missed"]);
}

#[test]
fn message_sent_before_any_service_time_is_matched() {
    for skew in [Skew::Ahead, Skew::Behind] {
        let mut peer = resumed(web_messaging());
        peer.send(1, "yes");
        assert_eq!(peer.frames().len(), 1);
        restore(&mut peer);
        peer.pass(Duration::from_secs(3));
        peer.frames();
        peer.receive(&skew.jwt(&peer));
        command(&mut peer);
        let mut arrived = skew.entry(&peer, "yes", true);
        let mut older = arrived.clone();
        older["id"] = "older".into();
        older["channel"]["time"] = "2026-11-21T12:00:00Z".into();
        arrived["channel"]["messageId"] = "m1".into();
        answer(&mut peer, page(1, 1, &[arrived, older]));
        assert_eq!(emitted(&mut peer), ["accepted 1"]);
        assert!(matches!(
            peer.conversation.engine().delivery(id(1)),
            Some(DeliveryStatus::Delivered { .. })
        ));
    }
}

#[test]
fn entry_without_a_time_does_not_end_the_reading() {
    let mut peer = peer();
    peer.receive(&echo(9));
    peer.receive(&agent_message("a1", "before"));
    peer.send(1, "lost");
    peer.frames();
    emitted(&mut peer);
    restore(&mut peer);
    requested_call(&mut peer);
    let mut timeless = entry("t", 0, "timeless", false);
    timeless["channel"]["time"] = Value::Null;
    answer(&mut peer, page(1, 2, &[timeless]));
    assert_eq!(command(&mut peer).page, 2);
    answer(&mut peer, page(2, 2, &[entry("g", 5, "lost", true)]));
    assert_eq!(emitted(&mut peer), ["message timeless", "accepted 1"]);
}

#[test]
fn extreme_times_of_the_service_are_handled() {
    for at in ["0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"] {
        let mut peer = peer();
        let mut far = agent_message("far", "far");
        far["body"]["channel"]["time"] = at.into();
        for expires in [i64::MIN / 2, -377_705_116_800, 600, 253_402_300_799, i64::MAX] {
            let mut session = session_response(false);
            session["body"]["expirationDate"] = expires.into();
            peer.receive(&session);
            peer.receive(&far);
            peer.send(1, "x");
            peer.frames();
            peer.pass(400 * MINUTE / 60);
            restore(&mut peer);
            let mut jwt = Skew::Ahead.jwt(&peer);
            jwt["body"]["exp"] = expires.into();
            peer.receive(&jwt);
            for _ in 0..50 {
                peer.pass(Duration::from_secs(15));
                peer.conversation.handle_alive();
                peer.transmits();
            }
        }
    }
}

#[test]
fn resume_after_skips_emitted_messages() {
    let last = genesys_api::parse_rfc3339("2026-11-22T11:30:00Z").unwrap();
    let mut peer = resumed(WebMessaging {
        resume_after: Some(last),
        ..web_messaging()
    });
    // a recovery that is cut off goes back as far the next time
    peer.drop_socket();
    peer.reconnect();
    peer.frames();
    peer.receive(&session_response(false));
    requested_call(&mut peer);
    let at = |name: &str, time: &str| {
        let mut entry = entry(name, 0, name, false);
        entry["channel"]["time"] = time.into();
        entry
    };
    answer(&mut peer, page(1, 2, &[at("later", "2026-11-22T11:45:00Z")]));
    assert_eq!(command(&mut peer).page, 2);
    let last = [
        at("next", "2026-11-22T11:30:00.001Z"),
        at("last", "2026-11-22T11:30:00Z"),
        at("before", "2026-11-22T11:29:59Z"),
    ];
    answer(&mut peer, page(2, 2, &last));
    assert_eq!(emitted(&mut peer), ["message next", "message later"]);
}
