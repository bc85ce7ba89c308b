//! What an error of the suite is over HTTP.

use genesys_api::{Problem, error_chain};
use guest_suite::direct::DirectError;

use super::Refusal;
use guest_sessions::ErrorCode;

impl From<DirectError> for Refusal {
    fn from(error: DirectError) -> Self {
        let code = match &error {
            DirectError::AccessExpired => ErrorCode::CredentialsExpired,
            DirectError::AccessUnknown => ErrorCode::BadCredentials,
            DirectError::ConsentOutdated(_) => ErrorCode::ConsentOutdated,
            DirectError::ConsentRequired(_) => ErrorCode::ConsentRequired,
            DirectError::Ended => ErrorCode::SessionEnded,
            DirectError::GuestInUse => ErrorCode::GuestIdInUse,
            DirectError::NotFound => ErrorCode::NotFound,
            DirectError::RefreshUsed => ErrorCode::RefreshTokenUsed,
            DirectError::TooManyWebhooks => ErrorCode::WebhookLimit,
            DirectError::WebhookNameInUse => ErrorCode::WebhookNameInUse,
            DirectError::RefreshUnknown => return Self::invalid_value("refreshToken", error.to_string()),
            DirectError::UnknownChannel { .. } => {
                return Self::invalid_value("channelConfigurationId", error.to_string());
            }
            _ => {
                tracing::error!("{}", error_chain(&error));
                return Self::unavailable(error.to_string());
            }
        };
        let refusal = Self::new(code, error.to_string());
        match &error {
            DirectError::ConsentOutdated(_) => refusal.detail(code.as_str(), "consentTimestamp"),
            DirectError::ConsentRequired(refused) => {
                refused.missing().fold(refusal, |refusal, (purpose, rule)| {
                    refusal.detail(rule, &format!("consent.{purpose}"))
                })
            }
            DirectError::GuestInUse => refusal.detail(code.as_str(), "guestId"),
            DirectError::RefreshUsed => refusal.detail(code.as_str(), "refreshToken"),
            DirectError::WebhookNameInUse => refusal.detail(code.as_str(), "name"),
            _ => refusal,
        }
    }
}

/// A problem that a step described.
impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let code = ErrorCode::from_name(&problem.code).unwrap_or(ErrorCode::BadRequest);
        problem
            .details
            .iter()
            .fold(Self::new(code, problem.message.clone()), |refusal, detail| {
                refusal.detail(&detail.error_code, &detail.field_name)
            })
    }
}
