//! Meanings of error codes, and those of malformed bodies: the same mistake has the same codes at every endpoint.

use genesys_api::strict_json::{BodyError, BodyErrorKind};

use crate::{DetailCode, ErrorCode};

impl ErrorCode {
    /// The code of the response to a body that does not match the contract.
    #[must_use]
    pub fn of_body(error: &BodyError) -> Self {
        DetailCode::of_body(error).map_or(Self::BadRequest, DetailCode::error_code)
    }

    /// Whether it refuses a refresh of tokens for good: the session has ended, or never had the token.
    #[must_use]
    pub fn refuses_refresh(self) -> bool {
        matches!(
            self,
            Self::InvalidValue
                | Self::NotFound
                | Self::RefreshTokenReused
                | Self::RefreshTokenUsed
                | Self::SessionEnded
        )
    }
}

impl DetailCode {
    /// The code of the detail that names the field at fault. `None` if the body as a whole is at fault.
    #[must_use]
    pub fn of_body(error: &BodyError) -> Option<Self> {
        error.field()?;
        Some(match error.kind() {
            BodyErrorKind::Duplicate => Self::FieldDuplicate,
            BodyErrorKind::Missing => Self::FieldMissing,
            BodyErrorKind::Unknown => Self::FieldUnknown,
            BodyErrorKind::WrongType => Self::FieldType,
            _ => Self::FieldValue,
        })
    }
}

#[cfg(test)]
mod tests {
    use guest_payload::Signals;

    use super::*;
    use crate::ConsentChangeBody;

    #[test]
    fn body_error_has_a_code_and_a_detail_code() {
        for (body, code, detail) in [
            ("{", ErrorCode::BadRequest, None),
            ("{}", ErrorCode::BadRequest, None),
            ("[]", ErrorCode::BadRequest, None),
            (
                r#"{"marketing": 1}"#,
                ErrorCode::BadRequest,
                Some(DetailCode::FieldType),
            ),
            (
                r#"{"marketing": true, "marketing": true}"#,
                ErrorCode::BadRequest,
                Some(DetailCode::FieldDuplicate),
            ),
            (
                r#"{"marketing": true, "novelty": true}"#,
                ErrorCode::BadRequest,
                Some(DetailCode::FieldUnknown),
            ),
            (
                r#"{"marketing": true, "notice": {}}"#,
                ErrorCode::BadRequest,
                Some(DetailCode::FieldMissing),
            ),
            (
                r#"{"marketing": true, "consentTimestamp": "noon"}"#,
                ErrorCode::InvalidValue,
                Some(DetailCode::FieldValue),
            ),
        ] {
            let received = time::OffsetDateTime::UNIX_EPOCH;
            let error = ConsentChangeBody::parse(body.as_bytes(), Signals::default(), received).unwrap_err();
            assert_eq!(
                (ErrorCode::of_body(&error), DetailCode::of_body(&error)),
                (code, detail),
                "{body}: {error}"
            );
        }
    }
}
