//! Invariants at the end of a simulation.

use std::collections::{BTreeMap, BTreeSet};

use genesys_sim::TranscriptEntry;
use guest_conversation::{Event, FailureReason, MessageId, State};

use super::plan::Plan;
use super::stage::{Report, Stage};

/// An invariant that did not hold.
#[derive(Debug, thiserror::Error)]
#[error(
    "simulation {seed} broke an invariant: {what}\nto repeat it: cargo xtask simulate --seed {seed}"
)]
pub struct Breach {
    /// Seed of the run.
    pub seed: u64,
    /// Description of the invariant.
    pub what: String,
}

pub(super) fn judge(plan: &Plan, stage: &Stage, report: Option<Report>) -> Result<Report, Breach> {
    let breach = |what| Breach {
        seed: plan.seed,
        what,
    };
    let report = report.ok_or_else(|| breach("it does not come to rest".to_owned()))?;
    state(plan, stage).map_err(breach)?;
    guest(plan, stage).map_err(breach)?;
    agent(plan, stage).map_err(breach)?;
    Ok(report)
}

/// Ten minutes after the last fault the conversation is in the expected state.
fn state(plan: &Plan, stage: &Stage) -> Result<(), String> {
    match stage.conversation.state() {
        state if state == plan.ends => Ok(()),
        other => Err(format!("it ends as {other:?}; last events: {:?}", last(stage))),
    }
}

/// Each message of the guest has one delivery status, which agrees with the cloud's transcript.
fn guest(plan: &Plan, stage: &Stage) -> Result<(), String> {
    let mut fates: BTreeMap<MessageId, Vec<Fate>> = BTreeMap::new();
    for (_, event) in &stage.heard {
        match event {
            Event::Accepted { id, .. } => fates.entry(*id).or_default().push(Fate::Delivered),
            Event::Failed { id, reason } => fates.entry(*id).or_default().push(Fate::Failed(reason.clone())),
            Event::InDoubt { ids } => {
                for id in ids {
                    fates.entry(*id).or_default().push(Fate::InDoubt);
                }
            }
            _ => {}
        }
    }
    // equal texts cannot be distinguished in the transcript, so they are counted
    let mut delivered: BTreeMap<&str, usize> = BTreeMap::new();
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    let unread = was_unread(stage);
    for (process, id, text) in &stage.said {
        let fate = fates.remove(id).unwrap_or_default();
        let last_process = *process == stage.process;
        match fate.as_slice() {
            [Fate::Delivered] | [Fate::InDoubt, Fate::Delivered] => *delivered.entry(text).or_default() += 1,
            // given up, but not before it was tried twice
            [Fate::Failed(FailureReason::Ended | FailureReason::ReadOnly)]
                if plan.ends != State::Configured => {}
            [Fate::Failed(FailureReason::NotDelivered)] if stage.sent.get(id) >= Some(&2) => {}
            // its status stays unknown, and the application was notified; the transcript must not have it
            [Fate::InDoubt] if unread && last_process => {}
            // it cannot be known any more
            [Fate::InDoubt] if stage.conversation.state().is_over() => *open.entry(text).or_default() += 1,
            // the process that knew it has ended
            [] | [Fate::InDoubt] if !last_process => *open.entry(text).or_default() += 1,
            other => return Err(format!("message {id} ({text:?}) has the delivery status {other:?}")),
        }
    }
    if let Some((id, fate)) = fates.first_key_value() {
        return Err(format!("{id} was never sent, and has the delivery status {status:?}"));
    }
    let mut recorded: BTreeMap<&str, usize> = BTreeMap::new();
    for said in stage.record.iter().filter(|said| said.by_guest) {
        *recorded.entry(&said.text).or_default() += 1;
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
enum Fate {
    Delivered,
    Failed(FailureReason),
    InDoubt,
}

/// Each process emits each agent message once, in order.
fn agent(plan: &Plan, stage: &Stage) -> Result<(), String> {
    let told: Vec<_> = stage
        .heard
        .iter()
        .filter_map(|(process, event)| match event {
            Event::Message(message) => Some((*process, message)),
            _ => None,
        })
        .collect();
    // messages that the cloud sends out of order, or that could not be read at first, are emitted out of order
    let reordered = plan.faults.iter().any(|fault| fault.starts_with("reorder")) || was_unread(stage);
    for process in 0..=stage.process {
        let mut seen = BTreeSet::new();
        let mut newest = None;
        for (_, message) in told.iter().filter(|(other, _)| *other == process) {
            if !seen.insert(&message.id) {
                return Err(format!("{:?} was emitted twice", message.text));
            }
            if newest > Some(message.at) && !reordered {
                return Err(format!("{:?} was emitted after a later message", message.text));
            }
            newest = Some(message.at);
        }
    }
    let mut missing: Vec<&TranscriptEntry> = stage.record.iter().filter(|said| !said.by_guest).collect();
    for (_, message) in &told {
        let at = missing
            .iter()
            .position(|said| said.text == message.text && said.at == message.at);
        match at {
            Some(at) => drop(missing.remove(at)),
            // another process emitted it before
            None if stage.process > 0 => {}
            // the transcript was deleted with the session
            None if plan.ends != State::Configured => {}
            None => return Err(format!("{:?} was emitted, and never sent", message.text)),
        }
    }
    // a recovery reads 200 entries back: older ones stay unread, and the application was notified
    if was_unread(stage) && stage.record.len() > 200 {
        return Ok(());
    }
    // messages between two processes are not emitted by the next one
    match missing.first() {
        Some(said) if stage.process == 0 && plan.ends == State::Configured => {
            Err(format!("{:?} was sent, and never emitted", said.text))
        }
        _ => Ok(()),
    }
}

/// Whether the application was notified of a gap.
fn was_unread(stage: &Stage) -> bool {
    let mut events = stage.heard.iter();
    events.any(|(_, event)| matches!(event, Event::HistoryUnread { .. }))
}

fn last(stage: &Stage) -> Vec<&Event> {
    let from = stage.heard.len().saturating_sub(5);
    stage.heard[from..].iter().map(|(_, event)| event).collect()
}
