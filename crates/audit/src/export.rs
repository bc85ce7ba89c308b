//! The file form of a log: lines of JSON from which the exact bytes of every entry can be cut out again.

use crate::Hash;

/// One line of an exported log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Line<'a> {
    /// `{"checkpoint":"…"}`, the signed note over all entries above it.
    Checkpoint(&'a str),
    /// `{"leaf":"…","entry":{…}}`, where the entry stands as it was hashed.
    Entry {
        /// The hash of its leaf, in base64.
        leaf: Hash,
        /// Its bytes.
        bytes: &'a [u8],
    },
}

impl<'a> Line<'a> {
    /// The line with its line feed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Checkpoint(note) => {
                let note = serde_json::to_string(note).expect("a text can be JSON");
                [CHECKPOINT, note.as_bytes(), END, b"\n"].concat()
            }
            Self::Entry { leaf, bytes } => {
                [LEAF, leaf.to_base64().as_bytes(), ENTRY, bytes, END, b"\n"].concat()
            }
        }
    }

    /// Cuts a line, without its line feed, into its parts.
    pub(crate) fn cut(line: &'a [u8]) -> Cut<'a> {
        if let Some(note) = line
            .strip_prefix(CHECKPOINT)
            .and_then(|rest| rest.strip_suffix(END))
        {
            return match serde_json::from_slice(note) {
                Ok(note) => Cut::Checkpoint(note),
                Err(_) => Cut::Neither,
            };
        }
        let Some((leaf, rest)) = line
            .strip_prefix(LEAF)
            .and_then(|rest| rest.split_at_checked(LEAF_LENGTH))
        else {
            return Cut::Neither;
        };
        let Some(rest) = rest.strip_prefix(ENTRY) else {
            return Cut::Neither;
        };
        let leaf = std::str::from_utf8(leaf).ok().and_then(Hash::from_base64);
        // without its last brace the line cannot end where the entry ends, so whatever stands there is no entry
        Cut::Entry(leaf, rest.strip_suffix(END).unwrap_or(rest))
    }
}

/// A line after its form was recognized. Its leaf or entry may still be wrong.
pub(crate) enum Cut<'a> {
    Checkpoint(String),
    Entry(Option<Hash>, &'a [u8]),
    Neither,
}

const CHECKPOINT: &[u8] = br#"{"checkpoint":"#;
const LEAF: &[u8] = br#"{"leaf":""#;
const LEAF_LENGTH: usize = 44;
const ENTRY: &[u8] = br#"","entry":"#;
const END: &[u8] = b"}";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaf_hash;

    #[test]
    fn the_exact_bytes_of_an_entry_come_back() {
        let bytes = br#"{"any":"bytes"}"#;
        let leaf = leaf_hash(bytes);
        let line = Line::Entry { leaf, bytes }.to_bytes();
        let text = format!(
            "{{\"leaf\":\"{}\",\"entry\":{{\"any\":\"bytes\"}}}}\n",
            leaf.to_base64()
        );
        assert_eq!(line, text.as_bytes());
        assert!(matches!(
            Line::cut(&line[..line.len() - 1]),
            Cut::Entry(Some(found), b) if found == leaf && b == bytes
        ));
        let line = Line::Checkpoint("log\n1\n").to_bytes();
        assert_eq!(line, b"{\"checkpoint\":\"log\\n1\\n\"}\n");
        assert!(matches!(
            Line::cut(&line[..line.len() - 1]),
            Cut::Checkpoint(note) if note == "log\n1\n"
        ));
    }
}
