//! The check of a store after a restart: the log describes what the tables, the outbox and the totals hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use audit::Entry;
use guest_store::{
    Change, EntryQuery, Pace, Payload, Session, SessionQuery, Settled, Settlement, SqliteStore, Stats,
    Store as _, verify,
};
use tokio::task::JoinSet;

use super::super::history::{Described, History};
use super::super::protocol::Received;
use super::super::{Error, Findings};
use super::{NOW, ORDERED, PAGE, WEBHOOKS, content, open, runtime};

/// Opens and verifies the store, and compares it with its log.
pub(in super::super) fn check(folder: &Path, received: &Received) -> Result<Findings, Error> {
    let log = folder.join("guest.db-wal");
    let mut findings = Findings {
        is_recovered: log.metadata().is_ok_and(|log| log.len() > 0),
        ..Findings::default()
    };
    let runtime = runtime()?;
    let store = open(folder).map_err(|refusal| format!("cannot open the store: {refusal:?}"))?;
    let (history, stats) = runtime.block_on(compare(&store, &mut findings))?;
    let units = history.units.iter();
    let units = units.map(|(unit, logged)| (unit.clone(), logged.first)).collect();
    findings.compare(received, &units);
    drop(store);
    // the outbox is read by emptying it, in a copy
    let copy = tempfile::tempdir()?;
    fs::copy(folder.join("guest.db"), copy.path().join("guest.db"))?;
    let store = open(copy.path()).map_err(|refusal| format!("cannot open the copy: {refusal:?}"))?;
    let outbox = runtime.block_on(Outbox::drain(store.into()))?;
    outbox.compare(&history, &stats, &mut findings.incomplete);
    findings.incomplete.extend(outbox.out_of_order);
    for (content, id) in outbox.ids {
        let earlier = received.sent.get(&content).into_iter().flatten();
        let others = earlier.filter(|earlier| **earlier != id);
        let others = others.map(|other| format!("event {content} has the id {id}, and was sent as {other}"));
        findings.incomplete.extend(others);
    }
    let several = received.sent.iter().filter(|(_, ids)| ids.len() > 1);
    let several = several.map(|(content, ids)| format!("event {content} was sent as {ids:?}"));
    findings.incomplete.extend(several);
    Ok(findings)
}

async fn compare(store: &SqliteStore, findings: &mut Findings) -> Result<(History, Stats), Error> {
    let incomplete = &mut findings.incomplete;
    if let Err(error) = verify(store, |_| ()).await {
        incomplete.push(format!("{error:?}"));
    }
    let history = history(store).await?;
    let partial = history
        .units
        .iter()
        .filter(|(_, logged)| logged.found != logged.parts);
    incomplete.extend(partial.map(|(unit, logged)| format!("unit {unit}: {logged:?}")));

    let mut sessions = BTreeMap::new();
    for session in all_sessions(store).await? {
        sessions.insert(session.id.to_string(), described(store, &session).await?);
    }
    for id in sessions
        .keys()
        .chain(history.sessions.keys())
        .collect::<BTreeSet<_>>()
    {
        let (stored, logged) = (sessions.get(id), history.sessions.get(id));
        if stored != logged {
            incomplete.push(format!("session {id}: stored {stored:?}, logged {logged:?}"));
        }
    }
    let stats = store.stats().await?;
    if stats.totals != history.totals {
        incomplete.push(format!("totals {:?}, logged {:?}", stats.totals, history.totals));
    }
    let live = sessions.values().filter(|session| !session.has_ended).count() as u64;
    if stats.live_sessions != live {
        incomplete.push(format!("{} live sessions counted of {live}", stats.live_sessions));
    }
    Ok((history, stats))
}

async fn history(store: &SqliteStore) -> Result<History, Error> {
    let (mut history, mut next) = (History::default(), 0);
    loop {
        let page = store.entries(EntryQuery::From(next), PAGE).await?;
        if page.is_empty() {
            return Ok(history);
        }
        next += page.len() as u64;
        for entry in page {
            history.add(&Entry::parse(&entry.bytes)?)?;
        }
    }
}

async fn all_sessions(store: &SqliteStore) -> Result<Vec<Session>, Error> {
    let mut sessions: Vec<Session> = Vec::new();
    loop {
        let after = sessions.last().map(|session| session.id.clone());
        let page = store.sessions(SessionQuery::All(after), PAGE).await?;
        if page.is_empty() {
            return Ok(sessions);
        }
        sessions.extend(page);
    }
}

async fn described(store: &SqliteStore, session: &Session) -> Result<Described, Error> {
    let (mut entries, mut before) = (0, None);
    loop {
        let subject = session.pseudonym();
        let page = store
            .entries(EntryQuery::OfSubject { subject, before }, PAGE)
            .await?;
        before = page.last().map(|entry| entry.seq);
        entries += page.len();
        if before.is_none() {
            break;
        }
    }
    let document = String::from_utf8_lossy(&session.document);
    Ok(Described {
        version: session.version,
        has_ended: session.ended_at.is_some(),
        unit: document.split(' ').next().unwrap_or_default().to_owned(),
        entries,
    })
}

/// The deliveries that are pending.
#[derive(Debug, Default)]
struct Outbox {
    /// By webhook, session and sequence number.
    events: BTreeSet<(String, String, u64)>,
    /// The ids of the events.
    ids: BTreeMap<String, String>,
    snapshots: BTreeMap<(String, String), BTreeSet<u64>>,
    erasures: BTreeMap<(String, String), BTreeSet<u64>>,
    out_of_order: Vec<String>,
}

impl Outbox {
    /// Settles everything as delivered.
    async fn drain(store: Arc<SqliteStore>) -> Result<Self, Error> {
        let mut outbox = Self::default();
        let mut settling = JoinSet::new();
        loop {
            let leased = store
                .lease_deliveries(NOW, Duration::from_secs(60), PAGE)
                .await?
                .deliveries;
            if leased.is_empty() {
                return Ok(outbox);
            }
            for delivery in leased {
                let webhook = delivery.webhook.id.to_string();
                outbox
                    .ids
                    .extend(content(&delivery).map(|content| (content, delivery.id.clone())));
                match delivery.payload {
                    Payload::Event {
                        session, sequence, ..
                    } => {
                        let event = (webhook, session.to_string(), sequence);
                        let later = (event.0.clone(), event.1.clone(), u64::MAX);
                        if event.0 == ORDERED && outbox.events.range(&event..&later).next().is_some() {
                            outbox
                                .out_of_order
                                .push(format!("event {event:?} is sent after a later one"));
                        }
                        outbox.events.insert(event);
                    }
                    Payload::Erased { session, range } => {
                        outbox
                            .erasures
                            .insert((webhook, session.to_string()), range.collect());
                    }
                    Payload::Snapshot { session, range } => {
                        outbox
                            .snapshots
                            .insert((webhook, session.to_string()), range.collect());
                    }
                }
                let settlement = Settlement {
                    delivery: delivery.id,
                    fence: delivery.fence,
                    at: NOW,
                    settled: Settled::Delivered,
                    pace: Pace::Same,
                    rest_until: None,
                    disable_webhook: false,
                    attempt: None,
                };
                let store = Arc::clone(&store);
                settling.spawn(async move { store.commit(Change::Settle(settlement).into()).await });
            }
            while let Some(settled) = settling.join_next().await {
                settled??;
            }
        }
    }

    /// Adds what differs from the log: each event is pending, delivered, or in a range that is pending or delivered.
    fn compare(&self, history: &History, stats: &Stats, incomplete: &mut Vec<String>) {
        let counted = (stats.outbox_pending, stats.snapshots_pending);
        let found = (
            self.events.len() as u64,
            (self.snapshots.len() + self.erasures.len()) as u64,
        );
        if counted != found {
            incomplete.push(format!("{counted:?} deliveries counted of {found:?}"));
        }
        for (webhook, session, sequence) in &self.events {
            let version = history.sessions.get(session).map_or(0, |session| session.version);
            let is_settled = history
                .settled
                .contains(&(webhook.clone(), session.clone(), *sequence));
            if *sequence > version || is_settled {
                incomplete.push(format!(
                    "event {sequence} of session {session} is pending for {webhook}: version {version}, settled: {is_settled}"
                ));
            }
        }
        for (webhook, session) in self.snapshots.keys() {
            if !history.sessions.contains_key(session) {
                incomplete.push(format!(
                    "a snapshot of session {session} is pending for {webhook}"
                ));
            }
        }
        for (webhook, session) in self.erasures.keys() {
            if !history.erased.contains_key(session) {
                incomplete.push(format!(
                    "an erasure of session {session} is pending for {webhook}"
                ));
            }
        }
        let stored = history.sessions.iter().map(|(id, session)| (id, session.version));
        for (id, last) in stored.chain(history.erased.iter().map(|(id, last)| (id, *last))) {
            for webhook in WEBHOOKS {
                self.compare_session(history, webhook, id, last, incomplete);
            }
        }
    }

    fn compare_session(
        &self,
        history: &History,
        webhook: &str,
        id: &str,
        last: u64,
        incomplete: &mut Vec<String>,
    ) {
        let key = (webhook.to_owned(), id.to_owned());
        let ranges = [
            history.delivered.get(&key),
            self.snapshots.get(&key),
            self.erasures.get(&key),
        ];
        for sequence in 1..=last {
            let is_named = ranges.iter().flatten().any(|range| range.contains(&sequence));
            let is_pending = self
                .events
                .contains(&(webhook.to_owned(), id.to_owned(), sequence));
            if !is_named && !is_pending {
                incomplete.push(format!("event {sequence} of session {id} is lost for {webhook}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Load, Target};
    use super::*;

    /// Each change of a file after a load, with a part of what the check finds.
    const CHANGES: [(&str, &str); 9] = [
        ("", ""),
        ("DELETE FROM outbox WHERE kind = 0", "is lost for crm"),
        ("DELETE FROM outbox WHERE kind = 1", "is lost for"),
        (
            "UPDATE outbox SET waits = 0, due_at = at - last WHERE kind = 0",
            "is sent after a later one",
        ),
        ("UPDATE webhooks SET pending = pending + 1", "deliveries counted"),
        ("UPDATE sessions SET version = version + 1", "kind: Corrupt"),
        (
            "UPDATE counts SET value = value + 1 WHERE name = 'live_sessions'",
            "live sessions counted",
        ),
        (
            "UPDATE counts SET value = value + 1 WHERE name LIKE '%units'",
            "totals {",
        ),
        (
            "PRAGMA foreign_keys = OFF; DELETE FROM sessions WHERE rowid = 1",
            "stored None",
        ),
    ];

    /// An event that is pending in the file.
    fn pending(file: &Path) -> String {
        let copy = tempfile::tempdir().unwrap();
        fs::copy(file, copy.path().join("guest.db")).unwrap();
        let store = open(copy.path()).unwrap();
        let outbox = runtime().unwrap().block_on(Outbox::drain(store.into())).unwrap();
        outbox.ids.into_keys().next().unwrap()
    }

    #[test]
    fn check_finds_each_missing_part_of_a_unit() {
        let folder = tempfile::tempdir().unwrap();
        let load = Load {
            target: Target::Store,
            folder: folder.path().to_owned(),
            seed: 3,
            run: 0,
            steps: Some(80),
        };
        load.run().unwrap();
        let file = folder.path().join("guest.db");
        let sound = fs::read(&file).unwrap();
        for (sql, expected) in CHANGES {
            fs::write(&file, &sound).unwrap();
            rusqlite::Connection::open(&file)
                .unwrap()
                .execute_batch(sql)
                .unwrap();
            let found = match check(folder.path(), &Received::default()) {
                Ok(findings) => findings.incomplete,
                Err(error) => vec![format!("{error:?}")],
            };
            let is_found = found.iter().any(|fault| fault.contains(expected));
            assert_eq!(
                (is_found, found.is_empty()),
                (!sql.is_empty(), sql.is_empty()),
                "{sql}: {found:?}"
            );
        }
        fs::write(&file, &sound).unwrap();
        let mut received = Received::default();
        for line in [
            "stored 0-0-1 0",
            "stored 0-0-1 1",
            "stored 0-1-1",
            "refused 0-0-1 Full",
        ] {
            received.add(line).unwrap();
        }
        let found = check(folder.path(), &received).unwrap();
        assert_eq!(found.incomplete, ["unit 0-0-1 is stored although it was refused"]);
        assert_eq!(found.lost.len(), 2, "{found:?}");
        let pending = pending(&file);
        let mut received = Received::default();
        for (id, content) in [
            ("msg_1", &*pending),
            ("msg_1", "crm/s-1/1"),
            ("msg_2", "crm/s-1/1"),
        ] {
            received.add(&format!("leased {id} {content}")).unwrap();
        }
        let found = check(folder.path(), &received).unwrap().incomplete;
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].starts_with(&format!("event {pending} has the id "))
                && found[0].ends_with(", and was sent as msg_1")
        );
        assert_eq!(found[1], r#"event crm/s-1/1 was sent as {"msg_1", "msg_2"}"#);
    }
}
