//! `audit verify`.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use audit::files::{FileErrorKind, verify_with};
use audit::{Checkpoint, Verifier, VerifierKey, WitnessKey};
use genesys_api::error_chain;

use super::{Failure, print_line};

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
    let against = against.map(|path| kept(path, &key)).transpose()?;
    let verifier = Verifier::new(key, against).with_witnesses(witnesses);
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let verified = verify_with(verifier, file, progress(length));
    let report = verified.map_err(|error| match error.kind() {
        FileErrorKind::NotALog | FileErrorKind::Read => Failure::usage(error_chain(&error)),
        _ => Failure::caused_by(error),
    })?;
    let (entries, covered, checkpoints) = (report.entries, report.covered, report.checkpoints);
    if covered < entries {
        return Err(Failure::failed(format!(
            "{}: {covered} entries verified, but not the {} after the last checkpoint: the file is truncated, since an \
             export ends with a checkpoint",
            file.display(),
            entries - covered
        )));
    }
    print_line(&format!(
        "{entries} entries verified against {checkpoints} signed checkpoints."
    ));
    for witness in &report.cosignatures {
        let (name, verified, covered) = (&witness.witness, witness.verified, witness.covered);
        print_line(&format!(
            "Witness {name}: {verified} cosignatures verified, over at most {covered} entries."
        ));
        if witness.unverified > 0 {
            let count = witness.unverified;
            print_line(&format!(
                "Witness {name}: {count} cosignatures unverified, give its key with --witness."
            ));
        }
    }
    Ok(())
}

/// Reads a checkpoint that was kept elsewhere.
fn kept(path: &Path, key: &VerifierKey) -> Result<Checkpoint, Failure> {
    let invalid = |why: String| Failure::usage(format!("invalid checkpoint {}: {why}", path.display()));
    let note = std::fs::read_to_string(path).map_err(|error| invalid(error.to_string()))?;
    // a file of several checkpoints ends with the newest one, and a copied one may lack its final line break
    let note = note.trim();
    let parts = note.rmatch_indices("\n\n").nth(1);
    let newest = parts.map_or(note, |(end, _)| &note[end + 2..]);
    key.open(&format!("{newest}\n"))
        .map_err(|error| invalid(error_chain(&error)))
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
