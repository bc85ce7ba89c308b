//! The guest's files: the rules for them, their names in a header, their download links.

use genesys_api::wire::{OwnedText, SecretText};
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, HeaderMap};
use serde::{Deserialize, Serialize};

/// Most files of one message. Our choice.
pub const FILES_PER_MESSAGE: usize = 10;

/// The rules of a session for the guest's files.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "the fields of the contract")]
pub struct AttachmentRules {
    /// Media types and ranges (`*/*`, `image/*`) that are allowed, lower case.
    pub media_types: Vec<OwnedText>,
    /// Extensions that are blocked, without their dots, lower case.
    pub blocked_extensions: Vec<OwnedText>,
    /// Most bytes of a file.
    pub max_bytes: u64,
}

/// A fresh download link.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "the fields of the contract")]
pub struct DownloadLink<'a> {
    /// The URL: a secret that grants access to the file for about ten minutes.
    #[serde(borrow)]
    pub url: SecretText<'a>,
}

const PREFIX: &str = "attachment; filename*=UTF-8''";

/// The `Content-Disposition` of an upload, with the name of the file as in RFC 8187.
#[must_use]
pub fn file_name_header(name: &str) -> HeaderValue {
    let value = format!("{PREFIX}{}", encoded(name));
    HeaderValue::try_from(value).expect("percent-encoded text is plain ASCII")
}

/// A text percent-encoded as UTF-8, but for unreserved characters (RFC 3986 section 2.3).
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// The name of the file in the headers of an upload.
///
/// # Errors
/// If there is no `Content-Disposition`, or more than one, or it is not as [`file_name_header`] returns it.
pub fn file_name(headers: &HeaderMap) -> Result<String, FileNameError> {
    let mut values = headers.get_all(CONTENT_DISPOSITION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(FileNameError);
    };
    let value = value.to_str().map_err(|_| FileNameError)?;
    let prefix = value.get(..PREFIX.len()).ok_or(FileNameError)?;
    if !prefix.eq_ignore_ascii_case(PREFIX) {
        return Err(FileNameError);
    }
    decode(&value[PREFIX.len()..]).ok_or(FileNameError)
}

/// Decodes percent-encoded UTF-8. `None` if a character that needs encoding is not encoded.
fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        decoded.push(match byte {
            b'%' => {
                let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            _ if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) => byte,
            _ => return None,
        });
    }
    String::from_utf8(decoded).ok()
}

/// A missing or malformed name of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "invalid Content-Disposition: send attachment; filename*=UTF-8'' and the percent-encoded name of the file"
)]
pub struct FileNameError;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Result<String, FileNameError> {
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_DISPOSITION,
            HeaderValue::from_str(value).map_err(|_| FileNameError)?,
        );
        file_name(&headers)
    }

    #[test]
    fn file_name_round_trips() {
        for name in [
            "cat.png",
            "größe 100%.pdf",
            "a'b\"c;d.txt",
            "",
            "猫.png",
            "a\r\nb.png",
        ] {
            let header = file_name_header(name);
            assert_eq!(parse(header.to_str().unwrap()).as_deref(), Ok(name));
        }
        assert_eq!(
            parse("Attachment; FileName*=utf-8''a%2Bb.png").as_deref(),
            Ok("a+b.png")
        );
    }

    #[test]
    fn malformed_file_name_is_refused() {
        for value in [
            "",
            "attachment",
            "attachment; filename=cat.png",
            "inline; filename*=UTF-8''cat.png",
            "attachment; filename*=ISO-8859-1''cat.png",
            "attachment; filename*=UTF-8''cat.png; size=7",
            "attachment; filename*=UTF-8''%",
            "attachment; filename*=UTF-8''%4",
            "attachment; filename*=UTF-8''%zz",
            "attachment; filename*=UTF-8''%ff",
            "attachment; filename*=UTF-8''a b",
        ] {
            assert_eq!(parse(value), Err(FileNameError), "{value}");
        }
        assert_eq!(file_name(&HeaderMap::new()), Err(FileNameError));
        let mut twice = HeaderMap::new();
        twice.append(CONTENT_DISPOSITION, file_name_header("a.png"));
        twice.append(CONTENT_DISPOSITION, file_name_header("b.png"));
        assert_eq!(file_name(&twice), Err(FileNameError));
    }
}
