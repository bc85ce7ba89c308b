//! A thread of the load: sessions are created, changed, ended and erased, and deliveries are settled.

use std::time::Duration;

use audit::{Actor, Draft};
use genesys_api::{ChannelId, GuestId};
use guest_store::{
    Change, Committed, Event, Pace, Payload, Session, Settled, Settlement, SqliteStore, Store as _,
    StoreError, StoreErrorKind, Unit,
};
use tokio::runtime::Runtime;

use super::super::load::Refusal;
use super::super::protocol::Line;
use super::super::{Error, Load};
use super::{NOW, OWNER, content, runtime};

/// Sessions of a writer. Fewer are created again.
const SESSIONS: usize = 5;
/// Longest document, so that a transaction has several pages.
const DOCUMENT: usize = 6_000;

pub(super) struct Writer<'l> {
    load: &'l Load,
    thread: u64,
    store: &'l SqliteStore,
    /// The stored sessions that no other writer changes.
    sessions: Vec<Session>,
    random: fastrand::Rng,
    runtime: Runtime,
    /// Units so far.
    number: u64,
}

impl<'l> Writer<'l> {
    pub(super) fn new(
        load: &'l Load,
        thread: u64,
        store: &'l SqliteStore,
        sessions: Vec<Session>,
    ) -> Result<Self, Error> {
        Ok(Self {
            load,
            thread,
            store,
            sessions,
            random: load.random(thread),
            runtime: runtime()?,
            number: 0,
        })
    }

    pub(super) fn run(mut self) -> Result<(), Error> {
        while self.load.steps.is_none_or(|steps| self.number < steps) {
            if self.random.u8(..4) == 0 {
                self.deliver()?;
            } else if self.sessions.len() < SESSIONS {
                self.create()?;
            } else {
                self.change()?;
            }
        }
        Ok(())
    }

    fn next_unit(&mut self) -> String {
        self.number += 1;
        self.load.unit(self.thread, self.number)
    }

    fn create(&mut self) -> Result<(), Error> {
        let unit = self.next_unit();
        let guest = format!("guest-{unit}").parse::<GuestId>()?;
        let mut session = Session::new(OWNER, guest, "channel".parse::<ChannelId>()?, NOW);
        session.document = self.document(&unit).into();
        if let Some(version) = self.commit(&unit, "created", &session)? {
            session.version = version;
            self.sessions.push(session);
        }
        Ok(())
    }

    fn change(&mut self) -> Result<(), Error> {
        let unit = self.next_unit();
        let place = self.random.usize(..self.sessions.len());
        let mut session = self.sessions[place].clone();
        if session.ended_at.is_some() {
            if self.commit(&unit, "erased", &session)?.is_some() {
                self.sessions.swap_remove(place);
            }
            return Ok(());
        }
        let action = match self.random.u8(..6) {
            0 => "ended",
            1 | 2 => "withdrawn",
            _ => "changed",
        };
        session.ended_at = (action == "ended").then_some(NOW);
        session.document = self.document(&unit).into();
        if let Some(version) = self.commit(&unit, action, &session)? {
            session.version = version;
            self.sessions[place] = session;
        }
        Ok(())
    }

    /// The unit, and some text.
    fn document(&mut self, unit: &str) -> String {
        format!("{unit} {}", "x".repeat(self.random.usize(..DOCUMENT)))
    }

    /// Commits a change with its entries, its event and its totals. Returns the new version, 0 of an erased session,
    /// unless the unit is refused.
    fn commit(&mut self, unit: &str, action: &'static str, session: &Session) -> Result<Option<u64>, Error> {
        let version = session.version + 1;
        let parts = self.random.u64(1..=3);
        let entries = (0..parts).map(|part| {
            Draft::new(NOW, Actor::system("load"), format!("session.{action}"))
                .subject(session.pseudonym())
                .detail("unit", unit)
                .detail("session", session.id.as_str())
                .detail("version", version)
                .detail("part", part)
                .detail("parts", parts)
        });
        let event = Event {
            id: unit.to_owned(),
            owner: OWNER.to_owned(),
            session: session.id.clone(),
            sequence: version,
            name: action.to_owned(),
            at: NOW,
        };
        let change = match action {
            "created" => Change::CreateSession(session.clone()),
            "erased" => Change::RemoveSession {
                id: session.id.clone(),
                at: NOW,
            },
            _ => Change::UpdateSession(session.clone()),
        };
        let committed = self.runtime.block_on(self.store.commit(Unit {
            change: Some(change),
            entries: entries.collect(),
            // the store announces an erasure by itself
            events: if action == "erased" {
                Vec::new()
            } else {
                vec![event]
            },
            totals: vec![("units".to_owned(), 1), (action.to_owned(), 1)],
            ..Unit::default()
        }));
        let version = committed
            .as_ref()
            .ok()
            .map(|committed| committed.version.unwrap_or(0));
        let outcome = committed.map(|committed| Some(committed.entries.start));
        self.load.print(unit, outcome.map_err(Refusal::from))?;
        Ok(version)
    }

    /// Leases deliveries, and settles most of them.
    fn deliver(&mut self) -> Result<(), Error> {
        let lease = self
            .store
            .lease_deliveries(NOW, Duration::from_secs(60), self.random.usize(1..4));
        let leased = match self.runtime.block_on(lease) {
            Ok(leased) => leased.deliveries,
            Err(error) => {
                let unit = self.next_unit();
                return self.load.print(&unit, Err(error.into()));
            }
        };
        for delivery in leased {
            if let Some(content) = content(&delivery) {
                let id = delivery.id.clone();
                Line::Leased { id, content }.print();
            }
            let (settled, outcome) = match self.random.u8(..10) {
                0 => continue,
                1 => (Settled::Dead, "dead"),
                2 => (Settled::RetryAt(NOW), "retry"),
                3 => (Settled::NotSent(NOW), "not-sent"),
                _ => (Settled::Delivered, "delivered"),
            };
            let unit = self.next_unit();
            let (session, range) = match &delivery.payload {
                Payload::Event {
                    session, sequence, ..
                } => (session.to_string(), *sequence..=*sequence),
                Payload::Erased { session, range } | Payload::Snapshot { session, range } => {
                    (session.to_string(), range.clone())
                }
            };
            let entry = Draft::new(NOW, Actor::system("load"), format!("delivery.{outcome}"))
                .detail("unit", unit.as_str())
                .detail("parts", 1_u64)
                .detail("webhook", delivery.webhook.id.as_str())
                .detail("session", session)
                .detail("is_event", matches!(delivery.payload, Payload::Event { .. }))
                .detail("first", *range.start())
                .detail("last", *range.end());
            let settlement = Settlement {
                delivery: delivery.id,
                fence: delivery.fence,
                at: NOW,
                settled,
                pace: Pace::Same,
                rest_until: None,
                disable_webhook: false,
                attempt: None,
            };
            let settled = Unit {
                entries: vec![entry],
                ..Change::Settle(settlement).into()
            };
            match self.runtime.block_on(self.store.commit(settled)) {
                // another writer removed the session
                Err(error) if error.kind() == StoreErrorKind::Fenced => {}
                outcome => self.print_settled(&unit, outcome)?,
            }
        }
        Ok(())
    }

    fn print_settled(&self, unit: &str, outcome: Result<Committed, StoreError>) -> Result<(), Error> {
        self.load
            .print(unit, outcome.map(|_| None).map_err(Refusal::from))
    }
}
