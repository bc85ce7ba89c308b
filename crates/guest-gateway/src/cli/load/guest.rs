//! One simulated guest.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use genesys_api::{entropy, error_chain};
use guest_payload::{Age, Attributes, Choice, Consent, Evidence, Signals};
use guest_suite::conversation::{DeliveryStatus, Event};
use guest_suite::{Error, ErrorKind, GuestSession, NewGuest};
use tokio::sync::watch;

use super::figures::Operation;
use super::{LEAVING, Load};

/// Creates a session, opens its conversation, sends messages until `stop`, and ends it.
pub(super) async fn run(load: Arc<Load>, mut stop: watch::Receiver<bool>, number: u32) {
    let Some(mut session) = create(&load).await else {
        return;
    };
    let is_live = tokio::select! {
        opened = connect(&load, &mut session) => opened && converse(&load, &mut session, &mut stop).await,
        () = requested(&mut stop) => {
            let example = || "it was not connected when the guests began to leave".to_owned();
            load.figures().failed(Operation::Connect, "pending", example);
            true
        }
    };
    if is_live {
        // the guests leave in the order of their arrival
        load.clock.sleep(Duration::from_secs(1) * number / LEAVING).await;
    }
    let asked = load.now();
    match session.end().await {
        Ok(()) => load.figures().succeeded(Operation::End, load.now() - asked),
        // the failure of the conversation is counted
        Err(_) if !is_live => {}
        Err(error) => failed(&load, Operation::End, &error),
    }
}

async fn requested(stop: &mut watch::Receiver<bool>) {
    // an error means that the command is over
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn create(load: &Load) -> Option<GuestSession> {
    let asked = load.clock.now();
    let guest = NewGuest {
        channel: load.channel.clone(),
        guest: None,
        jurisdictions: load.jurisdictions.clone(),
        age: Age::UNKNOWN,
        consent: Consent::together([Choice::Granted; 3], Evidence::at(asked.utc)),
        signals: Signals::default(),
        attributes: Attributes::default(),
    };
    match load.suite.create(guest).await {
        Ok(session) => {
            load.figures()
                .succeeded(Operation::Create, load.now() - asked.instant);
            Some(session)
        }
        Err(error) => {
            failed(load, Operation::Create, &error);
            None
        }
    }
}

async fn connect(load: &Load, session: &mut GuestSession) -> bool {
    let asked = load.now();
    let opened = session.connect(load.page.clone()).await;
    match &opened {
        Ok(()) => load.figures().succeeded(Operation::Connect, load.now() - asked),
        Err(error) => failed(load, Operation::Connect, error),
    }
    opened.is_ok()
}

/// Sends messages until `stop`. Returns whether the conversation is open.
async fn converse(load: &Load, session: &mut GuestSession, stop: &mut watch::Receiver<bool>) -> bool {
    load.figures().joined();
    let is_open = exchange_messages(load, session, stop).await;
    load.figures().left();
    is_open
}

async fn exchange_messages(
    load: &Load,
    session: &mut GuestSession,
    stop: &mut watch::Receiver<bool>,
) -> bool {
    // bounded by the messages that a conversation queues
    let mut sent = HashMap::new();
    let mut first_unanswered = None;
    let mut due = load.now() + pause(load.think);
    loop {
        tokio::select! {
            () = requested(stop) => return true,
            () = load.clock.sleep_until(due) => {
                let now = load.now();
                match session.send("Is the blue one back in stock?") {
                    Ok(id) => {
                        load.figures().sent();
                        sent.insert(id, now);
                        first_unanswered.get_or_insert(now);
                    }
                    // it was not sent, so no acknowledgement is owed
                    Err(error) => failed(load, Operation::Converse, &error),
                }
                due = now + pause(load.think);
            }
            event = session.next_event() => match event {
                Some(Event::Delivery { id, status }) => match status {
                    DeliveryStatus::Delivered { .. } => {
                        if let Some(asked) = sent.remove(&id) {
                            load.figures().succeeded(Operation::Deliver, load.now() - asked);
                        }
                    }
                    DeliveryStatus::Failed(reason) if sent.remove(&id).is_some() => {
                        load.figures().failed(Operation::Deliver, "failed", || reason.to_string());
                    }
                    DeliveryStatus::Unknown if sent.remove(&id).is_some() => {
                        let example = || "it was sent and no acknowledgement came".to_owned();
                        load.figures().failed(Operation::Deliver, "unknown", example);
                    }
                    _ => {}
                },
                Some(Event::Message(_)) => {
                    if let Some(asked) = first_unanswered.take() {
                        load.figures().succeeded(Operation::Reply, load.now() - asked);
                    }
                }
                Some(Event::Ended(ending)) => {
                    failed(load, Operation::Converse, &Error::Conversation(ending));
                    return false;
                }
                Some(_) => {}
                None => return false,
            },
        }
    }
}

/// Between half and one and a half of the mean.
fn pause(mean: Duration) -> Duration {
    let share = entropy::number() as f64 / u64::MAX as f64;
    mean.mul_f64(0.5 + share)
}

fn failed(load: &Load, operation: Operation, error: &Error) {
    load.figures()
        .failed(operation, name(error), || error_chain(error));
}

/// A stable name of the reason: the code of the gateway, or else a kind.
fn name(error: &Error) -> &'static str {
    let problem = error.problem().map(|problem| &*problem.code);
    if let Some(code) = problem.and_then(guest_sessions::ErrorCode::from_name) {
        return code.as_str();
    }
    match error.kind() {
        ErrorKind::Conflict => "conflict",
        ErrorKind::Credentials => "credentials",
        ErrorKind::Ended => "ended",
        ErrorKind::Invalid => "invalid",
        ErrorKind::NotFound => "not found",
        ErrorKind::NotSent => "not sent",
        ErrorKind::Unavailable => "unavailable",
        _ => "other",
    }
}
