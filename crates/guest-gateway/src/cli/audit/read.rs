//! `audit export`, `audit tail` and `audit prove`: the log of a stopped or a running gateway.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use audit::{Entry, Line};
use genesys_api::{Clock, parse_rfc3339, rfc3339};
use guest_sessions::AuditLines;
use guest_sessions::client::{RestClient, calls};
use guest_store::{LogPage, LogTree, ProveError, Store};
use guest_suite::AuditQuery;
use serde::Deserialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::{Failure, Subject, create_export, open_store, print_line, record_export, show};
use crate::cli::remote::{Opened, Source, call};
use crate::cli::{Interrupt, counted, is_output_closed};
use crate::config::AUDIT;

/// Time between two requests of `tail`. Our choice.
const TAIL_INTERVAL: Duration = Duration::from_secs(2);

/// Parses the time of `--since`.
pub(super) fn time(text: &str) -> Result<OffsetDateTime, &'static str> {
    parse_rfc3339(text).ok_or("not a time of RFC 3339, such as 2026-11-22T12:30:00Z")
}

/// The log of a gateway.
enum Log {
    Stopped(Arc<dyn Store>),
    Running(RestClient),
}

impl Log {
    /// Opens the log. The read is audited: here if the gateway is stopped, else by the gateway.
    async fn open(source: &Source, command: &'static str, action: &'static str) -> Result<Self, Failure> {
        match source.open(AUDIT)? {
            Opened::Stopped(config) => {
                let (_, store) = open_store(config)?;
                record_export(&*store, command, action).await?;
                Ok(Self::Stopped(store))
            }
            Opened::Running(client) => Ok(Self::Running(client)),
        }
    }

    /// Signs the log. Returns the note and the number of entries under it.
    async fn checkpoint(&self) -> Result<(String, u64), Failure> {
        let note = match self {
            Self::Stopped(store) => store.checkpoint().await.map_err(Failure::caused_by)?.note,
            Self::Running(client) => call(client, &calls::fetch_audit_checkpoint(None)).await?,
        };
        let size = note.lines().nth(1).and_then(|size| size.parse().ok());
        let size =
            size.ok_or_else(|| Failure::failed("cannot read the checkpoint: the gateway sent another text"))?;
        Ok((note, size))
    }

    async fn page(&self, query: AuditQuery) -> Result<AuditLines<Vec<u8>>, Failure> {
        match self {
            Self::Stopped(store) => {
                let page = LogPage::read(&**store, query.from.unwrap_or(0), query.limit);
                let page = page.await.map_err(Failure::caused_by)?;
                Ok(AuditLines {
                    lines: page.lines(),
                    next: page.next,
                    more: !page.entries.is_empty(),
                })
            }
            Self::Running(client) => {
                let page = call(client, &calls::fetch_audit_entries(query)).await?;
                let lines = page
                    .lines
                    .iter()
                    .map(|line| [line.get().as_bytes(), b"\n"].concat());
                Ok(AuditLines {
                    lines: lines.collect(),
                    next: page.next,
                    more: page.more,
                })
            }
        }
    }
}

/// Format of an export.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    Csv,
    Jsonl,
}

pub(super) async fn export(
    source: &Source,
    out: &Path,
    format: Format,
    since: Option<OffsetDateTime>,
) -> Result<(), Failure> {
    let name = out.display();
    let mut file = create_export(out)?;
    let log = Log::open(source, "guest-gateway audit export", "audit.exported").await?;
    let (note, size) = log.checkpoint().await?;
    let is_whole = format == Format::Jsonl && since.is_none();
    if format == Format::Csv {
        file.write(CSV_HEADER).map_err(Failure::caused_by)?;
    }
    let (mut from, mut count, mut last) = (0, 0_u64, Vec::new());
    while from < size {
        let limit = usize::try_from(size - from).unwrap_or(AuditQuery::MAX_LIMIT);
        let page = log.page(page_from(from, limit, since)).await?;
        if page.next == from {
            break;
        }
        from = page.next;
        for line in page.lines {
            let entry = entry_of(&line)?.filter(|entry| since.is_none_or(|since| entry.draft.at >= since));
            count += u64::from(entry.is_some());
            let text = match (&entry, format) {
                (Some(entry), Format::Csv) => csv(entry).into_bytes(),
                (Some(_), Format::Jsonl) => line,
                (None, _) if is_whole => line,
                (None, _) => continue,
            };
            file.write(&text).map_err(Failure::caused_by)?;
            last = text;
        }
    }
    if from < size || is_whole && last != Line::Checkpoint(&note).to_bytes() {
        return Err(Failure::failed(format!(
            "cannot export the log: it ended before its checkpoint over {size} entries, try again"
        )));
    }
    file.finish().map_err(Failure::caused_by)?;
    let (note, count) = (note.trim_end(), counted(count, "entry", "entries"));
    print_line(&match is_whole {
        true => {
            format!("{count} exported to {name}.\nKeep this checkpoint on another machine:\n\n{note}")
        }
        false => format!(
            "{count} exported to {name}.\nThis export is partial or not in the form of the log, so it cannot be \
             verified as a whole: `audit prove` proves single entries."
        ),
    });
    Ok(())
}

/// Prints the last entries, or those since a time, and then each new one of a running gateway. A closed stdout ends it.
pub(super) async fn tail(source: &Source, lines: u64, since: Option<OffsetDateTime>) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    let clock = Clock::system();
    let log = Log::open(source, "guest-gateway audit tail", "audit.log_read").await?;
    let (_, size) = log.checkpoint().await?;
    let mut from = since.map_or(size.saturating_sub(lines), |_| 0);
    loop {
        let page = log.page(page_from(from, AuditQuery::MAX_LIMIT, since)).await?;
        from = page.next;
        for line in page.lines {
            let entry = entry_of(&line)?.filter(|entry| since.is_none_or(|since| entry.draft.at >= since));
            if let Some(entry) = entry {
                print_line(&show::line(&entry));
            }
        }
        if is_output_closed() {
            return Ok(());
        }
        if page.more {
            continue;
        }
        if let Log::Stopped(_) = log {
            return Ok(());
        }
        tokio::select! {
            () = clock.sleep(TAIL_INTERVAL) => {}
            () = interrupt.received() => return Ok(()),
        }
    }
}

/// Prints the proof that an entry is in the log, or that an older log is the beginning of it.
pub(super) async fn prove(source: &Source, subject: &Subject, size: Option<u64>) -> Result<(), Failure> {
    let log = Log::open(source, "guest-gateway audit prove", "audit.log_read").await?;
    // the arguments have one of them
    let (entry, old) = (subject.entry, subject.old.unwrap_or_default());
    let proof = match (&log, entry) {
        (Log::Running(client), Some(entry)) => call(client, &calls::fetch_audit_proof(entry, size))
            .await?
            .to_string(),
        (Log::Running(client), None) => call(client, &calls::fetch_audit_consistency(old, size))
            .await?
            .to_string(),
        (Log::Stopped(store), entry) => prove_stored(&**store, entry, old, size)
            .await
            .map_err(Failure::caused_by)?,
    };
    print_line(proof.trim_end());
    Ok(())
}

async fn prove_stored(
    store: &dyn Store,
    entry: Option<u64>,
    old: u64,
    size: Option<u64>,
) -> Result<String, ProveError> {
    let tree = LogTree::default();
    Ok(match entry {
        Some(entry) => tree.prove_entry(store, entry, size).await?.to_string(),
        None => tree.prove_prefix(store, old, size).await?.to_string(),
    })
}

fn page_from(from: u64, limit: usize, since: Option<OffsetDateTime>) -> AuditQuery {
    AuditQuery {
        limit: limit.min(AuditQuery::MAX_LIMIT),
        from: Some(from),
        since,
        ..AuditQuery::default()
    }
}

/// The entry of a line, or `None` for a checkpoint.
fn entry_of(line: &[u8]) -> Result<Option<Entry>, Failure> {
    #[derive(Deserialize)]
    struct Parts<'a> {
        #[serde(borrow)]
        entry: Option<&'a RawValue>,
    }
    let invalid = || Failure::failed("cannot read the log: a line is neither an entry nor a checkpoint");
    let parts: Parts<'_> = serde_json::from_slice(line).map_err(|_| invalid())?;
    let entry = parts.entry.map(|entry| Entry::parse(entry.get().as_bytes()));
    entry.transpose().map_err(|_| invalid())
}

const CSV_HEADER: &[u8] = b"seq,time,action,outcome,actor_type,actor,subject,detail\r\n";

/// A line of RFC 4180.
fn csv(entry: &Entry) -> String {
    let draft = &entry.draft;
    let fields = [
        entry.seq.to_string(),
        rfc3339(draft.at),
        draft.action.to_string(),
        show::word(&draft.outcome),
        show::word(&draft.actor.kind),
        draft.actor.id.clone(),
        draft
            .subject
            .map(|subject| subject.to_string())
            .unwrap_or_default(),
        show::json(&draft.detail),
    ];
    let quoted = fields.map(|field| format!("\"{}\"", field.replace('"', "\"\"")));
    quoted.join(",") + "\r\n"
}
