//! Error codes of Genesys Cloud, and the remedy of a client.

pub use crate::generated::error_code::ErrorCode;

/// The reaction of a client to a refusal, as in Genesys' mobile SDK.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Remedy {
    /// Ask the guest to sign in again, and configure with the new JWT.
    Authenticate,
    /// Report that the conversation cannot be cleared.
    CannotClear,
    /// Send without the custom attributes; the message with them is lost.
    DropAttributes,
    /// Request a new link with `getAttachment`.
    FreshLink,
    /// Discard the token of the ended session, and start a new session if the guest continues.
    NewSession,
    /// Get a new JWT and configure again, three times at most; without a signed-in guest the session has ended.
    RefreshJwt,
    /// Report it to the application; it is fatal while the session is being configured.
    Report,
    /// Try again later.
    Retry,
    /// Send nothing more; offer a new conversation.
    StopSending,
    /// Wait for the duration in the refusal, 3 s by default, then send again.
    Wait,
}

impl ErrorCode {
    /// Returns the remedy. `text` is the text of the refusal, which only 403 requires.
    #[must_use]
    pub fn remedy(self, text: &str) -> Remedy {
        match self {
            Self::Forbidden if must_authenticate(text) => Remedy::Authenticate,
            Self::Forbidden if text.to_lowercase().contains("conversation clear") => Remedy::CannotClear,
            other => other.usual_remedy(),
        }
    }
}

fn must_authenticate(text: &str) -> bool {
    text.starts_with("Session authentication failed") || text.starts_with("Try to authenticate again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_code_keeps_its_number() {
        for number in (0..6000).chain([-1, i64::MIN, i64::MAX]) {
            assert_eq!(ErrorCode::new(number).number(), number);
        }
        for number in [0, 4012, 4014, 4015, 4016, 4018, 4019] {
            assert_eq!(ErrorCode::new(number), ErrorCode::Other(number));
        }
    }

    #[test]
    fn remedy_of_403_depends_on_the_text() {
        for (text, remedy) in [
            ("Session authentication failed: x", Remedy::Authenticate),
            ("Try to authenticate again", Remedy::Authenticate),
            (
                "Presence events Conversation Clear are not supported",
                Remedy::CannotClear,
            ),
            (
                "Turn on the Feature Toggle or fix the configuration.",
                Remedy::Report,
            ),
            ("", Remedy::Report),
        ] {
            assert_eq!(ErrorCode::Forbidden.remedy(text), remedy, "{text}");
            assert_eq!(ErrorCode::BadRequest.remedy(text), Remedy::Report);
        }
    }

    #[test]
    fn remedies_match_the_mobile_sdk() {
        for (number, remedy) in [
            (401, Remedy::RefreshJwt),
            (408, Remedy::Retry),
            (409, Remedy::StopSending),
            (429, Remedy::Wait),
            (503, Remedy::Retry),
            (4006, Remedy::NewSession),
            (4007, Remedy::NewSession),
            (4008, Remedy::FreshLink),
            (4011, Remedy::Report),
            (4012, Remedy::Report),
            (4013, Remedy::DropAttributes),
            (4017, Remedy::NewSession),
            (4029, Remedy::Wait),
            (5000, Remedy::Retry),
        ] {
            assert_eq!(ErrorCode::new(number).remedy(""), remedy, "{number}");
        }
    }
}
