//! Refusals of `axum_backend`, and `GET /rules/…`, the text of a consent rule.

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use guest_suite::api::Problem;
use guest_suite::payload::Policy;
use guest_suite::{Error, ErrorKind};
use serde_json::{Value, json};

/// A refusal in Genesys' error shape.
pub(crate) struct Refusal(Value);

impl Refusal {
    /// The refusal of a body.
    pub(crate) fn bad_request(reason: impl ToString) -> Self {
        Self(json!(Problem::new(400, "bad.request", reason.to_string())))
    }
}

impl From<Error> for Refusal {
    /// The refusal of the gateway. A refusal of the consent policy names the rules, and gets a link to each.
    fn from(error: Error) -> Self {
        let other = || Problem::new(502, "bad.gateway", error.to_string());
        let mut problem = json!(error.problem().cloned().unwrap_or_else(other));
        if let (ErrorKind::ConsentRequired, Some(details)) = (error.kind(), problem["details"].as_array_mut())
        {
            for detail in details {
                let rule = detail["errorCode"].as_str().unwrap_or_default();
                detail["link"] = format!("/rules/{rule}").into();
            }
        }
        Self(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.0["status"]
            .as_u64()
            .and_then(|status| u16::try_from(status).ok());
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        (status.unwrap_or(StatusCode::BAD_GATEWAY), Json(self.0)).into_response()
    }
}

/// A rule with its sources: `GET /rules/tutorial-strict/EU/marketing`.
pub(crate) async fn rule(Path(id): Path<String>) -> Result<String, StatusCode> {
    let mut rules = Policy::all().into_iter().flat_map(Policy::rules);
    let rule = rules.find(|rule| rule.id == id).ok_or(StatusCode::NOT_FOUND)?;
    let sources: Vec<String> = rule.sources.iter().map(ToString::to_string).collect();
    Ok(format!(
        "{id}: the legal basis of {} is {}, source: {}\n",
        rule.subject,
        rule.basis,
        sources.join("; ")
    ))
}
