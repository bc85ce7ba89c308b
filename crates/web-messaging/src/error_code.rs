//! Why Genesys Cloud refuses, and what a client does about it.

pub use crate::generated::error_code::ErrorCode;

/// What a client does about a refusal, as Genesys' mobile SDK does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Remedy {
    /// Ask the guest to sign in again, and configure with the new JWT.
    Authenticate,
    /// The conversation was not cleared, and cannot be.
    CannotClear,
    /// Send without the custom attributes; the message that carried them is lost.
    DropAttributes,
    /// Ask for a fresh link with `getAttachment`.
    FreshLink,
    /// The session is over: forget its token, and begin a new one if the guest goes on.
    NewSession,
    /// Get a new JWT and configure again, three times at most; without a signed-in guest the session is over.
    RefreshJwt,
    /// Tell the application; while the session is being configured it is the end.
    Report,
    /// Try again later.
    Retry,
    /// Say nothing more; offer a new conversation.
    StopSending,
    /// Wait for as long as the refusal says, 3 s if it does not, then send again.
    Wait,
}

impl ErrorCode {
    /// What to do. `text` is the refusal's own, which only 403 needs.
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
    fn every_code_keeps_its_number() {
        for number in (0..6000).chain([-1, i64::MIN, i64::MAX]) {
            assert_eq!(ErrorCode::new(number).number(), number);
        }
        for number in [0, 4012, 4014, 4015, 4016, 4018, 4019] {
            assert_eq!(ErrorCode::new(number), ErrorCode::Other(number));
        }
    }

    #[test]
    fn only_the_text_tells_what_403_means() {
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
    fn remedies_are_those_of_the_mobile_sdk() {
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
