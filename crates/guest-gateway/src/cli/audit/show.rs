//! `audit show`: the entries of one session, for a person.

use audit::Entry;
use genesys_api::{SessionId, rfc3339};
use guest_sessions::client::{RestClient, calls};
use guest_store::{EntryQuery, Store, StoreErrorKind};
use guest_suite::AuditQuery;
use serde::Serialize;

use super::{Failure, open_store, print_line, record_export};
use crate::cli::remote::{Opened, Source, call};
use crate::config::READ;

pub(super) async fn run(source: &Source, session: &SessionId) -> Result<(), Failure> {
    let mut entries = match source.open(READ)? {
        Opened::Stopped(config) => {
            let (_, store) = open_store(config)?;
            record_export(&*store, "guest-gateway audit show", "audit.read").await?;
            stored(&*store, session).await?
        }
        Opened::Running(client) => fetched(&client, session).await?,
    };
    // both read the newest entry first
    entries.reverse();
    entries.iter().for_each(|entry| print_line(&line(entry)));
    Ok(())
}

async fn stored(store: &dyn Store, session: &SessionId) -> Result<Vec<Entry>, Failure> {
    let row = store.session(session).await.map_err(Failure::caused_by)?;
    let row = row.ok_or_else(|| {
        Failure::failed(format!(
            "cannot show {session}: no such session in the store; the entries of an erased one can no longer be linked to it"
        ))
    })?;
    let (subject, mut before, mut entries) = (row.pseudonym(), None, Vec::new());
    loop {
        let page = EntryQuery::OfSubject { subject, before };
        let page = store
            .entries(page, usize::MAX)
            .await
            .map_err(Failure::caused_by)?;
        let Some(last) = page.last() else {
            return Ok(entries);
        };
        before = Some(last.seq);
        for entry in page {
            let parsed = Entry::parse(&entry.bytes).map_err(|_| Failure::failed(StoreErrorKind::Corrupt))?;
            entries.push(parsed);
        }
    }
}

async fn fetched(client: &RestClient, session: &SessionId) -> Result<Vec<Entry>, Failure> {
    let mut entries = Vec::new();
    let mut query = AuditQuery {
        limit: AuditQuery::MAX_LIMIT,
        ..AuditQuery::default()
    };
    loop {
        let page = call(client, &calls::fetch_audit_trail(session, query)).await?;
        entries.extend(page.entries);
        query.before = page.next;
        if page.next.is_none() {
            return Ok(entries);
        }
    }
}

/// An entry as one line: number, time, action, outcome, actor, details as JSON. Control characters are escaped.
pub(super) fn line(entry: &Entry) -> String {
    let draft = &entry.draft;
    let (outcome, kind) = (word(&draft.outcome), word(&draft.actor.kind));
    let mut line = format!(
        "{} {} {} {} by {} {}",
        entry.seq,
        rfc3339(draft.at),
        draft.action,
        outcome,
        kind,
        draft.actor.id,
    );
    for (name, value) in &draft.detail {
        line.push_str(&format!(" {name}={}", json(value)));
    }
    let escape = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    line.chars().map(escape).collect()
}

/// The name of an outcome or of a kind of actor.
pub(super) fn word(value: &impl Serialize) -> String {
    json(value).trim_matches('"').to_owned()
}

pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("the parts of an entry are JSON")
}
