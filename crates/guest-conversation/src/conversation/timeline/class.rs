//! What a frame is called.

use std::fmt;

/// The class of a frame, in one byte: a name that is known, or none. It cannot hold what a frame says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FrameClass(u8);

impl FrameClass {
    /// A frame whose name is not known.
    pub const OTHER: Self = Self(0);

    /// The class of this name: an action of the guest's or a class of the service's (`web-messaging`), or a type
    /// (`guest-sessions`).
    #[must_use]
    pub fn named(name: &str) -> Self {
        let index = NAMES.iter().position(|known| *known == name);
        index
            .and_then(|index| u8::try_from(index).ok())
            .map_or(Self::OTHER, Self)
    }
}

impl FrameClass {
    /// The class of a frame as it travels: its `action`, its `class`, or else its `type`, wherever in it they stand.
    pub(in crate::conversation) fn of_frame(text: &str) -> Self {
        let (mut depth, mut field, mut kind) = (0_i64, "", None);
        let mut rest = text;
        while let Some(at) = rest.find(['"', '{', '}', '[', ']']) {
            let mark = rest.as_bytes()[at];
            rest = &rest[at + 1..];
            match mark {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {
                    let Some((string, after)) = split_string(rest) else {
                        break;
                    };
                    rest = after;
                    match field {
                        _ if depth != 1 => {}
                        _ if rest.trim_start().starts_with(':') => field = string,
                        "action" | "class" => return Self::named(string),
                        "type" => kind = Some(string),
                        _ => {}
                    }
                }
            }
        }
        kind.map_or(Self::OTHER, Self::named)
    }
}

/// What is before the quote that ends a string, and what is behind it.
fn split_string(text: &str) -> Option<(&str, &str)> {
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.find(['"', '\\'])?;
        if text.as_bytes()[at] == b'"' {
            return Some((&text[..at], &text[at + 1..]));
        }
        from = at + 2;
    }
}

impl fmt::Display for FrameClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.get(usize::from(self.0)).unwrap_or(&NAMES[0]))
    }
}

const NAMES: &[&str] = &[
    "a frame of another class",
    // actions of the guest
    "closeSession",
    "configureAuthenticatedSession",
    "configureSession",
    "deleteAttachment",
    "echo",
    "getAttachment",
    "getConfiguration",
    "getJwt",
    "onAttachment",
    "onMessage",
    // classes of Genesys Cloud
    "AttachmentDeletedResponse",
    "ConnectionClosedEvent",
    "Error",
    "ErrorMessage",
    "GenerateUrlError",
    "GetConfigurationResponse",
    "JwtResponse",
    "LogoutEvent",
    "PresignedUrlResponse",
    "ResumeTokenResponse",
    "SessionClearedEvent",
    "SessionExpiredEvent",
    "SessionResponse",
    "StructuredMessage",
    "TooManyRequestsErrorMessage",
    "Unknown",
    "UploadFailureEvent",
    "UploadSuccessEvent",
    "string",
    // types of the gateway, both ways
    "error",
    "event",
    "handshake",
    "handshake.accepted",
    "message",
    "message.accepted",
    "message.failed",
    "ping",
    "pong",
    "session.ended",
    "typing",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_or_gone() {
        for &name in NAMES {
            assert_eq!(FrameClass::named(name).to_string(), name);
        }
        for (text, name) in [
            (r#"{"action":"onMessage","token":"x"}"#, "onMessage"),
            (
                r#"{"type": "message", "class": "StructuredMessage", "code": 200}"#,
                "StructuredMessage",
            ),
            (
                r#"{"type":"handshake.accepted","newSession":false}"#,
                "handshake.accepted",
            ),
            (
                r#"{"body":{"class":"JwtResponse","text":"\",\"class\":\"Error\"}"},"class":"StructuredMessage","type":"message"}"#,
                "StructuredMessage",
            ),
        ] {
            assert_eq!(FrameClass::of_frame(text), FrameClass::named(name));
            assert_ne!(FrameClass::of_frame(text), FrameClass::OTHER, "{text}");
        }
        for broken in [
            "class",
            "\"class\"",
            "{\"class\":\"é\\",
            "{\"class\":\"\\é\"}",
            "}}{\"",
            "[\"class\",\"Error\"]",
        ] {
            assert_eq!(FrameClass::of_frame(broken), FrameClass::OTHER);
        }
        assert_eq!(FrameClass::named("my card is 4111"), FrameClass::OTHER);
    }
}
