//! The lines that a child process prints.

use std::fmt;
use std::str::FromStr;

use super::{Acknowledged, Error};

/// A line of a child.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Line {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_back() {
        for line in [
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
