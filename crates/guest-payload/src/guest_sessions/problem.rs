//! Refusals of the gateway in Genesys' standard error body.

use genesys_api::{Detail, Problem};

use super::BodyError;
use crate::{AttributeError, ChangeError, Refused};

/// 422 `consent.required`, with one detail for each missing purpose: the field, and as its code the id of the rule.
impl From<&Refused<'_>> for Problem {
    fn from(refused: &Refused<'_>) -> Self {
        let details = refused.missing().map(|(purpose, rule)| Detail {
            error_code: rule.to_owned(),
            field_name: format!("consent.{purpose}"),
            ..Detail::default()
        });
        Self {
            details: details.collect(),
            ..Self::new(422, "consent.required", refused.to_string())
        }
    }
}

/// 400 `bad.request` for what is no JSON, else 400 `invalid.value` with the field.
impl From<&BodyError> for Problem {
    fn from(error: &BodyError) -> Self {
        let (field_name, error_code) = match error {
            BodyError::Attribute { error } => match error {
                AttributeError::Duplicate { key }
                | AttributeError::LongValue { key, .. }
                | AttributeError::OtherPurpose { key, .. } => {
                    (format!("guestAttributes.{key}"), "field.value")
                }
                _ => ("guestAttributes".to_owned(), "field.value"),
            },
            BodyError::Duplicate { field } => (field.clone(), "field.duplicate"),
            BodyError::Age { field, .. }
            | BodyError::Evidence { field, .. }
            | BodyError::Future { field, .. }
            | BodyError::Id { field, .. }
            | BodyError::Time { field } => ((*field).to_owned(), "field.value"),
            BodyError::Jurisdiction { .. } => ("guestAttributes.region".to_owned(), "field.value"),
            BodyError::Missing { field } => ((*field).to_owned(), "field.missing"),
            BodyError::Nothing | BodyError::Syntax { .. } => {
                return Self::new(400, "bad.request", error.to_string());
            }
            BodyError::Unknown { field, .. } => (field.clone(), "field.unknown"),
            BodyError::WrongType { field, .. } => (field.clone(), "field.type"),
        };
        invalid(error.to_string(), field_name, error_code)
    }
}

/// 400 `invalid.value` on `consentTimestamp`.
impl From<&ChangeError> for Problem {
    fn from(error: &ChangeError) -> Self {
        invalid(error.to_string(), "consentTimestamp".to_owned(), "field.outdated")
    }
}

fn invalid(message: String, field_name: String, error_code: &str) -> Problem {
    Problem {
        details: vec![Detail {
            error_code: error_code.to_owned(),
            field_name,
            ..Detail::default()
        }],
        ..Problem::new(400, "invalid.value", message)
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::guest_sessions::parse_new_guest;
    use crate::{Age, Choice, Consent, Evidence, Policy, Request, Signals};

    #[test]
    fn a_refusal_names_field_and_rule() {
        let refused = Policy::tutorial_strict()
            .decide(&Request {
                jurisdictions: &["GB".parse().unwrap()],
                age: Age::UNKNOWN,
                signals: Signals::default(),
                consent: &Consent::together(
                    [Choice::Unknown, Choice::Granted, Choice::Granted],
                    Evidence::at(OffsetDateTime::UNIX_EPOCH),
                ),
                now: OffsetDateTime::UNIX_EPOCH,
            })
            .unwrap_err();
        let problem = Problem::from(&refused);
        assert_eq!((problem.status, problem.code.as_str()), (422, "consent.required"));
        let [detail] = problem.details.as_slice() else {
            panic!("one purpose is missing");
        };
        assert_eq!(detail.field_name, "consent.marketing");
        assert_eq!(detail.error_code, "tutorial-strict/GB/marketing");
    }

    #[test]
    fn a_bad_body_names_its_field() {
        for (body, code, field, detail) in [
            ("}", "bad.request", "", ""),
            ("{}", "invalid.value", "channelConfigurationId", "field.missing"),
            (
                r#"{"channelConfigurationId":[]}"#,
                "invalid.value",
                "channelConfigurationId",
                "field.type",
            ),
            (
                r#"{"channelConfigurationId":"c","guestAttributes":{"region":"x"}}"#,
                "invalid.value",
                "guestAttributes.region",
                "field.value",
            ),
        ] {
            let error = parse_new_guest(body.as_bytes(), Signals::default(), OffsetDateTime::UNIX_EPOCH);
            let problem = Problem::from(&error.unwrap_err());
            assert_eq!((problem.status, problem.code.as_str()), (400, code), "{body}");
            let found = problem.details.first().map_or(("", ""), |found| {
                (found.field_name.as_str(), found.error_code.as_str())
            });
            assert_eq!(found, (field, detail), "{body}");
        }
    }
}
