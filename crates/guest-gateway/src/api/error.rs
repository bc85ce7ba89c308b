//! Refusals for errors of the suite, and for malformed bodies.

use genesys_api::error_chain;
use guest_sessions::{BodyError, DetailCode, ErrorCode};
use guest_suite::direct::DirectError;

use super::Refusal;

impl From<DirectError> for Refusal {
    fn from(error: DirectError) -> Self {
        let code = match error.code() {
            Some(code) if code != ErrorCode::ServiceUnavailable => code,
            _ => {
                tracing::error!("{}", error_chain(&error));
                return Self::unavailable(error.to_string());
            }
        };
        let refusal = Self::new(code, error.to_string());
        let invalid = DetailCode::FieldValue.as_str();
        match &error {
            DirectError::ConsentOutdated(_) => refusal.detail(code.as_str(), "consentTimestamp"),
            DirectError::ConsentRequired(refused) => {
                refused.missing().fold(refusal, |refusal, (purpose, rule)| {
                    refusal.detail(rule, &format!("consent.{purpose}"))
                })
            }
            DirectError::GuestInUse => refusal.detail(code.as_str(), "guestId"),
            DirectError::RefreshUnknown => refusal.detail(invalid, "refreshToken"),
            DirectError::RefreshUsed => refusal.detail(code.as_str(), "refreshToken"),
            DirectError::UnknownChannel { .. } => refusal.detail(invalid, "channelConfigurationId"),
            DirectError::WebhookNameInUse => refusal.detail(code.as_str(), "name"),
            _ => refusal,
        }
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        let refusal = Self::new(ErrorCode::of_body(&error), error.to_string());
        match (DetailCode::of_body(&error), error.field()) {
            (Some(detail), Some(field)) => refusal.detail(detail.as_str(), field),
            _ => refusal,
        }
    }
}
