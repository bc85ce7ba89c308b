//! The lines that a child process prints.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::process::Output;
use std::str::FromStr;

use super::{Acknowledged, Error};

/// A line of a child.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Line {
    /// It sends a delivery, whose content is named by webhook, session and sequence number.
    Leased { id: String, content: String },
    /// It is about to open the files.
    Opening,
    /// It refuses a unit, or cannot open, with this kind of error.
    Refused { unit: String, kind: String },
    /// A unit is durable.
    Stored(Acknowledged),
}

impl Line {
    /// Prints the line by one write, which a reader of the pipe gets whole.
    #[expect(clippy::print_stdout, reason = "the parent reads the output of a child")]
    pub(super) fn print(&self) {
        println!("{self}");
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leased { id, content } => write!(f, "leased {id} {content}"),
            Self::Opening => f.write_str("opening"),
            Self::Refused { unit, kind } => write!(f, "refused {unit} {kind}"),
            Self::Stored(Acknowledged { unit, seq: None }) => write!(f, "stored {unit}"),
            Self::Stored(Acknowledged { unit, seq: Some(seq) }) => write!(f, "stored {unit} {seq}"),
        }
    }
}

impl FromStr for Line {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut words = text.split(' ');
        let (name, unit, rest) = (words.next(), words.next(), words.next());
        match (name, unit) {
            (Some("opening"), None) => Ok(Self::Opening),
            (Some("leased"), Some(id)) => Ok(Self::Leased {
                id: id.to_owned(),
                content: rest.unwrap_or_default().to_owned(),
            }),
            (Some("refused"), Some(unit)) => Ok(Self::Refused {
                unit: unit.to_owned(),
                kind: rest.unwrap_or_default().to_owned(),
            }),
            (Some("stored"), Some(unit)) => Ok(Self::Stored(Acknowledged {
                unit: unit.to_owned(),
                seq: rest.map(str::parse).transpose()?,
            })),
            _ => Err(format!("invalid line of a child: `{text}`").into()),
        }
    }
}

/// The outcomes that child processes printed.
#[derive(Clone, Debug, Default)]
pub(super) struct Received {
    /// Acknowledged units.
    pub(super) stored: Vec<Acknowledged>,
    /// The ids of the deliveries that were sent, by their content.
    pub(super) sent: BTreeMap<String, BTreeSet<String>>,
    /// Units whose refusal says that they are not stored.
    pub(super) refused: Vec<String>,
    /// Number of refusals.
    pub(super) refusals: u64,
    /// Units that were acknowledged although an earlier sync had failed.
    pub(super) after_failed_sync: Vec<String>,
    /// Whether a unit was acknowledged after a unit that was refused.
    pub(super) has_recovered: bool,
    /// A unit that is not stored if a later one is.
    overwritten_next: Option<String>,
    is_closed: bool,
    /// Whether a unit of the process was refused.
    pub(super) is_refusing: bool,
}

impl Received {
    /// Adds the lines of a process that ended by itself.
    ///
    /// # Errors
    /// If it failed.
    pub(super) fn add_output(&mut self, output: &Output) -> Result<(), Error> {
        self.add_lines(&output.stdout)?;
        if output.status.success() {
            return Ok(());
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(format!("a child ended with {}: {errors}", output.status).into())
    }

    /// Adds lines.
    ///
    /// # Errors
    /// If one is not of a child.
    pub(super) fn add_lines(&mut self, lines: &[u8]) -> Result<(), Error> {
        std::str::from_utf8(lines)?
            .lines()
            .try_for_each(|line| self.add(line))
    }

    /// Adds a line.
    ///
    /// # Errors
    /// If it is not one of a child.
    pub(super) fn add(&mut self, line: &str) -> Result<(), Error> {
        match line.parse()? {
            Line::Leased { id, content } => {
                self.sent.entry(content).or_default().insert(id);
            }
            Line::Opening => (self.is_closed, self.is_refusing, self.overwritten_next) = (false, false, None),
            Line::Refused { unit, kind } => {
                self.refusals += 1;
                self.is_refusing |= unit.contains('-');
                match kind.as_str() {
                    "OutcomeUnknown" | "Sync" => self.is_closed = true,
                    "Write" => self.overwritten_next = Some(unit),
                    kind => {
                        self.is_closed |= kind == "Poisoned";
                        self.refused.push(unit);
                    }
                }
            }
            Line::Stored(stored) => {
                if self.is_closed {
                    self.after_failed_sync.push(stored.unit.clone());
                }
                self.has_recovered |= self.is_refusing;
                self.refused.extend(self.overwritten_next.take());
                self.stored.push(stored);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_says_whether_a_unit_is_stored() {
        let mut received = Received::default();
        for line in [
            "opening",
            "stored 0-a 1",
            "refused 0-b Full",
            "refused 0-c Write",
            "stored 0-d 2",
            "refused 0-e Write",
            "refused 0-f Sync",
            "refused 0-g Poisoned",
            "stored 0-h 3",
            "opening",
            "stored 0-i 4",
        ] {
            received.add(line).unwrap();
        }
        assert_eq!(received.refused, ["0-b", "0-c", "0-g", "0-e"]);
        assert_eq!(received.after_failed_sync, ["0-h"]);
        assert_eq!((received.stored.len(), received.refusals), (4, 5));
        assert!(received.has_recovered);
    }

    #[test]
    fn lines_read_back() {
        for line in [
            Line::Leased {
                id: "msg_1".to_owned(),
                content: "crm/s-1/1".to_owned(),
            },
            Line::Opening,
            Line::Refused {
                unit: "1-2-3".to_owned(),
                kind: "Full".to_owned(),
            },
            Line::Stored(Acknowledged {
                unit: "1-2-3".to_owned(),
                seq: Some(7),
            }),
            Line::Stored(Acknowledged {
                unit: "1-2-3".to_owned(),
                seq: None,
            }),
        ] {
            assert_eq!(line.to_string().parse::<Line>().unwrap(), line);
        }
        assert!("stored".parse::<Line>().is_err());
    }
}
