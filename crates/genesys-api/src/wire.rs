//! Parts of frames and bodies: borrowed text, redacted secrets, and unparsed JSON.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use secrecy::{ExposeSecret, SecretString};
use serde::ser::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// Text of a frame, borrowed from it unless it contains an escape. `Debug` shows its length, since it may be personal.
#[derive(Clone, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Length(&self.0).fmt(f)
    }
}

/// Text that outlives its frame. `Debug` shows its length, since it may be personal.
#[derive(Clone, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(transparent)]
pub struct OwnedText(Box<str>);

impl Deref for OwnedText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Box<str>>> From<T> for OwnedText {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for OwnedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Length(&self.0).fmt(f)
    }
}

/// The length of a text; `Debug` shows it in place of the text.
pub struct Length<'a>(pub &'a str);

impl fmt::Debug for Length<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

/// JSON of a part of a frame, unparsed. `Debug` shows its length.
#[derive(Clone, Copy, Deserialize)]
#[serde(transparent)]
pub struct RawJson<'a>(#[serde(borrow)] &'a RawValue);

impl<'a> RawJson<'a> {
    /// The received text.
    pub fn as_str(&self) -> &'a str {
        self.0.get()
    }
}

impl fmt::Debug for RawJson<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Length(self.as_str()).fmt(f)
    }
}

/// A secret of a frame: serialized as it is, redacted by `Debug`.
///
/// The serialized frame contains the secret and is not wiped; it is dropped after it is sent.
#[derive(Clone, Deserialize, Serialize)]
#[serde(transparent)]
pub struct SecretText<'a>(#[serde(borrow)] Cow<'a, str>);

impl SecretText<'_> {
    /// Copies the secret out of the frame.
    pub fn to_secret(&self) -> SecretString {
        SecretString::from(&*self.0)
    }
}

impl<'a> From<&'a SecretString> for SecretText<'a> {
    fn from(secret: &'a SecretString) -> Self {
        Self(Cow::Borrowed(secret.expose_secret()))
    }
}

impl fmt::Debug for SecretText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A frame, or a part of one, of a type that this version does not know, kept unparsed.
///
/// `Debug` shows its class and its length, since it may hold a secret.
#[derive(Clone, Eq, PartialEq)]
pub struct RawFrame {
    class: Option<Box<str>>,
    json: Box<str>,
}

impl RawFrame {
    /// A frame of this class.
    #[must_use]
    pub fn new(class: Option<&str>, json: &str) -> Self {
        Self {
            class: class.map(|class| sanitize(class).into_boxed_str()),
            json: json.into(),
        }
    }

    /// Class that the sender gave it, if there is one.
    pub fn class(&self) -> Option<&str> {
        self.class.as_deref()
    }

    /// The received text, which may be invalid JSON.
    pub fn as_str(&self) -> &str {
        &self.json
    }
}

impl<'de> Deserialize<'de> for RawFrame {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self::new(None, json.get()))
    }
}

impl Serialize for RawFrame {
    /// The received JSON.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json: &RawValue = serde_json::from_str(&self.json).map_err(S::Error::custom)?;
        json.serialize(serializer)
    }
}

impl fmt::Debug for RawFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawFrame")
            .field("class", &self.class)
            .field("bytes", &self.json.len())
            .finish()
    }
}

/// A text for a log line, of a peer or of an error: at most 500 characters, without control characters. A longer one is
/// cut between words and ends with `…`.
#[must_use]
pub fn sanitize(text: &str) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = chars.by_ref().take(500).collect();
    if chars.next().is_some() {
        line.pop();
        // a long word, such as encoded data, is cut anywhere
        let word = line.rfind(' ').filter(|at| line.len() - at < 100);
        line.truncate(word.unwrap_or(line.len()));
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Both<'a> {
        #[serde(borrow)]
        plain: Option<Text<'a>>,
        #[serde(borrow)]
        escaped: Text<'a>,
    }

    #[test]
    fn text_is_borrowed_unless_it_contains_an_escape() {
        let both: Both<'_> = serde_json::from_str(r#"{"plain":"grün","escaped":"a\"b"}"#).unwrap();
        assert!(matches!(both.plain, Some(Text(Cow::Borrowed("grün")))));
        assert!(matches!(both.escaped, Text(Cow::Owned(text)) if text == "a\"b"));
    }

    #[test]
    fn long_text_is_cut_between_words() {
        assert_eq!(sanitize("a\nb"), "a b");
        assert_eq!(sanitize(&"ü".repeat(500)), "ü".repeat(500));
        assert_eq!(sanitize(&"ü".repeat(501)), format!("{}…", "ü".repeat(499)));
        assert_eq!(
            sanitize(&format!("{} 123456", "x".repeat(495))),
            format!("{}…", "x".repeat(495))
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let secret = SecretString::from("hunter2");
        assert_eq!(format!("{:?}", SecretText::from(&secret)), "[redacted]");
        let raw = RawFrame::new(Some("JwtResponse"), r#"{"jwt":"hunter2"}"#);
        assert_eq!(
            format!("{raw:?}"),
            r#"RawFrame { class: Some("JwtResponse"), bytes: 17 }"#
        );
    }
}
