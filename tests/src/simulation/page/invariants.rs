//! Invariants at the end of a simulation of pages.

use std::collections::{BTreeMap, BTreeSet};

use guest_conversation::{DeliveryStatus, Event, MessageId};

use super::Run;
use super::pages::{Page, is_gap};
use crate::simulation::plan::Plan;

pub(super) fn check(plan: &Plan, run: &Run) -> Result<(), String> {
    if let Some(stop) = &run.gateway.failed {
        return Err(format!("the relay stopped: {stop:?}"));
    }
    let reordered = plan.faults.iter().any(|fault| fault.starts_with("reorder"));
    for (number, page) in run.pages.iter().enumerate() {
        let checked = agent(run, page, reordered).and_then(|()| guest(run, page));
        checked.map_err(|broken| format!("page {number}: {broken}"))?;
    }
    Ok(())
}

/// A page shows each message of the agent after its first handshake once, in order, except around a reported gap.
fn agent(run: &Run, page: &Page, reordered: bool) -> Result<(), String> {
    let mut shown = BTreeSet::new();
    for message in page.shown() {
        if !shown.insert(&message.id) {
            return Err(format!("{:?} is shown twice", message.text));
        }
    }
    // a later recovery may fill a reported gap: of the newest message before it, and the first one after it
    let (mut newest, mut gaps) = (None, Vec::new());
    for event in &page.events {
        if is_gap(event) {
            gaps.push((newest, None));
        } else if let Event::Message(message) = event {
            // a client of another epoch takes all that follow: a killed gateway replays from its stored read marker on, which
            // may be older than the first handshake of this page
            if run.gateway.starts > 1 && page.ready_at.is_some_and(|ready| message.at < ready) {
                continue;
            }
            let at = Some(message.at);
            let fills =
                |(after, before): &(_, Option<_>)| *after <= at && before.is_none_or(|before| at <= before);
            if at < newest && !gaps.iter().any(fills) && !reordered {
                return Err(format!("{:?} is shown after a later message", message.text));
            }
            for (_, before) in gaps
                .iter_mut()
                .filter(|(after, before)| before.is_none() && *after <= at)
            {
                *before = Some(at);
            }
            newest = newest.max(at);
        }
    }
    let texts: BTreeMap<(&str, time::OffsetDateTime), usize> = page
        .events
        .iter()
        .enumerate()
        .filter_map(|(at, event)| match event {
            Event::Message(message) => Some(((&*message.text, message.at), at)),
            _ => None,
        })
        .collect();
    let sent: Vec<_> = run
        .upstream
        .transcript
        .iter()
        .filter(|entry| !entry.by_guest)
        .collect();
    for (at, entry) in sent.iter().enumerate() {
        if texts.contains_key(&(&*entry.text, entry.at)) {
            continue;
        }
        if page.ready_at.is_none_or(|ready| entry.at < ready) {
            continue;
        }
        // a gap between the messages that are shown before and after it, or at the end
        let shown = |entry: &&genesys_sim::TranscriptEntry| texts.get(&(&*entry.text, entry.at)).copied();
        let previous = sent[..at].iter().filter_map(shown).max().unwrap_or(0);
        let next = sent[at..].iter().filter_map(shown).min();
        let events = &page.events[previous..next.unwrap_or(page.events.len()).max(previous)];
        if !events.iter().any(is_gap) {
            return Err(format!("{:?} is missing, and no gap is reported", entry.text));
        }
    }
    let known: BTreeSet<_> = sent.iter().map(|entry| (&*entry.text, entry.at)).collect();
    match texts.keys().find(|shown| !known.contains(shown)) {
        Some((text, _)) => Err(format!("{text:?} is shown, and was never sent")),
        None => Ok(()),
    }
}

/// Each message of the guest is in the transcript at most once, and as its status is.
fn guest(run: &Run, page: &Page) -> Result<(), String> {
    let mut statuses: BTreeMap<MessageId, &DeliveryStatus> = BTreeMap::new();
    for event in &page.events {
        if let Event::Delivery { id, status } = event {
            statuses.insert(*id, status);
        }
    }
    for (id, text) in &page.sent {
        let entries = run.upstream.transcript.iter();
        let count = entries
            .filter(|entry| entry.by_guest && entry.text == *text)
            .count();
        let fits = match statuses.get(id) {
            Some(DeliveryStatus::Delivered { .. }) => count == 1,
            Some(DeliveryStatus::Failed(_)) => count == 0,
            Some(DeliveryStatus::Unknown) => count <= 1,
            _ => false,
        };
        if !fits {
            return Err(format!(
                "{text:?} is {count} times in the transcript, with the status {:?}",
                statuses.get(id)
            ));
        }
    }
    Ok(())
}
