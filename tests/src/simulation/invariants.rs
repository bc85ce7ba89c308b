//! Invariants at the end of a simulation.

use std::collections::{BTreeMap, BTreeSet};

use genesys_sim::TranscriptEntry;
use guest_conversation::{
    DeliveryStatus, Event, FailureReason, GuestMachine as _, MessageId, SessionEvent, State,
};

use super::plan::Plan;
use super::state::{Report, Simulation};

/// An invariant that did not hold.
#[derive(Debug, thiserror::Error)]
#[error(
    "simulation {seed} broke an invariant: {invariant}\nto repeat it: cargo xtask simulate --seed {seed}"
)]
pub struct BrokenInvariant {
    /// Seed of the run.
    pub seed: u64,
    /// Description of the invariant.
    pub invariant: String,
}

pub(super) fn check(
    plan: &Plan,
    simulation: &Simulation,
    report: Option<Report>,
) -> Result<Report, BrokenInvariant> {
    let broken = |invariant| BrokenInvariant {
        seed: plan.seed,
        invariant,
    };
    let report = report.ok_or_else(|| broken("it does not terminate".to_owned()))?;
    state(plan, simulation).map_err(broken)?;
    guest(plan, simulation).map_err(broken)?;
    agent(plan, simulation).map_err(broken)?;
    Ok(report)
}

/// Ten minutes after the last fault the conversation is in the expected state.
fn state(plan: &Plan, simulation: &Simulation) -> Result<(), String> {
    match simulation.conversation.state() {
        state if state == plan.final_state => Ok(()),
        other => Err(format!(
            "it ends as {other:?}; last events: {:?}",
            last(simulation)
        )),
    }
}

/// Each message of the guest has one delivery status, which agrees with the cloud's transcript.
fn guest(plan: &Plan, simulation: &Simulation) -> Result<(), String> {
    let mut statuses: BTreeMap<MessageId, Vec<Status>> = BTreeMap::new();
    for (_, event) in &simulation.received {
        match event {
            Event::Delivery {
                id,
                status: DeliveryStatus::Delivered { .. },
            } => statuses.entry(*id).or_default().push(Status::Delivered),
            Event::Delivery {
                id,
                status: DeliveryStatus::Failed(reason),
            } => statuses
                .entry(*id)
                .or_default()
                .push(Status::Failed(reason.clone())),
            Event::Delivery {
                id,
                status: DeliveryStatus::Unknown,
            } => statuses.entry(*id).or_default().push(Status::Unknown),
            _ => {}
        }
    }
    // equal texts cannot be distinguished in the transcript, so they are counted
    let mut delivered: BTreeMap<&str, usize> = BTreeMap::new();
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    let unread = was_unread(simulation);
    for (process, id, text) in &simulation.messages {
        let status = statuses.remove(id).unwrap_or_default();
        let last_process = *process == simulation.process;
        match status.as_slice() {
            [Status::Delivered] | [Status::Unknown, Status::Delivered] => {
                *delivered.entry(text).or_default() += 1
            }
            // given up, but not before it was tried twice
            [Status::Failed(FailureReason::Ended | FailureReason::ReadOnly)]
                if plan.final_state != State::Configured => {}
            [Status::Failed(FailureReason::NotDelivered)] if simulation.sent.get(id) >= Some(&2) => {}
            // its status stays unknown, and the application was notified; the transcript must not have it
            [Status::Unknown] if unread && last_process => {}
            // it cannot be known any more
            [Status::Unknown] if simulation.conversation.state().is_over() => {
                *open.entry(text).or_default() += 1
            }
            // the process that knew it has ended
            [] | [Status::Unknown] if !last_process => *open.entry(text).or_default() += 1,
            other => {
                return Err(format!(
                    "message {id} ({text:?}) has the delivery status {other:?}"
                ));
            }
        }
    }
    if let Some((id, status)) = statuses.first_key_value() {
        return Err(format!(
            "{id} was never sent, and has the delivery status {status:?}"
        ));
    }
    let mut recorded: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in simulation.transcript.iter().filter(|entry| entry.by_guest) {
        *recorded.entry(&entry.text).or_default() += 1;
    }
    let texts: BTreeSet<&str> = recorded.keys().chain(delivered.keys()).copied().collect();
    for text in texts {
        let count = |of: &BTreeMap<&str, usize>| of.get(text).copied().unwrap_or_default();
        let (least, recorded) = (count(&delivered), count(&recorded));
        if !(least..=least + count(&open)).contains(&recorded) {
            return Err(format!(
                "{text:?} was delivered {least} times by the guest's events, and is {recorded} times in the transcript"
            ));
        }
    }
    Ok(())
}

#[derive(Clone, Debug, PartialEq)]
enum Status {
    Delivered,
    Failed(FailureReason),
    Unknown,
}

/// Each process emits each agent message once, in order.
fn agent(plan: &Plan, simulation: &Simulation) -> Result<(), String> {
    let emitted: Vec<_> = simulation
        .received
        .iter()
        .filter_map(|(process, event)| match event {
            Event::Message(message) => Some((*process, message)),
            _ => None,
        })
        .collect();
    // messages that the cloud sends out of order, or that could not be read at first, are emitted out of order
    let reordered = plan.faults.iter().any(|fault| fault.starts_with("reorder")) || was_unread(simulation);
    for process in 0..=simulation.process {
        let mut seen = BTreeSet::new();
        let mut newest = None;
        for (_, message) in emitted.iter().filter(|(other, _)| *other == process) {
            if !seen.insert(&message.id) {
                return Err(format!("{:?} was emitted twice", message.text));
            }
            if newest > Some(message.at) && !reordered {
                return Err(format!("{:?} was emitted after a later message", message.text));
            }
            newest = Some(message.at);
        }
    }
    let mut missing: Vec<&TranscriptEntry> = simulation
        .transcript
        .iter()
        .filter(|entry| !entry.by_guest)
        .collect();
    for (_, message) in &emitted {
        let at = missing
            .iter()
            .position(|entry| entry.text == message.text && entry.at == message.at);
        match at {
            Some(at) => drop(missing.remove(at)),
            // another process emitted it before
            None if simulation.process > 0 => {}
            // the transcript was deleted with the session
            None if plan.final_state != State::Configured => {}
            None => return Err(format!("{:?} was emitted, and never sent", message.text)),
        }
    }
    // a recovery reads 200 entries back: older ones stay unread, and the application was notified
    if was_unread(simulation) && simulation.transcript.len() > 200 {
        return Ok(());
    }
    // messages between two processes are not emitted by the next one
    match missing.first() {
        Some(entry) if simulation.process == 0 && plan.final_state == State::Configured => {
            Err(format!("{:?} was sent, and never emitted", entry.text))
        }
        _ => Ok(()),
    }
}

/// Whether the application was notified of a gap.
fn was_unread(simulation: &Simulation) -> bool {
    let mut events = simulation.received.iter();
    events.any(|(_, event)| matches!(event, Event::Session(SessionEvent::HistoryUnread { .. })))
}

fn last(simulation: &Simulation) -> Vec<&Event> {
    let from = simulation.received.len().saturating_sub(5);
    simulation.received[from..]
        .iter()
        .map(|(_, event)| event)
        .collect()
}
