//! Random requests to a store, compared with a model that is too simple to be wrong.

mod deliveries;
mod request;

use std::collections::BTreeMap;
use std::time::Duration;

use genesys_api::WebhookId;
use proptest::test_runner::{Config, TestRunner};

use request::{Changed, Request, request};

use super::Make;
use super::samples::{at, attempt, draft, event, session, webhook};
use crate::outbox::event_id;
use crate::{
    Change, Conflict, Leased, Limits, Pace, SessionQuery, Settled, Settlement, Stats, Store, StoreErrorKind,
    Unit, verify,
};

/// The store answers random requests as the model does.
pub(crate) fn store_behaves_like_model(make: Make) {
    let config = Config {
        cases: 96,
        failure_persistence: None,
        ..Config::default()
    };
    let requests = proptest::collection::vec(request(), 1..120);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let result = TestRunner::new(config).run(&requests, |requests| {
        let fixture = make(LIMITS);
        runtime.block_on(compare(&*fixture.store, requests));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

const LIMITS: Limits = Limits {
    leases: 256,
    webhook_deliveries: 3,
    file_bytes: u64::MAX,
    webhook_queue_rows: 3,
    owner_leases: 64,
    owner_requests: 2,
    owner_webhooks: 2,
    webhook_leases: 16,
    webhooks: 3,
    queue: 4,
};

#[derive(Clone, Default)]
struct Model {
    now: i64,
    /// Guest, whether it ended, version.
    sessions: BTreeMap<u8, (u8, bool, u64)>,
    webhooks: BTreeMap<u8, Hook>,
    /// In the order of insertion.
    outbox: Vec<Delivery>,
    /// The last sequence number of an event.
    sequence: u64,
    entries: u64,
}

#[derive(Clone, Default)]
struct Hook {
    name: u8,
    is_on: bool,
    is_ordered: bool,
    version: u64,
    failing_since: Option<i64>,
    failures: u32,
    rest_until: Option<i64>,
    last_turn: Option<i64>,
}

#[derive(Clone, Debug)]
struct Delivery {
    /// Of a snapshot or an erasure: empty before its first lease.
    id: String,
    webhook: u8,
    session: String,
    kind: Kind,
    range: (u64, u64),
    at: i64,
    /// `None` of what waits for a success, and of an event that waits for another one.
    due: Option<i64>,
    /// Whether it waits for an event of its session.
    waits: bool,
    is_leased: bool,
    fence: u64,
    attempt: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Erasure,
    Event,
    Snapshot,
}

async fn compare(store: &dyn Store, requests: Vec<Request>) {
    let mut model = Model::default();
    for (id, owner) in [(LASTING, "o"), (OTHERS, "p")] {
        let mut ended = session(id, owner, id);
        ended.ended_at = Some(at(0));
        let creation = Unit::from(Change::CreateSession(ended));
        store.commit(creation).await.expect("it is stored");
    }
    let mut leases: Vec<Leased> = Vec::new();
    for request in requests {
        let text = format!("{request:?}");
        match request {
            Request::Advance(seconds) => model.now += seconds,
            Request::Checkpoint => {
                assert_eq!(store.checkpoint().await.expect("signable").size, model.entries);
            }
            Request::Commit {
                change,
                entries,
                events,
            } => {
                let unit = model.unit(change.as_ref(), entries, &events);
                let mut next = model.clone();
                let expected = next.commit(change, entries, &events);
                let found = store.commit(unit).await;
                let found = found.map(|committed| {
                    let sent = [committed.deliveries, committed.overflowed];
                    (committed.version, committed.entries.end, sent)
                });
                assert_eq!(found.map_err(|error| error.kind()), expected, "{text}");
                if expected.is_ok() {
                    model = next;
                }
            }
            Request::Lease { limit, seconds } => {
                let lease = Duration::from_secs(seconds);
                let leased = store.lease_deliveries(at(model.now), lease, limit).await;
                let leased = leased.expect("leasable");
                model.lease(&leased.deliveries, limit, seconds);
                if limit > 0 {
                    assert_eq!(leased.next_due, model.next_due().map(at), "{text}");
                }
                leases.extend(leased.deliveries);
            }
            Request::Settle {
                which,
                settled,
                rest,
                disable,
            } => {
                let Some(lease) = leases.iter().rev().nth(which) else {
                    continue;
                };
                let settled = match settled {
                    0 => Settled::Delivered,
                    1 => Settled::RetryAt(at(model.now + 50)),
                    2 => Settled::NotSent(at(model.now + 50)),
                    3 => Settled::Dead,
                    _ => Settled::Unwanted,
                };
                let settlement = Settlement {
                    pace: Pace::Same,
                    delivery: lease.id.clone(),
                    fence: lease.fence,
                    at: at(model.now),
                    settled,
                    rest_until: rest.map(|seconds| at(model.now + seconds)),
                    disable_webhook: disable,
                    attempt: Some(attempt(model.now)),
                };
                let unit = Unit {
                    entries: vec![draft("g")],
                    ..Change::Settle(settlement).into()
                };
                let found = store.commit(unit).await.map(drop);
                let expected = model.settle(lease, settled, rest, disable);
                assert_eq!(found.map_err(|error| error.kind()), expected, "{text}");
            }
        }
        model.compare(store, &text).await;
    }
    verify(store, |_| ()).await.expect("the log verifies");
}

impl Model {
    fn unit(&self, change: Option<&Changed>, entries: u8, events: &[u8]) -> Unit {
        let removed = removed(change);
        let stored = |id: u8, stale: bool| {
            self.sessions.get(&id).map_or(0, |(.., version)| *version) + u64::from(stale)
        };
        let change = change.map(|change| match *change {
            Changed::CreateSession { id, guest } => {
                Change::CreateSession(session(&id.to_string(), "o", &guest.to_string()))
            }
            Changed::UpdateSession {
                id,
                guest,
                stale,
                ends,
            } => {
                let mut session = session(&id.to_string(), "o", &guest.to_string());
                session.version = stored(id, stale);
                session.ended_at = ends.then_some(at(self.now));
                Change::UpdateSession(session)
            }
            Changed::RemoveSession { id } => removal(&id.to_string(), self.now),
            Changed::PutWebhook {
                id,
                name,
                stale,
                enabled,
                ordered,
            } => {
                let mut webhook = webhook(&id.to_string(), owner(id), &name.to_string(), &["created"]);
                (webhook.enabled, webhook.ordered) = (enabled, ordered);
                webhook.version =
                    self.webhooks.get(&id).map_or(0, |stored| stored.version) + u64::from(stale);
                Change::PutWebhook(webhook)
            }
            Changed::RemoveWebhook { id } => Change::RemoveWebhook(webhook_id(id)),
        });
        let events = events.iter().zip(self.sequence + 1..).map(|(id, sequence)| {
            let mut event = event(&id.to_string(), owner(*id), "created");
            event.session = self.session_of(*id, removed).parse().expect("a valid id");
            event.sequence = sequence;
            event.at = at(self.now);
            event
        });
        Unit {
            change,
            entries: (0..entries).map(|_| draft("g")).collect(),
            events: events.collect(),
            ..Unit::default()
        }
    }

    fn commit(
        &mut self,
        change: Option<Changed>,
        entries: u8,
        events: &[u8],
    ) -> Result<(Option<u64>, u64, [usize; 2]), StoreErrorKind> {
        let sessions: Vec<_> = events
            .iter()
            .map(|id| self.session_of(*id, removed(change.as_ref())))
            .collect();
        let version = change.map_or(Ok(None), |change| self.change(change))?;
        let (mut queued, mut overflowed) = (0, 0);
        for (id, session) in events.iter().zip(sessions) {
            self.sequence += 1;
            let subscribed = self.webhooks.keys().copied();
            for webhook in subscribed
                .filter(|webhook| owner(*webhook) == owner(*id))
                .collect::<Vec<_>>()
            {
                let delivery = event_id(&webhook.to_string(), &id.to_string());
                if self.outbox.iter().any(|other| other.id == delivery) {
                    return Err(StoreErrorKind::Conflict(Conflict::EventIdInUse));
                }
                match self.queue_event(webhook, delivery, session.clone()) {
                    true => queued += 1,
                    false => overflowed += 1,
                }
            }
        }
        self.entries += u64::from(entries);
        Ok((version, self.entries, [queued, overflowed]))
    }

    fn change(&mut self, change: Changed) -> Result<Option<u64>, StoreErrorKind> {
        let conflict = |conflict| Err(StoreErrorKind::Conflict(conflict));
        match change {
            Changed::CreateSession { id, guest } => {
                if self.sessions.contains_key(&id) {
                    return conflict(Conflict::IdInUse);
                }
                self.put_session(id, (guest, false, 1))
            }
            Changed::UpdateSession {
                id,
                guest,
                stale,
                ends,
            } => {
                let Some((.., version)) = self.sessions.get(&id).copied() else {
                    return Err(StoreErrorKind::NotFound);
                };
                if stale {
                    return conflict(Conflict::VersionChanged);
                }
                self.put_session(id, (guest, ends, version + 1))
            }
            Changed::RemoveSession { id } => {
                let (.., version) = self.sessions.remove(&id).ok_or(StoreErrorKind::NotFound)?;
                self.announce_erasure(&id.to_string(), version + 1);
                Ok(None)
            }
            Changed::PutWebhook {
                id,
                name,
                stale,
                enabled,
                ordered,
            } => {
                let stored = self.webhooks.get(&id).cloned().unwrap_or_default();
                let own = || {
                    self.webhooks
                        .iter()
                        .filter(|(other, _)| owner(**other) == owner(id))
                };
                match (stored.version, stale) {
                    (0, true) => return Err(StoreErrorKind::NotFound),
                    (_, true) => return conflict(Conflict::VersionChanged),
                    (0, false)
                        if self.webhooks.len() as u64 >= LIMITS.webhooks
                            || own().count() as u64 >= LIMITS.owner_webhooks =>
                    {
                        return Err(StoreErrorKind::TooManyWebhooks);
                    }
                    _ => {}
                }
                if own().any(|(other, stored)| *other != id && stored.name == name) {
                    return conflict(Conflict::WebhookNameInUse);
                }
                let mut put = Hook {
                    name,
                    is_on: enabled,
                    is_ordered: ordered,
                    version: stored.version + 1,
                    ..stored.clone()
                };
                if enabled && !stored.is_on {
                    (put.failing_since, put.failures, put.rest_until) = (None, 0, None);
                }
                self.webhooks.insert(id, put);
                if stored.is_ordered != ordered {
                    self.set_order(id);
                }
                match (stored.is_on, enabled) {
                    (false, true) => self.resume(id),
                    (true, true) => self.release(id),
                    (_, false) => {}
                }
                Ok(Some(stored.version + 1))
            }
            Changed::RemoveWebhook { id } => {
                self.outbox.retain(|delivery| delivery.webhook != id);
                self.webhooks
                    .remove(&id)
                    .map(|_| None)
                    .ok_or(StoreErrorKind::NotFound)
            }
        }
    }

    fn put_session(&mut self, id: u8, new: (u8, bool, u64)) -> Result<Option<u64>, StoreErrorKind> {
        let taken = |(other, stored): (&u8, &(u8, bool, u64))| *other != id && stored.0 == new.0 && !stored.1;
        if !new.1 && self.sessions.iter().any(taken) {
            return Err(StoreErrorKind::Conflict(Conflict::GuestInUse));
        }
        self.sessions.insert(id, new);
        Ok(Some(new.2))
    }

    /// Session of an event: one that is stored, also after the unit.
    fn session_of(&self, event: u8, removed: Option<u8>) -> String {
        let id = event / 2 % 3;
        match owner(event) {
            "o" if self.sessions.contains_key(&id) && removed != Some(id) => id.to_string(),
            "o" => LASTING.to_owned(),
            _ => OTHERS.to_owned(),
        }
    }

    fn next_due(&self) -> Option<i64> {
        let due = self.outbox.iter().filter_map(|delivery| {
            let webhook = self.webhooks.get(&delivery.webhook)?;
            let due = delivery.due.filter(|_| webhook.is_on && !delivery.waits)?;
            Some(webhook.rest_until.map_or(due, |until| due.max(until)))
        });
        due.min()
    }

    fn stats(&self) -> Stats {
        let mut stats = Stats {
            oldest_end: Some(at(0)),
            live_sessions: self.sessions.values().filter(|(_, ended, _)| !ended).count() as u64,
            outbox_oldest: self.outbox.iter().map(|delivery| at(delivery.at)).min(),
            audit_entries: self.entries,
            ..Stats::default()
        };
        for delivery in &self.outbox {
            let queue = stats.queues.entry(webhook_id(delivery.webhook)).or_default();
            queue.oldest = queue.oldest.into_iter().chain([at(delivery.at)]).min();
            match delivery.kind {
                Kind::Event => {
                    queue.pending += 1;
                    stats.outbox_pending += 1;
                }
                Kind::Erasure | Kind::Snapshot => {
                    queue.snapshots += 1;
                    stats.snapshots_pending += 1;
                }
            }
        }
        stats
    }

    async fn compare(&self, store: &dyn Store, after: &str) {
        assert_eq!(
            Stats {
                // another test covers the log of deliveries
                oldest_attempt: None,
                ..store.stats().await.expect("readable")
            },
            self.stats(),
            "after {after}"
        );
        let all = SessionQuery::All(None);
        let sessions = store.sessions(all, 100).await.expect("readable");
        let mut sessions: Vec<_> = sessions
            .iter()
            .filter(|session| ![LASTING, OTHERS].contains(&session.id.as_str()))
            .map(|session| {
                (
                    session.id.to_string(),
                    session.guest.to_string(),
                    session.ended_at.is_some(),
                    session.version,
                )
            })
            .collect();
        sessions.sort_unstable();
        let expected = self.sessions.iter();
        let expected: Vec<_> = expected
            .map(|(id, (guest, ended, version))| (id.to_string(), guest.to_string(), *ended, *version))
            .collect();
        assert_eq!(sessions, expected, "after {after}");
        let webhooks = store.webhooks().await.expect("readable");
        let webhooks: Vec<_> = webhooks
            .iter()
            .map(|webhook| {
                (
                    webhook.id.to_string(),
                    (webhook.enabled, webhook.version),
                    (webhook.failing_since, webhook.failures, webhook.rest_until),
                )
            })
            .collect();
        let expected = self.webhooks.iter();
        let expected: Vec<_> = expected
            .map(|(id, hook)| {
                (
                    id.to_string(),
                    (hook.is_on, hook.version),
                    (hook.failing_since.map(at), hook.failures, hook.rest_until.map(at)),
                )
            })
            .collect();
        assert_eq!(webhooks, expected, "after {after}");
        self.compare_queues(store, after).await;
    }
}

/// Owner of a webhook or an event.
fn owner(id: u8) -> &'static str {
    if id.is_multiple_of(2) { "o" } else { "p" }
}

/// The id of a session that is removed.
fn removed(change: Option<&Changed>) -> Option<u8> {
    match change {
        Some(Changed::RemoveSession { id }) => Some(*id),
        _ => None,
    }
}

/// A session of the first owner that is never removed.
const LASTING: &str = "lasting";
/// The session of the second owner.
const OTHERS: &str = "others";

fn removal(session: &str, now: i64) -> Change {
    Change::RemoveSession {
        id: session.parse().expect("a valid id"),
        at: at(now),
    }
}

fn webhook_id(id: u8) -> WebhookId {
    id.to_string().parse().expect("a valid id")
}
