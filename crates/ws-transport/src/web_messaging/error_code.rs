//! Why Genesys Cloud refuses, and what a client does about it.

/// The codes of refusals on the socket: HTTP statuses, and Genesys' own from 4000 on.
///
/// Names are those of Genesys' mobile SDK. 4012, 4014 to 4016, 4018 and 4019 exist, and nothing public says what they
/// mean: they are [`ErrorCode::Other`]. Match on codes and not on texts, but for 403: see [`ErrorCode::remedy`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ErrorCode {
    /// 4008: a download link, or an upload, is too old.
    AttachmentExpired,
    /// 4009: no such attachment.
    AttachmentNotFound,
    /// 4010: a message names an upload that is not finished.
    AttachmentNotUploaded,
    /// 400: the request failed, or the deployment does not exist.
    BadRequest,
    /// 4017: a signed-in session cannot become anonymous again.
    CannotDowngrade,
    /// 4013: the custom attributes have too many bytes.
    CustomAttributesTooLarge,
    /// 4000: the deployment does not take files.
    FeatureUnavailable,
    /// 4003: what is in the file is refused.
    FileContentInvalid,
    /// 4102: nothing is in the file.
    FileEmpty,
    /// 4004: the file's name is refused.
    FileNameInvalid,
    /// 4005: the file's name has 1,024 characters or more.
    FileNameTooLong,
    /// 4002: the file's size is refused.
    FileSizeInvalid,
    /// 4001: the file's type is refused.
    FileTypeInvalid,
    /// 403: a feature is off, clearing is not allowed, or the guest has to sign in again: the text tells them apart.
    Forbidden,
    /// 4011: the text has more than 4,096 bytes.
    MessageTooLong,
    /// 4020: a field is missing.
    MissingParameter,
    /// 404: not found.
    NotFound,
    /// Any other.
    Other(i64),
    /// 409: the conversation is read-only.
    ReadOnly,
    /// 4029: a limit was exceeded.
    RequestRateTooHigh,
    /// 4006: the session has expired.
    SessionExpired,
    /// 4007: the session does not exist, or this socket has not configured it.
    SessionNotFound,
    /// 408: the service was too slow.
    Timeout,
    /// 429: a limit was exceeded.
    TooManyRequests,
    /// 401: not authorised.
    Unauthorized,
    /// 5000: the service has trouble of its own.
    Unexpected,
}

/// What a client does about a refusal, as Genesys' mobile SDK does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
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
    /// The code of this number.
    #[must_use]
    pub fn new(number: i64) -> Self {
        let known = CODES.iter().find(|(known, _)| *known == number);
        known.map_or(Self::Other(number), |(_, code)| *code)
    }

    /// The number as it travels.
    #[must_use]
    pub fn number(self) -> i64 {
        match self {
            Self::Other(number) => number,
            known => CODES
                .iter()
                .find(|(_, code)| *code == known)
                .map_or(0, |(number, _)| *number),
        }
    }

    /// What to do. `text` is the refusal's own, which only 403 needs.
    #[must_use]
    pub fn remedy(self, text: &str) -> Remedy {
        match self {
            Self::Unauthorized => Remedy::RefreshJwt,
            Self::Forbidden if must_authenticate(text) => Remedy::Authenticate,
            Self::Forbidden if text.to_lowercase().contains("conversation clear") => Remedy::CannotClear,
            Self::SessionExpired | Self::SessionNotFound | Self::CannotDowngrade => Remedy::NewSession,
            Self::ReadOnly => Remedy::StopSending,
            Self::TooManyRequests | Self::RequestRateTooHigh => Remedy::Wait,
            Self::CustomAttributesTooLarge => Remedy::DropAttributes,
            Self::AttachmentExpired => Remedy::FreshLink,
            Self::Timeout | Self::Unexpected | Self::Other(500..=599) => Remedy::Retry,
            _ => Remedy::Report,
        }
    }
}

fn must_authenticate(text: &str) -> bool {
    text.starts_with("Session authentication failed") || text.starts_with("Try to authenticate again")
}

const CODES: [(i64, ErrorCode); 25] = [
    (400, ErrorCode::BadRequest),
    (401, ErrorCode::Unauthorized),
    (403, ErrorCode::Forbidden),
    (404, ErrorCode::NotFound),
    (408, ErrorCode::Timeout),
    (409, ErrorCode::ReadOnly),
    (429, ErrorCode::TooManyRequests),
    (4000, ErrorCode::FeatureUnavailable),
    (4001, ErrorCode::FileTypeInvalid),
    (4002, ErrorCode::FileSizeInvalid),
    (4003, ErrorCode::FileContentInvalid),
    (4004, ErrorCode::FileNameInvalid),
    (4005, ErrorCode::FileNameTooLong),
    (4006, ErrorCode::SessionExpired),
    (4007, ErrorCode::SessionNotFound),
    (4008, ErrorCode::AttachmentExpired),
    (4009, ErrorCode::AttachmentNotFound),
    (4010, ErrorCode::AttachmentNotUploaded),
    (4011, ErrorCode::MessageTooLong),
    (4013, ErrorCode::CustomAttributesTooLarge),
    (4017, ErrorCode::CannotDowngrade),
    (4020, ErrorCode::MissingParameter),
    (4029, ErrorCode::RequestRateTooHigh),
    (4102, ErrorCode::FileEmpty),
    (5000, ErrorCode::Unexpected),
];

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
