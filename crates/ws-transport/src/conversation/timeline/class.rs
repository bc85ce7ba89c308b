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
        assert_eq!(FrameClass::named("my card is 4111"), FrameClass::OTHER);
    }
}
