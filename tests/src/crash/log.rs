//! Load on a `FileLog`, and the check of its folder.

use std::collections::BTreeMap;
use std::path::Path;

use audit::files::{FileLogOptions, verify_file};
use audit::{Actor, Draft, Entry, FileLog, Value};
use time::OffsetDateTime;

use super::load::Refusal;
use super::protocol::Received;
use super::{Error, Findings, Load, signer};

/// Short segments, so that a child starts several.
const OPTIONS: FileLogOptions = FileLogOptions {
    checkpoint_every: 50,
    segment_bytes: 32 * 1024,
};

/// Texts of up to this length, so that a batch has several sectors.
const TEXT: usize = 1_500;

fn open(folder: &Path) -> Result<FileLog, Refusal> {
    let folder = folder.join("log");
    Ok(FileLog::open_with(&folder, signer(), OPTIONS)?)
}

/// Appends entries until the process is killed.
pub(super) fn load(load: &Load) -> Result<(), Error> {
    let log = match open(&load.folder) {
        Ok(log) => log,
        Err(refusal) => return load.print("open", Err(refusal)),
    };
    load.on_threads(|thread| append(load, thread, &log));
    Ok(())
}

fn append(load: &Load, thread: u64, log: &FileLog) -> Result<(), Error> {
    let mut random = load.random(thread);
    for number in 0..load.steps.unwrap_or(u64::MAX) {
        let unit = load.unit(thread, number);
        if random.u8(..20) == 0 {
            // not a unit; a refused one is followed by a refused unit
            let _note = log.checkpoint();
        }
        let text = "x".repeat(random.usize(..TEXT));
        let draft = Draft::new(OffsetDateTime::UNIX_EPOCH, Actor::system("load"), "thing.done")
            .detail("unit", unit.as_str())
            .detail("text", text);
        let outcome = log.append(&draft).map(Some).map_err(Refusal::from);
        load.print(&unit, outcome)?;
    }
    Ok(())
}

/// Opens and verifies the log.
pub(super) fn check(folder: &Path, received: &Received) -> Result<Findings, Error> {
    let log = open(folder).map_err(|refusal| format!("cannot open the log: {refusal:?}"))?;
    log.checkpoint()?;
    let mut findings = Findings {
        is_recovered: log.torn() > 0,
        ..Findings::default()
    };
    let report = verify_file(&folder.join("log"), log.verifier_key(), None)?;
    let found = units(&folder.join("log"))?;
    if (report.entries, report.covered) != (found.len() as u64, log.size()) {
        let fault = format!("{report:?} of {} entries", found.len());
        findings.incomplete.push(fault);
    }
    findings.compare(received, &found);
    Ok(findings)
}

/// The sequence number of each unit.
fn units(folder: &Path) -> Result<BTreeMap<String, u64>, Error> {
    let mut units = BTreeMap::new();
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let text = std::fs::read_to_string(path)?;
        for line in text.trim_end_matches('\0').lines() {
            let Some((_, entry)) = line.split_once(r#"","entry":"#) else {
                continue;
            };
            let entry = Entry::parse(entry.strip_suffix('}').unwrap_or(entry).as_bytes())?;
            if let Some(Value::Text(unit)) = entry.draft.detail.get("unit") {
                units.insert(unit.clone(), entry.seq);
            }
        }
    }
    Ok(units)
}
