//! The standard error body of Genesys Cloud, which the gateway uses too.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

use crate::wire::sanitize;
use crate::{json, retry};

/// An error body.
///
/// It has the shape of Genesys' platform API (`ErrorBody` of its public SDKs). The login host uses another shape, which
/// [`Problem::read`] converts. `code` is stable and dotted, `message` is for people.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Description of the error and its remedy, for people.
    #[serde(default, deserialize_with = "json::lenient")]
    pub message: String,
    /// Stable name of the error, such as `bad.credentials`.
    #[serde(default, deserialize_with = "json::lenient")]
    pub code: String,
    /// HTTP status.
    #[serde(default, deserialize_with = "json::lenient")]
    pub status: u16,
    /// Correlation id in the service's log, also sent as the header `inin-correlation-id`.
    #[serde(
        default,
        deserialize_with = "json::lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub context_id: Option<String>,
    /// Invalid fields.
    #[serde(default, deserialize_with = "json::lenient")]
    pub details: Vec<Detail>,
    /// Nested errors.
    #[serde(default, deserialize_with = "nested")]
    pub errors: Vec<Self>,
    /// Wait from `Retry-After`. Not part of the body.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

/// Reads nested errors within the depth limit of the parser, which [`json::lenient`] starts anew.
fn nested<'de, D: Deserializer<'de>>(field: D) -> Result<Vec<Problem>, D::Error> {
    Option::deserialize(field).map(Option::unwrap_or_default)
}

/// An invalid field.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Detail {
    /// Stable name of the error in the field.
    pub error_code: String,
    /// Name of the field.
    pub field_name: String,
    /// Id of the affected entity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_id: Option<String>,
    /// Kind of the affected entity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_name: Option<String>,
}

impl Problem {
    /// A new error body.
    #[must_use]
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: code.to_owned(),
            status,
            ..Self::default()
        }
    }

    /// Parses any error response: the platform's body, the login host's, or an unknown one. `Retry-After` is parsed in
    /// seconds only; see [`retry::retry_after`] for dates.
    #[must_use]
    pub fn read(response: &http::Response<Bytes>) -> Self {
        let status = response.status().as_u16();
        let body = response.body();
        let platform = serde_json::from_slice(body).ok();
        let mut problem = if let Some(problem) = platform.filter(|problem: &Self| !problem.code.is_empty()) {
            problem
        } else if let Ok(login) = serde_json::from_slice::<Login>(body) {
            let message = login.error_description.or(login.description);
            Self::new(
                status,
                &login.error,
                message.unwrap_or_else(|| login.error.clone()),
            )
        } else {
            let reason = response.status().canonical_reason().unwrap_or("no reason given");
            let message = format!("the service responded with {status} ({reason}) and no error body");
            Self::new(status, "unknown", message)
        };
        problem.status = status;
        problem.message = sanitize(&problem.message);
        problem.code = sanitize(&problem.code);
        problem.retry_after =
            retry::retry_after_seconds(response.headers()).map(|wait| wait.min(retry::MAX_RETRY_AFTER));
        let correlation_id = response.headers().get("inin-correlation-id");
        let correlation_id = correlation_id.and_then(|id| id.to_str().ok()).map(sanitize);
        problem.context_id = problem.context_id.or(correlation_id);
        problem
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} {})", self.message, self.status, self.code)
    }
}

impl std::error::Error for Problem {}

/// The login host's body: RFC 6749 section 5.2, with `description` beside `error_description`.
#[derive(Deserialize)]
struct Login {
    error: String,
    #[serde(default, deserialize_with = "json::lenient")]
    description: Option<String>,
    #[serde(default, deserialize_with = "json::lenient")]
    error_description: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &'static str) -> http::Response<Bytes> {
        http::Response::builder()
            .status(status)
            .body(Bytes::from_static(body.as_bytes()))
            .unwrap()
    }

    #[test]
    fn platform_body_is_parsed() {
        let problem = Problem::read(&response(
            401,
            r#"{"message":"Invalid login credentials.","code":"bad.credentials","status":401,"contextId":"3f0c","details":[],"errors":[]}"#,
        ));
        assert_eq!((problem.code.as_str(), problem.status), ("bad.credentials", 401));
        assert_eq!(problem.context_id.as_deref(), Some("3f0c"));
    }

    #[test]
    fn login_host_body_is_converted() {
        for body in [
            r#"{"error":"invalid_client","description":"client not found"}"#,
            r#"{"error":"invalid_client","error_description":"client not found"}"#,
        ] {
            let problem = Problem::read(&response(400, body));
            assert_eq!(
                (problem.code.as_str(), problem.message.as_str()),
                ("invalid_client", "client not found")
            );
        }
        let both = r#"{"error":"invalid_client","description":"authentication failed","error_description":"authentication failed"}"#;
        assert_eq!(Problem::read(&response(400, both)).code, "invalid_client");
    }

    #[test]
    fn invalid_optional_field_is_left_out() {
        let problem = Problem::read(&response(
            429,
            r#"{"code":"too.many.requests","status":"429","details":null,"errors":null,"contextId":7,"message":[]}"#,
        ));
        assert_eq!(
            (problem.code.as_str(), problem.status),
            ("too.many.requests", 429)
        );
        assert!(problem.details.is_empty() && problem.errors.is_empty() && problem.context_id.is_none());
        let problem = Problem::read(&response(
            400,
            r#"{"error":"invalid_grant","error_description":7}"#,
        ));
        assert_eq!(problem.code, "invalid_grant");
    }

    #[test]
    fn html_body_becomes_unknown_problem() {
        let problem = Problem::read(&response(502, "<html>Bad gateway</html>"));
        assert_eq!((problem.code.as_str(), problem.status), ("unknown", 502));
    }

    #[test]
    fn control_characters_are_removed_from_message() {
        let problem = Problem::read(&response(400, r#"{"code":"x","message":"a\nFORGED \u001b[31m"}"#));
        assert_eq!(problem.message, "a FORGED  [31m");
    }
}
