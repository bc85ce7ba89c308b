//! The checks of one line that need no other line.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::checkpoint::Note;
use crate::entry::MAX_ENTRY;
use crate::export::Split;
use crate::witness::{self, Cosignature};
use crate::{Checkpoint, Hash, VerifierKey, WitnessKey, leaf_hash};

/// Maximum length of a line: an entry or a note, and JSON around it.
pub(crate) const MAX_LINE: usize = MAX_ENTRY + 2048;

/// Checks lines of the log of `key`.
#[derive(Clone, Debug)]
pub(crate) struct LineChecker {
    pub(crate) key: VerifierKey,
    pub(crate) witnesses: Vec<WitnessKey>,
}

/// A line after the checks that need no other line.
#[derive(Debug)]
pub(crate) enum CheckedLine {
    /// `None` if the key did not sign it.
    Checkpoint(Option<Checkpoint>, Vec<Cosignature>),
    Entry {
        /// The leaf hash in the line, if it is one.
        written: Option<Hash>,
        computed: Hash,
        head: Head,
    },
    Malformed,
    /// The beginning of a line, with its result as a whole line.
    Cut(Box<Self>),
    Empty,
}

/// The checked fields of an entry whose hash is correct. The others are proved by the hash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Head {
    Malformed,
    /// An entry of another log, with its sequence number.
    OtherLog(u64),
    Seq(u64),
}

impl LineChecker {
    /// Checks a line with or without its end, which is LF, or CRLF in a copy.
    pub(crate) fn check(&self, line: &[u8]) -> CheckedLine {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let checked = self.check_text(line);
        match is_cut(line) {
            true => CheckedLine::Cut(Box::new(checked)),
            false => checked,
        }
    }

    fn check_text(&self, line: &[u8]) -> CheckedLine {
        match Split::of(line).filter(|_| line.len() <= MAX_LINE) {
            Some(Split::Checkpoint(note)) => self.checkpoint(&note),
            Some(Split::Entry(written, entry)) => {
                let computed = leaf_hash(entry);
                let head = match written {
                    Some(written) if written == computed => self.head(entry),
                    _ => Head::Malformed,
                };
                CheckedLine::Entry {
                    written,
                    computed,
                    head,
                }
            }
            None if line.is_empty() => CheckedLine::Empty,
            None => CheckedLine::Malformed,
        }
    }

    fn checkpoint(&self, note: &str) -> CheckedLine {
        let note = Note::parse(note);
        let Some((note, checkpoint)) = note.and_then(|note| {
            let checkpoint = self.key.open_parsed(&note).ok()?;
            Some((note, checkpoint))
        }) else {
            return CheckedLine::Checkpoint(None, Vec::new());
        };
        let others = note.signatures.iter().filter(|line| !self.key.made(line));
        let cosignatures = others.map(|line| witness::check(&self.witnesses, &note, line));
        CheckedLine::Checkpoint(Some(checkpoint), cosignatures.collect())
    }

    fn head(&self, entry: &[u8]) -> Head {
        if let Some(seq) = self.seq_at_end(entry) {
            return Head::Seq(seq);
        }
        match serde_json::from_slice(entry) {
            Err(_) => Head::Malformed,
            Ok(EntryHead { log, seq }) if log != self.key.name() => Head::OtherLog(seq),
            Ok(EntryHead { seq, .. }) => Head::Seq(seq),
        }
    }

    /// The sequence number of an entry that ends as [`Draft::seal`](crate::Draft::seal) writes it, under the name of
    /// this log. Other entries are parsed as JSON, which takes longer.
    fn seq_at_end(&self, entry: &[u8]) -> Option<u64> {
        let rest = entry.strip_suffix(br#"","v":1}"#)?;
        let rest = without_last(rest, TIME_LENGTH)?.strip_suffix(br#","time":""#)?;
        let rest = match rest.strip_suffix(b"\"") {
            Some(rest) => without_last(rest, SUBJECT_LENGTH)?.strip_suffix(br#","subject":""#)?,
            None => rest,
        };
        let digits = rest.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let (rest, seq) = rest.split_at(rest.len() - digits);
        let rest = rest.strip_suffix(br#"","seq":"#)?;
        let rest = [&b"ok"[..], b"denied", b"error"]
            .into_iter()
            .find_map(|outcome| rest.strip_suffix(outcome))?;
        let rest = rest.strip_suffix(br#"","outcome":""#)?;
        rest.strip_suffix(self.key.name().as_bytes())?
            .strip_suffix(br#","log":""#)?;
        std::str::from_utf8(seq).ok()?.parse().ok()
    }
}

/// Whether a line begins as one of a log, and ends before its JSON does.
fn is_cut(line: &[u8]) -> bool {
    // the ends of whole lines, so that few are parsed
    if line.ends_with(b"}}") || line.ends_with(br#""}"#) {
        return false;
    }
    let is_begun = line.starts_with(br#"{"leaf":""#) || line.starts_with(br#"{"checkpoint":"#);
    is_begun && serde_json::from_slice::<IgnoredAny>(line).is_err_and(|error| error.is_eof())
}

fn without_last(bytes: &[u8], length: usize) -> Option<&[u8]> {
    bytes.len().checked_sub(length).map(|end| &bytes[..end])
}

const TIME_LENGTH: usize = "2026-11-22T12:30:00.500Z".len();
const SUBJECT_LENGTH: usize = 64;

/// The fields of an entry that are parsed.
#[derive(Deserialize)]
struct EntryHead<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    seq: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Actor, Draft, Pseudonym, Signer};

    #[test]
    fn sequence_number_at_the_end_is_that_of_the_json() {
        let signer = Signer::from_seed("log", &[7; 32]).unwrap();
        let checker = LineChecker {
            key: signer.verifier_key().clone(),
            witnesses: Vec::new(),
        };
        let at = genesys_api::parse_rfc3339("2026-11-22T12:30:00Z").unwrap();
        // a text that ends as an entry does
        let injected = r#"","log":"log","outcome":"ok","seq":9,"time":"2026-11-22T12:30:00.000Z","v":1}"#;
        let draft = Draft::new(at, Actor::client(injected), "a").detail("b", injected);
        let with_subject = draft.clone().subject(Pseudonym::of(&[0; 32], "guest"));
        for draft in [draft, with_subject] {
            for seq in [0, 7, 10, u64::MAX] {
                let entry = draft.seal(seq, "log").unwrap();
                assert_eq!(checker.seq_at_end(&entry), Some(seq));
                assert_eq!(checker.head(&entry), Head::Seq(seq));
                let other = draft.seal(seq, "other-log").unwrap();
                assert_eq!(checker.head(&other), Head::OtherLog(seq));
            }
        }
        assert_eq!(checker.head(br#"{"log":"log","seq":3}"#), Head::Seq(3));
        for malformed in [&b"[]"[..], b"", br#"","v":1}"#, br#"{"log":"log"}"#] {
            assert_eq!(checker.head(malformed), Head::Malformed);
        }
    }
}
