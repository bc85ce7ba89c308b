//! What an error of the suite is over HTTP.

use genesys_api::Problem;
use guest_suite::direct::DirectError;
use http::StatusCode;

use super::Refusal;
use crate::causes::chain;

impl From<DirectError> for Refusal {
    fn from(error: DirectError) -> Self {
        let (status, code) = match &error {
            DirectError::AccessExpired => (StatusCode::UNAUTHORIZED, "credentials.expired"),
            DirectError::AccessUnknown => (StatusCode::UNAUTHORIZED, "bad.credentials"),
            DirectError::ConsentOutdated(_) => (StatusCode::CONFLICT, "consent.outdated"),
            DirectError::ConsentRequired(_) => (StatusCode::UNPROCESSABLE_ENTITY, "consent.required"),
            DirectError::Ended => (StatusCode::CONFLICT, "session.ended"),
            DirectError::GuestInUse => (StatusCode::CONFLICT, "guest.id.in.use"),
            DirectError::NotFound => (StatusCode::NOT_FOUND, "not.found"),
            DirectError::RefreshUsed => (StatusCode::CONFLICT, "refresh.token.used"),
            DirectError::TooManyWebhooks => (StatusCode::CONFLICT, "webhook.limit"),
            DirectError::WebhookNameInUse => (StatusCode::CONFLICT, "webhook.name.in.use"),
            DirectError::RefreshUnknown => return Self::invalid_value("refreshToken", error.to_string()),
            DirectError::UnknownChannel { .. } => {
                return Self::invalid_value("channelConfigurationId", error.to_string());
            }
            _ => {
                tracing::error!("{}", chain(&error));
                return Self::unavailable(error.to_string());
            }
        };
        let refusal = Self::new(status, code, error.to_string());
        match &error {
            DirectError::ConsentOutdated(_) => refusal.detail(code, "consentTimestamp"),
            DirectError::ConsentRequired(refused) => {
                refused.missing().fold(refusal, |refusal, (purpose, rule)| {
                    refusal.detail(rule, &format!("consent.{purpose}"))
                })
            }
            DirectError::GuestInUse => refusal.detail(code, "guestId"),
            DirectError::RefreshUsed => refusal.detail(code, "refreshToken"),
            DirectError::WebhookNameInUse => refusal.detail(code, "name"),
            _ => refusal,
        }
    }
}

/// A problem that a step described.
impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
        problem.details.iter().fold(
            Self::new(status, &problem.code, problem.message.clone()),
            |refusal, detail| refusal.detail(&detail.error_code, &detail.field_name),
        )
    }
}
