//! Error codes of malformed bodies: the same mistake has the same codes at every endpoint.

use genesys_api::strict_json::BodyError;

use crate::{DetailCode, ErrorCode};

impl ErrorCode {
    /// The code of the response to a body that does not match the contract.
    #[must_use]
    pub fn of_body(error: &BodyError) -> Self {
        DetailCode::of_body(error).map_or(Self::BadRequest, DetailCode::error_code)
    }
}

impl DetailCode {
    /// The code of the detail that names the field at fault. `None` if the body as a whole is at fault.
    #[must_use]
    pub fn of_body(error: &BodyError) -> Option<Self> {
        error.field()?;
        Some(match error {
            BodyError::Duplicate { .. } => Self::FieldDuplicate,
            BodyError::Missing { .. } => Self::FieldMissing,
            BodyError::Unknown { .. } => Self::FieldUnknown,
            BodyError::WrongType { .. } => Self::FieldType,
            _ => Self::FieldValue,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_error_has_a_code_and_a_detail_code() {
        let field = || "consent.age".to_owned();
        let wrong_type = |field| BodyError::WrongType {
            field,
            expected: "an object",
            found: "a list",
        };
        for (error, code, detail) in [
            (
                BodyError::Syntax { line: 1, column: 1 },
                ErrorCode::BadRequest,
                None,
            ),
            (BodyError::Empty { expected: "x" }, ErrorCode::BadRequest, None),
            (wrong_type(String::new()), ErrorCode::BadRequest, None),
            (
                wrong_type(field()),
                ErrorCode::BadRequest,
                Some(DetailCode::FieldType),
            ),
            (
                BodyError::Missing { field: field() },
                ErrorCode::BadRequest,
                Some(DetailCode::FieldMissing),
            ),
            (
                BodyError::Value {
                    field: field(),
                    reason: String::new(),
                },
                ErrorCode::InvalidValue,
                Some(DetailCode::FieldValue),
            ),
        ] {
            assert_eq!(
                (ErrorCode::of_body(&error), DetailCode::of_body(&error)),
                (code, detail),
                "{error}"
            );
        }
    }
}
