//! The lines of an exported log: JSON that keeps the exact bytes of each entry.

use crate::Hash;

/// One line of an exported log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Line<'a> {
    /// `{"checkpoint":"…"}`: a signed note over all entries above it.
    Checkpoint(&'a str),
    /// `{"leaf":"…","entry":{…}}`: an entry as it was hashed.
    Entry {
        /// Hash of the leaf, in base64.
        leaf: Hash,
        /// Bytes of the entry.
        bytes: &'a [u8],
    },
}

impl<'a> Line<'a> {
    /// The line with its line feed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Checkpoint(note) => {
                let note = serde_json::to_string(note).expect("a string is valid JSON");
                [CHECKPOINT, note.as_bytes(), END, b"\n"].concat()
            }
            Self::Entry { leaf, bytes } => {
                [LEAF, leaf.to_base64().as_bytes(), ENTRY, bytes, END, b"\n"].concat()
            }
        }
    }
}

/// A line of a known form. Its leaf hash or entry may still be wrong.
pub(crate) enum Split<'a> {
    Checkpoint(String),
    Entry(Option<Hash>, &'a [u8]),
}

impl<'a> Split<'a> {
    /// Splits a line without its line feed.
    pub(crate) fn of(line: &'a [u8]) -> Option<Self> {
        if let Some(note) = line.strip_prefix(CHECKPOINT) {
            let note = serde_json::from_slice(note.strip_suffix(END)?).ok()?;
            return Some(Self::Checkpoint(note));
        }
        let (leaf, rest) = line.strip_prefix(LEAF)?.split_at_checked(LEAF_LENGTH)?;
        let rest = rest.strip_prefix(ENTRY)?;
        let leaf = std::str::from_utf8(leaf).ok().and_then(Hash::from_base64);
        // without the last brace, `rest` is an altered entry
        Some(Self::Entry(leaf, rest.strip_suffix(END).unwrap_or(rest)))
    }
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
    fn line_keeps_exact_bytes_of_entry() {
        let bytes = br#"{"any":"bytes"}"#;
        let leaf = leaf_hash(bytes);
        let line = Line::Entry { leaf, bytes }.to_bytes();
        let text = format!(
            "{{\"leaf\":\"{}\",\"entry\":{{\"any\":\"bytes\"}}}}\n",
            leaf.to_base64()
        );
        assert_eq!(line, text.as_bytes());
        assert!(matches!(
            Split::of(&line[..line.len() - 1]),
            Some(Split::Entry(Some(found), b)) if found == leaf && b == bytes
        ));
        let line = Line::Checkpoint("log\n1\n").to_bytes();
        assert_eq!(line, b"{\"checkpoint\":\"log\\n1\\n\"}\n");
        assert!(matches!(
            Split::of(&line[..line.len() - 1]),
            Some(Split::Checkpoint(note)) if note == "log\n1\n"
        ));
    }
}
