//! The service's rules for files, checked before an upload.

use genesys_api::limits;
use genesys_api::wire::sanitize;
use web_messaging::SessionResponse;

use super::file::extension;
use super::{AttachError, BYTES};

/// The rules of a session: `allowedMedia` and `blockedExtensions` of its `SessionResponse`. They are kept as two texts,
/// since every session has them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rules {
    /// Media types and ranges, lower case, each before a line feed.
    media: Box<str>,
    /// Extensions without their dots, lower case, each before a line feed.
    blocked: Box<str>,
    /// Most bytes of a file.
    largest: u64,
}

impl Rules {
    /// Media types or ranges (`*/*`, `image/*`), the largest size in units of 1,024 bytes (the unit is an inference),
    /// and extensions with or without a dot. No media type, or a size of 0, switches attachments off, as in Genesys'
    /// mobile SDK.
    #[must_use]
    pub fn new<'a>(
        media: impl IntoIterator<Item = &'a str>,
        largest_kb: Option<u64>,
        blocked: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let blocked = blocked.into_iter();
        Self {
            media: lines(media.into_iter().map(str::trim)),
            blocked: lines(blocked.map(|entry| entry.trim().trim_start_matches('.'))),
            largest: largest_kb
                .unwrap_or(limits::ATTACHMENT_KILOBYTES as u64)
                .saturating_mul(1024),
        }
    }

    /// The rules of a session that takes no attachments.
    pub(crate) fn off() -> Self {
        Self::new([], None, [])
    }

    /// The rules in a response. Without rules the session takes no attachments, as in Genesys' mobile SDK.
    pub(crate) fn of(session: &SessionResponse<'_>) -> Self {
        let allowed = session.allowed_media.as_ref();
        let Some(rules) = allowed.and_then(|allowed| allowed.inbound.as_ref()) else {
            return Self::off();
        };
        Self::new(
            rules.file_types.iter().map(|kind| &*kind.media_type),
            rules.max_file_size_kb.and_then(|size| u64::try_from(size).ok()),
            session.blocked_extensions.iter().map(|extension| &**extension),
        )
    }

    /// Whether the session takes attachments.
    #[must_use]
    pub fn allow_files(&self) -> bool {
        !self.media.is_empty() && self.largest > 0
    }

    /// The allowed media types and ranges (`*/*`, `image/*`), lower case.
    pub fn media_types(&self) -> impl Iterator<Item = &str> {
        self.media.lines()
    }

    /// The blocked extensions without their dots, lower case.
    pub fn blocked_extensions(&self) -> impl Iterator<Item = &str> {
        self.blocked.lines()
    }

    /// Most bytes of a file: the service's limit, and at most 50 MiB, which are uploaded at once.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        self.largest.min(BYTES as u64)
    }

    /// Checks a file by its name, its media type, and its size if that is known.
    ///
    /// # Errors
    /// The first rule that forbids the file.
    pub fn check(&self, name: &str, media_type: &str, bytes: Option<u64>) -> Result<(), AttachError> {
        if !self.allow_files() {
            return Err(AttachError::Off);
        }
        let characters = name.chars().count();
        if characters > limits::FILE_NAME_CHARACTERS {
            return Err(AttachError::NameTooLong { characters });
        }
        let is_forbidden = |c: char| c.is_control() || reorders(c) || matches!(c, '/' | '\\');
        if name.contains(is_forbidden) || name.ends_with(is_invisible) {
            return Err(AttachError::Name);
        }
        let extension = extension(name).ok_or(AttachError::NoExtension)?.to_lowercase();
        if self.blocked_extensions().any(|blocked| blocked == extension) {
            let extension = extension.into();
            return Err(AttachError::Blocked { extension });
        }
        if !self.admits(&media_type.to_ascii_lowercase()) {
            let media_type = sanitize(media_type).into();
            return Err(AttachError::MediaType { media_type });
        }
        match bytes {
            Some(0) => Err(AttachError::Empty),
            Some(bytes) if bytes > self.max_bytes() => Err(AttachError::TooLarge {
                bytes,
                limit: self.max_bytes(),
            }),
            _ => Ok(()),
        }
    }

    fn admits(&self, media_type: &str) -> bool {
        let essence = media_type.split(';').next().unwrap_or_default().trim_end();
        let Some((kind, subtype)) = essence.split_once('/') else {
            return false;
        };
        if !media_type.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return false;
        }
        self.media_types().any(|range| match range.split_once('/') {
            Some(("*", "*")) => true,
            Some((allowed, "*")) => allowed == kind,
            Some(allowed) => allowed == (kind, subtype),
            None => range == "*",
        })
    }
}

/// Whether a character changes the direction of those after it, so that an extension can be shown in the middle of a name. Marks
/// between words of Arabic or Hebrew do not.
fn reorders(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character at the end of a name hides that its extension is another one.
fn is_invisible(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

fn lines<'a>(entries: impl Iterator<Item = &'a str>) -> Box<str> {
    let mut lines = String::new();
    for entry in entries.filter(|entry| !entry.is_empty() && !entry.contains(['\n', '\r'])) {
        lines.extend(entry.chars().flat_map(char::to_lowercase));
        lines.push('\n');
    }
    lines.into()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::attachments::File;

    fn check(rules: &Rules, name: &str, size: u64) -> Result<(), AttachError> {
        let file = File::new(name, Bytes::new());
        rules.check(name, &file.media_type, Some(size))
    }

    #[test]
    fn rules_refuse_each_kind_of_file_with_its_error() {
        let rules = Rules::new(["image/*", "Application/PDF"], Some(1), [".EXE", "gif", ""]);
        assert_eq!(check(&rules, "a.png", 1024), Ok(()));
        assert_eq!(check(&rules, "a.PDF", 1), Ok(()));
        assert_eq!(
            check(&rules, "a.png", 1025),
            Err(AttachError::TooLarge {
                bytes: 1025,
                limit: 1024
            })
        );
        assert_eq!(check(&rules, "a.png", 0), Err(AttachError::Empty));
        assert_eq!(check(&rules, "png", 1), Err(AttachError::NoExtension));
        assert_eq!(check(&rules, ".png", 1), Err(AttachError::NoExtension));
        assert_eq!(check(&rules, "../a.png", 1), Err(AttachError::Name));
        for name in [
            "a\n.png",
            "a.exe ",
            "a.exe\u{a0}",
            "a.exe\u{200b}",
            "a.png\u{feff}",
            "a\u{202e}gnp.exe",
            "\u{2067}a.png",
        ] {
            assert_eq!(check(&rules, name, 1), Err(AttachError::Name), "{name:?}");
        }
        for name in [
            "عكس\u{200f} 1.png",
            "نامه\u{200c}ها.png",
            "👨\u{200d}👩\u{200d}👧.png",
        ] {
            assert_eq!(check(&rules, name, 1), Ok(()), "{name:?}");
        }
        for name in ["a.exe", "a.ExE", "a.png.gif"] {
            assert!(
                matches!(check(&rules, name, 1), Err(AttachError::Blocked { .. })),
                "{name}"
            );
        }
        assert_eq!(
            check(&rules, "a.txt", 1),
            Err(AttachError::MediaType {
                media_type: "text/plain".into()
            })
        );
        assert_eq!(check(&rules, &format!("{}.png", "é".repeat(1019)), 1), Ok(()));
        assert_eq!(
            check(&rules, &format!("{}.png", "é".repeat(1020)), 1),
            Err(AttachError::NameTooLong { characters: 1024 })
        );
    }

    #[test]
    fn rules_with_any_type_take_any_type() {
        for everything in ["*/*", "*"] {
            let rules = Rules::new([everything], None, []);
            assert_eq!(check(&rules, "a.unheard-of", 10_240 * 1024), Ok(()));
            assert!(check(&rules, "a.unheard-of", 10_240 * 1024 + 1).is_err());
        }
    }

    #[test]
    fn rules_refuse_malformed_media_types() {
        let rules = Rules::new(["text/plain", "image/*"], None, []);
        let check = |media_type| rules.check("a.txt", media_type, None);
        assert_eq!(check("TEXT/plain"), Ok(()));
        assert_eq!(check("text/plain; charset=utf-8"), Ok(()));
        for media_type in [
            "",
            "text",
            "text/plainer",
            "text/",
            "imag/png",
            "image/\r\nx: y",
            "image/é",
        ] {
            let error = check(media_type).unwrap_err();
            assert!(matches!(error, AttachError::MediaType { .. }), "{media_type:?}");
            assert!(!error.to_string().contains('\n'), "{media_type:?}");
        }
    }

    #[test]
    fn rules_without_types_or_size_are_off() {
        for rules in [Rules::off(), Rules::new(["*/*"], Some(0), [])] {
            assert_eq!(check(&rules, "a.png", 1), Err(AttachError::Off));
        }
    }
}
