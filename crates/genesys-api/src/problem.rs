//! Genesys' standard error body, which the gateway speaks as well.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::retry;

/// Longest message taken over from a peer, in characters.
const LONGEST: usize = 500;

/// Why a service refused.
///
/// The shape of Genesys' platform API (`ErrorBody` of its public SDKs). The login host answers in another one, which
/// [`Problem::read`] brings into this. `code` is stable and dotted; `message` is for people.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// What happened and what to do, for people.
    #[serde(default)]
    pub message: String,
    /// The machine's name for it, such as `bad.credentials`.
    #[serde(default)]
    pub code: String,
    /// HTTP status, repeated.
    #[serde(default)]
    pub status: u16,
    /// Correlates with the service's log; also the header `inin-correlation-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_id: Option<String>,
    /// The fields at fault.
    #[serde(default)]
    pub details: Vec<Detail>,
    /// Nested problems.
    #[serde(default)]
    pub errors: Vec<Self>,
    /// How long to wait, from `Retry-After`. Not part of the body.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

/// One field at fault.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Detail {
    /// What is wrong with the field.
    pub error_code: String,
    /// Which field.
    pub field_name: String,
    /// The entity concerned, if one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_id: Option<String>,
    /// Its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_name: Option<String>,
}

impl Problem {
    /// A problem of our own making.
    #[must_use]
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: code.to_owned(),
            status,
            ..Self::default()
        }
    }

    /// Reads any refusal: the platform's body, the login host's, or none at all. `Retry-After` is read in seconds;
    /// a date needs the time of day, see [`retry::retry_after`].
    #[must_use]
    pub fn read(response: &http::Response<Bytes>) -> Self {
        let status = response.status().as_u16();
        let mut problem = serde_json::from_slice::<Self>(response.body())
            .ok()
            .filter(|problem| !problem.code.is_empty())
            .or_else(|| {
                serde_json::from_slice::<Login>(response.body())
                    .ok()
                    .map(Self::from)
            })
            .unwrap_or_else(|| {
                let reason = response.status().canonical_reason().unwrap_or("no reason given");
                Self::new(
                    status,
                    "unknown",
                    format!("the service answered {status} ({reason}) with no account of why"),
                )
            });
        problem.status = status;
        problem.message = harmless(&problem.message);
        problem.code = harmless(&problem.code);
        problem.retry_after = retry::retry_after_seconds(response.headers());
        if problem.context_id.is_none() {
            problem.context_id = response
                .headers()
                .get("inin-correlation-id")
                .and_then(|id| id.to_str().ok())
                .map(harmless);
        }
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
    description: Option<String>,
    error_description: Option<String>,
}

impl From<Login> for Problem {
    fn from(login: Login) -> Self {
        let message = login
            .error_description
            .or(login.description)
            .unwrap_or_else(|| login.error.clone());
        Self {
            message,
            code: login.error,
            ..Self::default()
        }
    }
}

/// A peer's text, safe for a log line: bounded, and with no control characters.
fn harmless(text: &str) -> String {
    text.chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
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
    fn the_platform_body_is_read_as_it_is() {
        let problem = Problem::read(&response(
            401,
            r#"{"message":"Invalid login credentials.","code":"bad.credentials","status":401,"contextId":"3f0c","details":[],"errors":[]}"#,
        ));
        assert_eq!((problem.code.as_str(), problem.status), ("bad.credentials", 401));
        assert_eq!(problem.context_id.as_deref(), Some("3f0c"));
    }

    #[test]
    fn the_login_host_speaks_another_shape() {
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
    fn a_page_in_place_of_a_body_is_still_a_problem() {
        let problem = Problem::read(&response(502, "<html>Bad gateway</html>"));
        assert_eq!((problem.code.as_str(), problem.status), ("unknown", 502));
    }

    #[test]
    fn a_peer_cannot_break_a_log_line() {
        let problem = Problem::read(&response(400, r#"{"code":"x","message":"a\nFORGED \u001b[31m"}"#));
        assert_eq!(problem.message, "a FORGED  [31m");
    }
}
