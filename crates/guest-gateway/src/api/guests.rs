//! `/api/v2/webmessaging/guests/{id}`: requests of a data subject.

use audit::Actor;
use axum::response::Response;
use guest_suite::direct::GuestRequest;
use http::StatusCode;
use url::form_urlencoded;

use super::audit::parse_session;
use super::request::{Call, Caller};
use super::{Refusal, json_answer};
use crate::config::GUESTS;

pub(super) async fn fetch(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(GUESTS).await?;
    let request = request(&call, caller)?;
    let mut query = form_urlencoded::parse(call.request.uri().query().unwrap_or_default().as_bytes());
    let after = query.next().map(|(_, after)| parse_session("after", &after));
    let report = call.app.direct.guest_report(&request, after.transpose()?).await?;
    Ok(json_answer(StatusCode::OK, &report))
}

pub(super) async fn erase(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(GUESTS).await?;
    let request = request(&call, caller)?;
    let erased = call.app.direct.erase_guest(&request).await?;
    Ok(json_answer(StatusCode::OK, &erased))
}

/// A request about the sessions of the caller.
fn request(call: &Call, caller: Caller) -> Result<GuestRequest, Refusal> {
    Ok(GuestRequest {
        guest: call.id("guest")?,
        actor: Actor::client(caller.client.as_str()),
        owner: Some(caller.client),
    })
}
