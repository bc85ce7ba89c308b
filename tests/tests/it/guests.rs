//! Guests of the suite, and conditions that tests wait for.

use genesys_api::Clock;
use guest_suite::conversation::{DeliveryStatus, Event, MessageId};
use guest_suite::payload::{Attributes, Choice, Consent, Evidence};
use guest_suite::transport::{AdmittedOrigin, OriginPolicy};
use guest_suite::{GuestSession, NewGuest};

use crate::page::soon;
use crate::world::{CHANNEL, ORIGIN};

/// An EU guest with consent to all purposes and three attributes.
pub(crate) fn newcomer(clock: &Clock) -> NewGuest {
    consenting(clock, [Choice::Granted; 3])
}

/// An EU guest with these choices about marketing, personalization and analytics.
pub(crate) fn consenting(clock: &Clock, choices: [Choice; 3]) -> NewGuest {
    let consent = Consent::together(choices, Evidence::at(clock.now().utc));
    let mut attributes = Attributes::default();
    for (key, value) in [
        ("source", "web"),
        ("marketing.segment", "spring-campaign"),
        ("favouriteColour", "blue"),
    ] {
        attributes.insert(key, value).unwrap();
    }
    NewGuest {
        attributes,
        ..NewGuest::new(CHANNEL.parse().unwrap(), "EU".parse().unwrap(), consent)
    }
}

/// The page that is allowed.
pub(crate) fn page_origin() -> AdmittedOrigin {
    OriginPolicy::new([ORIGIN])
        .unwrap()
        .admit_own(&ORIGIN.parse().unwrap())
        .unwrap()
}

/// Sends a message, and waits for its acknowledgement and the echo of the agent.
pub(crate) async fn talk(session: &mut GuestSession, text: &str) {
    let id = session.send(text).unwrap();
    assert!(answered(session, id, text).await, "of unknown delivery");
}

/// Waits for the acknowledgement of a message and the echo of the agent. Returns `false` if the delivery is unknown.
pub(crate) async fn answered(session: &mut GuestSession, sent: MessageId, text: &str) -> bool {
    let (mut accepted, mut answered) = (false, false);
    while !(accepted && answered) {
        match next(session).await {
            Event::Delivery {
                id,
                status: DeliveryStatus::Delivered { .. },
            } if id == sent => {
                assert!(!accepted, "acknowledged twice");
                accepted = true;
            }
            Event::Message(message) if message.text == format!("You said: {text}") => {
                assert!(!answered, "answered twice");
                answered = true;
            }
            Event::Delivery {
                id,
                status: DeliveryStatus::Unknown,
            } if id == sent => return false,
            Event::Ended(ending) => panic!("the conversation ended: {ending}"),
            Event::Delivery {
                status: DeliveryStatus::Failed(reason),
                ..
            } => panic!("the message failed: {reason}"),
            _ => {}
        }
    }
    true
}

/// The next event of an open conversation.
pub(crate) async fn next(session: &mut GuestSession) -> Event {
    soon(session.next_event())
        .await
        .expect("the conversation is over")
}

/// Polls a condition until it holds.
pub(crate) async fn until(mut shows: impl AsyncFnMut() -> bool) {
    soon(async {
        while !shows().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
