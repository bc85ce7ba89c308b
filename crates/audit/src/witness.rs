//! Cosignatures of witnesses: C2SP `tlog-cosignature`, with Ed25519.

use std::fmt;
use std::str::FromStr;

use crate::checkpoint::{Note, Signature};
use crate::key::{COSIGNATURE_TYPE, KeyError, NamedKey};

/// Maximum number of witnesses in a report. Our choice.
const MAX_WITNESSES: usize = 100;

/// The public key of a witness, which cosigns checkpoints that it has seen.
///
/// Its text is a verifier key of C2SP `signed-note` with the type 4: `name+0a1b2c3d+base64`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WitnessKey(NamedKey<COSIGNATURE_TYPE>);

impl WitnessKey {
    /// The name of the witness.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Checks a line of a note. Returns `None` if it does not name this key, else the time of the cosignature in
    /// seconds since 1970, or `Err` if it does not match the note.
    fn check(&self, note: &Note<'_>, line: &Signature<'_>) -> Option<Result<u64, ()>> {
        let signature = line.by(&self.0)?;
        let Some((time, signature)) = signature.split_first_chunk() else {
            return Some(Err(()));
        };
        let time = u64::from_be_bytes(*time);
        let message = format!("cosignature/v1\ntime {time}\n{}", note.text);
        let is_valid = time <= MAX_TIME && self.0.signed(message.as_bytes(), signature);
        Some(if is_valid { Ok(time) } else { Err(()) })
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for WitnessKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        NamedKey::parse(text).map(Self)
    }
}

/// C2SP `tlog-cosignature`: the maximum time.
const MAX_TIME: u64 = i64::MAX as u64;

/// The cosignatures of one witness on the checkpoints of a log.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Cosignatures {
    /// Name of the witness.
    pub witness: String,
    /// Number of cosignatures that a configured key verified.
    pub verified: u64,
    /// Number of cosignatures that no configured key can verify. They prove nothing.
    pub unverified: u64,
    /// Number of leading entries under the last verified cosignature.
    pub covered: u64,
    /// Time of the last verified cosignature, in seconds since 1970.
    pub at: Option<u64>,
}

impl Cosignatures {
    pub(crate) fn empty(witness: &str) -> Self {
        Self {
            witness: witness.to_owned(),
            verified: 0,
            unverified: 0,
            covered: 0,
            at: None,
        }
    }
}

/// One cosignature of a checkpoint.
#[derive(Debug)]
pub(crate) struct Cosignature {
    pub(crate) witness: String,
    pub(crate) check: Check,
}

/// The result of checking a cosignature.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Check {
    Invalid,
    Unverified,
    Verified { at: u64 },
}

/// Checks a signature line of another key than the log's.
pub(crate) fn check(witnesses: &[WitnessKey], note: &Note<'_>, line: &Signature<'_>) -> Cosignature {
    let known = witnesses.iter().find_map(|witness| witness.check(note, line));
    Cosignature {
        witness: line.name.to_owned(),
        check: match known {
            None => Check::Unverified,
            Some(Ok(at)) => Check::Verified { at },
            Some(Err(())) => Check::Invalid,
        },
    }
}

/// Counts a cosignature of a checkpoint over `size` entries that is not invalid.
pub(crate) fn count(report: &mut Vec<Cosignatures>, cosignature: &Cosignature, size: u64) {
    let index = match report.iter().position(|of| of.witness == cosignature.witness) {
        Some(index) => index,
        None if report.len() < MAX_WITNESSES => {
            report.push(Cosignatures::empty(&cosignature.witness));
            report.len() - 1
        }
        None => return,
    };
    let of = &mut report[index];
    match cosignature.check {
        Check::Verified { at } => {
            of.verified += 1;
            (of.covered, of.at) = (size, Some(at));
        }
        Check::Invalid | Check::Unverified => of.unverified += 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fault, Line, Signer, Verifier};

    /// Made by another implementation: 2 entries, key and cosignature of the seed `[9; 32]`.
    const NOTE: &str = "example.com/log\n2\nSBNJTRN+FjG7owHVrKtue7eqdM4RhdRWVl71HXN2d7I=\n";
    const KEY: &str = "witness.example+a50367b6+BP0XJDhaoMdbZPt4zWAvodmR/ev3axPFjtcC6sg16fYY";
    const LINE: &str = "— witness.example pQNntgAAAABqsTuA7XPUMalqn5xDZV+PjHCgSo6Hn2ntE/ugSEye1rSx+h4JB6XTMZZrU7cq/\
        PIwjWO1NOSV3T1gkewacLgnvCkxAw==\n";

    fn key() -> WitnessKey {
        KEY.parse().unwrap()
    }

    fn check_line(line: &str) -> Check {
        let note = format!("{NOTE}\n{line}");
        let note = Note::parse(&note).unwrap();
        check(&[key()], &note, &note.signatures[0]).check
    }

    #[test]
    fn cosignature_of_another_implementation_verifies() {
        assert_eq!(key().to_string(), KEY);
        assert_eq!(
            (key().name(), check_line(LINE)),
            ("witness.example", Check::Verified { at: 1_790_000_000 })
        );
        // the time is signed
        assert_eq!(
            check_line(&LINE.replace("tgAAAABqsTuA", "tgAAAABqsTuB")),
            Check::Invalid
        );
        assert_eq!(check_line(&LINE.replace("tgAAAABq", "tv////9q")), Check::Invalid);
        assert_eq!(check_line("— witness.example pQNntgAA\n"), Check::Invalid);
        // the same name with another key, and another name
        assert_eq!(check_line(&LINE.replace("pQNntg", "pQNnsg")), Check::Unverified);
        assert_eq!(check_line(&LINE.replace("witness.", "other.")), Check::Unverified);
    }

    #[test]
    fn key_of_a_log_is_none_of_a_witness() {
        let log = Signer::from_seed("log", &[1; 32])
            .unwrap()
            .verifier_key()
            .to_string();
        assert_eq!(
            log.parse::<WitnessKey>(),
            Err(KeyError::Algorithm { expected: 4 })
        );
        assert_eq!(
            KEY.parse::<crate::VerifierKey>(),
            Err(KeyError::Algorithm { expected: 1 })
        );
    }

    /// A verifier of a log without entries, whose checkpoint has these further signature lines.
    fn verifier(lines: &str, witnesses: Vec<WitnessKey>) -> Verifier {
        let signer = Signer::from_seed("example.com/log", &[7; 32]).unwrap();
        let root = crate::Tree::new().root().to_base64();
        let note = signer.note(&format!("example.com/log\n0\n{root}\n"));
        let mut verifier = Verifier::new(signer.verifier_key().clone(), None).with_witnesses(witnesses);
        verifier.verify_line(&Line::Checkpoint(&format!("{note}{lines}")).to_bytes());
        verifier
    }

    /// The cosignatures of such a log.
    fn report(lines: &str, witnesses: Vec<WitnessKey>) -> Vec<Cosignatures> {
        verifier(lines, witnesses).finish().unwrap().cosignatures
    }

    #[test]
    fn report_counts_cosignatures_by_witness() {
        let unconfigured = report(LINE, Vec::new());
        let expected = Cosignatures {
            unverified: 1,
            ..Cosignatures::empty("witness.example")
        };
        assert_eq!(unconfigured, [expected]);
        // configured, but the checkpoint is another than the cosigned one
        let failure = verifier(LINE, vec![key()]).finish().unwrap_err();
        let witness = "witness.example".to_owned();
        assert_eq!(failure.faults, [Fault::BadCosignature { line: 1, witness }]);
        // configured, and silent
        assert_eq!(report("", vec![key()]), [Cosignatures::empty("witness.example")]);
        let many: String = (0..90)
            .map(|n| LINE.replace("witness.example", &n.to_string()))
            .collect();
        assert_eq!(report(&many, Vec::new()).len(), 90);
    }

    #[test]
    fn count_is_bounded_and_keeps_the_last_verified() {
        let mut report = vec![Cosignatures::empty("w")];
        let of = |witness: String, check| Cosignature { witness, check };
        for n in 0..200 {
            count(&mut report, &of(n.to_string(), Check::Unverified), 9);
        }
        assert_eq!(report.len(), MAX_WITNESSES);
        count(&mut report, &of("w".to_owned(), Check::Verified { at: 5 }), 7);
        count(&mut report, &of("w".to_owned(), Check::Unverified), 8);
        let expected = Cosignatures {
            verified: 1,
            unverified: 1,
            covered: 7,
            at: Some(5),
            ..Cosignatures::empty("w")
        };
        assert_eq!(report[0], expected);
    }
}
