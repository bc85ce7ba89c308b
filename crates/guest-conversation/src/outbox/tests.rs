//! Limits, order and decisions of the outbox.

use std::time::Duration;

use super::*;

const EPOCH: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
const DELIVERED: DeliveryStatus = DeliveryStatus::Delivered {
    message: None,
    at: EPOCH,
    sequence: None,
};

fn id(n: u128) -> MessageId {
    uuid::Uuid::from_u128(n).into()
}

#[test]
fn outbox_is_bounded_by_count_and_by_bytes() {
    let mut outbox = Outbox::default();
    for n in 0..COUNT_LIMIT {
        outbox
            .push(id(n as u128), OutgoingMessage::new("x"), None)
            .unwrap();
    }
    assert_eq!(
        outbox.push(id(999), OutgoingMessage::new("x"), None),
        Err(SendError::Full {
            count: 256,
            bytes: 256
        })
    );
    assert!(outbox.resolve(id(0), DELIVERED));
    assert_eq!(outbox.push(id(999), OutgoingMessage::new("x"), None), Ok(()));

    let mut outbox = Outbox::default();
    for n in 0..64 {
        outbox
            .push(id(n), OutgoingMessage::new("é".repeat(2048)), None)
            .unwrap();
    }
    assert_eq!(
        outbox.push(id(999), OutgoingMessage::new("x"), None),
        Err(SendError::Full {
            count: 64,
            bytes: BYTE_LIMIT
        })
    );
    outbox.fail_waiting(&FailureReason::Ended);
    assert_eq!(outbox.bytes, 0);
    assert_eq!(
        outbox.push(id(1), OutgoingMessage::new(""), None),
        Err(SendError::Empty)
    );
    assert_eq!(
        outbox.push(id(1), OutgoingMessage::new("x".repeat(4097)), None),
        Err(SendError::TooLong { bytes: 4097 })
    );
}

#[test]
fn message_that_is_not_sent_in_time_fails() {
    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant can be had from nowhere else"
    )]
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut outbox = Outbox::default();
    for n in 1..=4 {
        outbox
            .push(id(n), OutgoingMessage::new("x"), Some(at(n as u64)))
            .unwrap();
    }
    outbox.next(0, EPOCH).unwrap();
    outbox.next(0, EPOCH).unwrap();
    assert_eq!(outbox.poll_timeout(), Some(at(3)), "two were sent");
    // the first one was refused for the rate, and the second one may have arrived
    outbox.requeue(id(1));
    outbox.requeue_all();
    assert_eq!(outbox.poll_timeout(), Some(at(1)));
    let reason = FailureReason::NotSentInTime {
        timeout: Duration::from_secs(1),
    };
    assert_eq!(outbox.fail_expired(at(3), &reason), [id(1), id(3)]);
    assert_eq!(outbox.status(id(3)), Some(DeliveryStatus::Failed(reason)));
    assert_eq!(outbox.status(id(2)), Some(DeliveryStatus::Queued));
    assert_eq!(outbox.poll_timeout(), Some(at(4)));
}

#[test]
fn requeued_message_keeps_its_position() {
    let mut outbox = Outbox::default();
    for n in 1..=4 {
        outbox.push(id(n), OutgoingMessage::new("x"), None).unwrap();
    }
    for _ in 1..=3 {
        outbox.next(0, EPOCH).unwrap();
    }
    outbox.requeue(id(2));
    outbox.requeue(id(1));
    assert_eq!(outbox.only_sent(), Some(id(3)));
    for n in [1, 2, 4] {
        assert_eq!(outbox.next(0, EPOCH).unwrap().id, id(n));
    }
}

#[test]
fn unknown_delivery_is_resolved_once() {
    let mut outbox = Outbox::default();
    outbox.push(id(1), OutgoingMessage::new("x"), None).unwrap();
    outbox.next(3, EPOCH).unwrap();
    assert!(!outbox.mark_overdue_unknown(7));
    assert!(outbox.mark_overdue_unknown(8));
    assert_eq!(outbox.give_up_unresolved(), [id(1)]);
    assert!(outbox.is_idle());
    assert_eq!(outbox.status(id(1)), Some(DeliveryStatus::Unknown));
    assert!(outbox.resolve(id(1), DELIVERED));
    assert!(!outbox.resolve(id(1), DELIVERED));
    assert_eq!(outbox.status(id(1)), Some(DELIVERED));
}

#[test]
fn entry_is_not_a_given_up_message_while_an_equal_one_is_awaited() {
    let mut outbox = Outbox::default();
    let fingerprint = fingerprint("x", std::iter::empty());
    outbox.push(id(1), OutgoingMessage::new("x"), None).unwrap();
    outbox.next(3, EPOCH).unwrap();
    assert!(outbox.mark_unknown(id(1)));
    assert_eq!(outbox.give_up_unresolved(), [id(1)]);
    outbox.push(id(2), OutgoingMessage::new("x"), None).unwrap();
    assert_eq!(outbox.match_unresolved(fingerprint, EPOCH), Some(id(1)));
    outbox.next(3, EPOCH).unwrap();
    assert_eq!(outbox.match_unresolved(fingerprint, EPOCH), None);
    assert!(outbox.resolve(id(2), DELIVERED));
    assert_eq!(outbox.match_unresolved(fingerprint, EPOCH), Some(id(1)));
}

#[test]
fn outbox_drops_the_oldest_decision_at_capacity() {
    let mut outbox = Outbox::default();
    for n in 0..513 {
        outbox.push(id(n), OutgoingMessage::new("x"), None).unwrap();
        assert!(outbox.resolve(id(n), DELIVERED));
    }
    assert_eq!(
        (outbox.status(id(0)), outbox.status(id(1))),
        (None, Some(DELIVERED))
    );
}
