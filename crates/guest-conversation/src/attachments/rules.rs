//! The service's rules for files, checked before an upload.

use genesys_api::limits;

use super::File;
use genesys_api::wire::sanitize;

/// Most characters of a name; the service answers 4005 to more (Genesys: fewer than 1,024).
const LONGEST_NAME: usize = limits::FILE_NAME_CHARACTERS;
/// Largest file, where the service names no size (Genesys' default).
const LARGEST_KB: u64 = limits::ATTACHMENT_KILOBYTES as u64;

/// The service's rules for attachments: `allowedMedia` and `blockedExtensions` of its `SessionResponse`. They are kept
/// as two texts, for every session has them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rules {
    /// Media types and ranges, lower case, each behind a line feed.
    media: Box<str>,
    /// Extensions without their dots, lower case, each behind a line feed.
    blocked: Box<str>,
    largest: u64,
}

impl Rules {
    /// The rules of a session: media types or ranges (`*/*`, `image/*`), the largest size in units of 1,024 bytes (the
    /// unit is an inference), and extensions with or without a dot. No media type, or a size of 0, means that
    /// attachments are switched off, as it does in Genesys' mobile SDK.
    #[must_use]
    pub fn new<'a>(
        media: impl IntoIterator<Item = &'a str>,
        largest_kb: Option<u64>,
        blocked: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self {
            media: lines(media.into_iter().map(str::trim)),
            blocked: lines(
                blocked
                    .into_iter()
                    .map(|entry| entry.trim().trim_start_matches('.')),
            ),
            largest: largest_kb.unwrap_or(LARGEST_KB).saturating_mul(1024),
        }
    }

    /// The rules of a session that takes no attachments.
    #[must_use]
    pub fn off() -> Self {
        Self::new([], None, [])
    }

    /// Whether the service would take it, as far as its rules tell.
    ///
    /// # Errors
    /// The first rule that forbids it.
    pub fn check(&self, file: &File) -> Result<(), AttachError> {
        if self.media.is_empty() || self.largest == 0 {
            return Err(AttachError::Off);
        }
        let characters = file.name().chars().count();
        if characters > LONGEST_NAME {
            return Err(AttachError::NameTooLong { characters });
        }
        if file
            .name()
            .chars()
            .any(|c| c.is_control() || matches!(c, '/' | '\\'))
        {
            return Err(AttachError::Name);
        }
        let extension = file.extension().ok_or(AttachError::NoExtension)?.to_lowercase();
        if has_line(&self.blocked, &extension) {
            let extension = extension.into();
            return Err(AttachError::Blocked { extension });
        }
        if !self.admits(file.media_type()) {
            let media_type = sanitize(file.media_type()).into();
            return Err(AttachError::MediaType { media_type });
        }
        let bytes = file.len() as u64;
        if bytes == 0 {
            return Err(AttachError::Empty);
        }
        if bytes > self.largest {
            let limit = self.largest;
            return Err(AttachError::TooLarge { bytes, limit });
        }
        Ok(())
    }

    fn admits(&self, media_type: &str) -> bool {
        let essence = media_type.split(';').next().unwrap_or_default().trim_end();
        let Some((kind, subtype)) = essence.split_once('/') else {
            return false;
        };
        if !media_type.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return false;
        }
        self.media.lines().any(|range| match range.split_once('/') {
            Some(("*", "*")) => true,
            Some((allowed, "*")) => allowed == kind,
            Some(allowed) => allowed == (kind, subtype),
            None => range == "*",
        })
    }
}

fn lines<'a>(entries: impl Iterator<Item = &'a str>) -> Box<str> {
    let mut lines = String::new();
    for entry in entries.filter(|entry| !entry.is_empty() && !entry.contains(['\n', '\r'])) {
        lines.extend(entry.chars().flat_map(char::to_lowercase));
        lines.push('\n');
    }
    lines.into()
}

fn has_line(lines: &str, wanted: &str) -> bool {
    lines.lines().any(|line| line == wanted)
}

/// The file was not taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The extension is blocked.
    #[error(
        "files that end in .{extension} are not allowed here: attach another kind of file, or an archive of it"
    )]
    Blocked {
        /// The extension, lower case.
        extension: Box<str>,
    },
    /// Too much is on its way.
    #[error(
        "{count} files, or {bytes} bytes of them, are on their way already: attach it when one has arrived"
    )]
    Busy {
        /// Most files at once.
        count: usize,
        /// Most bytes at once.
        bytes: usize,
    },
    /// Nothing is in it; the service would answer 4102.
    #[error("the file is empty: attach one that is not")]
    Empty,
    /// The conversation is over, or ending.
    #[error("the conversation has ended: attach the file in a new one")]
    Ended,
    /// The id is in use.
    #[error("an attachment of this id is held already: draw a fresh id")]
    Known,
    /// The media type is not allowed; the service would answer 4001.
    #[error("files of type {media_type} are not allowed here: attach another kind of file")]
    MediaType {
        /// Of the file.
        media_type: Box<str>,
    },
    /// The name has a slash or a control character, which no file name has; our choice.
    #[error("the file name has a slash or a control character: give the name alone, without its folder")]
    Name,
    /// The name is too long; the service would answer 4005.
    #[error("the file name has {characters} characters: shorten it to at most 1023")]
    NameTooLong {
        /// How many it has.
        characters: usize,
    },
    /// The name has no extension, which Genesys Cloud requires.
    #[error("the file name has no extension: add one that says what is in it, such as .png")]
    NoExtension,
    /// The contract has no attachments.
    #[error("this contract has no attachments: web-messaging does")]
    NotOffered,
    /// The rules are not known yet, or the conversation is read-only.
    #[error("the session is not ready: attach the file when it is configured")]
    NotReady,
    /// The deployment takes no attachments; the service would answer 4000.
    #[error(
        "attachments are switched off for this deployment: an administrator can allow them in its configuration"
    )]
    Off,
    /// It is too large; the service would answer 4002.
    #[error("the file has {bytes} bytes, and {limit} are allowed: attach a smaller one")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// Largest size.
        limit: u64,
    },
    /// Too many are held.
    #[error("{count} attachments are held, which is as many as may be: send or delete some first")]
    TooMany {
        /// How many may be.
        count: usize,
    },
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn check(rules: &Rules, name: &str, size: usize) -> Result<(), AttachError> {
        rules.check(&File::new(name, Bytes::from(vec![0; size])))
    }

    #[test]
    fn each_rule_has_its_error() {
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
        assert_eq!(check(&rules, "a\n.png", 1), Err(AttachError::Name));
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
    fn any_type_means_any_type() {
        for everything in ["*/*", "*"] {
            let rules = Rules::new([everything], None, []);
            assert_eq!(check(&rules, "a.unheard-of", 10_240 * 1024), Ok(()));
            assert!(check(&rules, "a.unheard-of", 10_240 * 1024 + 1).is_err());
        }
    }

    #[test]
    fn a_media_type_is_one() {
        let rules = Rules::new(["text/plain", "image/*"], None, []);
        let check = |media_type| {
            rules.check(&File::with_media_type(
                "a.txt",
                media_type,
                Bytes::from_static(b"a"),
            ))
        };
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
    fn no_types_or_no_size_is_off() {
        for rules in [Rules::off(), Rules::new(["*/*"], Some(0), [])] {
            assert_eq!(check(&rules, "a.png", 1), Err(AttachError::Off));
        }
    }
}
