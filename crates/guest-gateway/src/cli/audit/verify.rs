//! `audit verify`.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use audit::files::{FileErrorKind, verify_with};
use audit::{Checkpoint, Verifier, VerifierKey, WitnessKey};
use genesys_api::error_chain;

use super::{Failure, print_line};
use crate::cli::counted;

pub(super) fn run(
    file: &Path,
    key: &str,
    against: Option<&Path>,
    witnesses: &[String],
) -> Result<(), Failure> {
    let key: VerifierKey = key
        .parse()
        .map_err(|error| Failure::usage(format!("invalid --key: {}", error_chain(&error))))?;
    let witnesses = witnesses.iter().map(|witness| {
        let key = witness.parse::<WitnessKey>();
        key.map_err(|error| Failure::usage(format!("invalid --witness {witness}: {}", error_chain(&error))))
    });
    let witnesses = witnesses.collect::<Result<Vec<_>, _>>()?;
    let name = file.display();
    if file.is_dir() {
        return Err(Failure::usage(format!(
            "cannot verify {name}: it is a directory, give the file of an export"
        )));
    }
    let against = against.map(|path| kept(path, &key)).transpose()?;
    let verifier = Verifier::new(key, None)
        .with_witnesses(witnesses)
        .with_checkpoints(against.unwrap_or_default());
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let verified = verify_with(verifier, file, progress(length));
    let report = verified.map_err(|error| match error.kind() {
        FileErrorKind::Unproved if error.failure().is_some_and(|failure| failure.entries > 0) => {
            Failure::usage(format!(
                "{name}: it has no checkpoint, as a partial export (--since): it cannot be verified, export the whole \
                 log, or prove single entries by `audit prove`"
            ))
        }
        FileErrorKind::NotALog | FileErrorKind::Read => Failure::usage(error_chain(&error)),
        _ => Failure::caused_by(error),
    })?;
    let (entries, covered, checkpoints) = (report.entries, report.covered, report.checkpoints);
    if covered < entries {
        return Err(Failure::failed(format!(
            "{name}: {} verified, but not the {} after the last checkpoint: the file is truncated, since an \
             export ends with a checkpoint",
            counted(covered, "entry", "entries"),
            entries - covered
        )));
    }
    print_line(&format!(
        "{} verified against {}.",
        counted(entries, "entry", "entries"),
        counted(checkpoints, "signed checkpoint", "signed checkpoints")
    ));
    for witness in &report.cosignatures {
        let (name, verified, covered) = (&witness.witness, witness.verified, witness.covered);
        print_line(&format!(
            "Witness {name}: {} verified, over at most {}.",
            counted(verified, "cosignature", "cosignatures"),
            counted(covered, "entry", "entries")
        ));
        if witness.unverified > 0 {
            let count = counted(witness.unverified, "cosignature", "cosignatures");
            print_line(&format!(
                "Witness {name}: {count} unverified, give its key with --witness."
            ));
        }
    }
    Ok(())
}

/// Reads the checkpoints of a file that was kept elsewhere.
fn kept(path: &Path, key: &VerifierKey) -> Result<Vec<Checkpoint>, Failure> {
    let invalid = |why: String| Failure::usage(format!("invalid checkpoint {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| invalid(error.to_string()))?;
    let opened = notes(&text).into_iter().zip(1..).map(|(note, number)| {
        let opened = key.open(&note);
        opened.map_err(|error| invalid(format!("note {number}: {}", error_chain(&error))))
    });
    let checkpoints = opened.collect::<Result<Vec<_>, _>>()?;
    match checkpoints.is_empty() {
        true => Err(invalid("the file has none".to_owned())),
        false => Ok(checkpoints),
    }
}

/// Splits the notes of a file, with or without empty lines between them. A copy may have CRLF line ends, a byte order
/// mark, and no final line break.
fn notes(text: &str) -> Vec<String> {
    let mut notes = Vec::new();
    let (mut note, mut is_signed) = (String::new(), false);
    for line in text.trim_start_matches('\u{feff}').lines() {
        let is_signature = line.starts_with("— ");
        if is_signed && !is_signature {
            notes.push(std::mem::take(&mut note));
        }
        is_signed = is_signature;
        if !(note.is_empty() && line.is_empty()) {
            note.push_str(line);
            note.push('\n');
        }
    }
    if !note.is_empty() {
        notes.push(note);
    }
    notes
}

/// Shows each percent of a long file on a terminal.
fn progress(length: u64) -> impl FnMut(u64) {
    const LONG: u64 = 16 * 1024 * 1024;
    let is_shown = length >= LONG && std::io::stderr().is_terminal();
    let mut shown = 0;
    move |read| {
        let percent = read.saturating_mul(100) / length.max(1);
        if is_shown && percent > shown {
            shown = percent;
            let end = if percent < 100 { "" } else { "\r\u{1b}[K" };
            let _ = write!(std::io::stderr(), "\r{percent} % verified{end}");
        }
    }
}
