//! `/api/v2/webmessaging/guests`: requests of a data subject.

use audit::Actor;
use axum::response::Response;
use genesys_api::GuestId;
use guest_sessions::{DetailCode, ErasureKey, ErrorCode, GuestErasureBody, GuestQueryBody};
use guest_suite::Error;
use guest_suite::direct::GuestRequest;
use http::StatusCode;

use super::request::{Call, Caller};
use super::{Refusal, json_answer};
use crate::config::GUESTS;

pub(super) async fn fetch(mut call: Call) -> Result<Response, Refusal> {
    let (caller, body) = call.admit_json(GUESTS).await?;
    let GuestQueryBody { guest_id, after } = GuestQueryBody::parse(&body)?;
    let request = request(caller, guest_id);
    let report = call
        .app
        .direct
        .guest_report(&request, after)
        .await
        .map_err(refusal)?;
    Ok(json_answer(StatusCode::OK, &report))
}

pub(super) async fn erase(mut call: Call) -> Result<Response, Refusal> {
    let (caller, body) = call.admit_json(GUESTS).await?;
    let key = erasure_key(&call)?;
    let GuestErasureBody { guest_id } = GuestErasureBody::parse(&body)?;
    let request = request(caller, guest_id);
    let erased = call
        .app
        .direct
        .erase_guest(&request, &key)
        .await
        .map_err(refusal)?;
    Ok(json_answer(StatusCode::OK, &erased))
}

/// Returns the key of an erasure. Without it a lost response could not be had again.
fn erasure_key(call: &Call) -> Result<ErasureKey, Refusal> {
    let (detail, message) = match call.idempotency_key()?.map(ErasureKey::try_from) {
        Some(Ok(key)) => return Ok(key),
        Some(Err(error)) => (DetailCode::FieldValue, error.to_string()),
        None => {
            let message = "invalid Idempotency-Key: missing, send a new random UUID, and the same one to repeat this erasure";
            (DetailCode::FieldMissing, message.to_owned())
        }
    };
    Err(Refusal::new(detail.error_code(), message).detail(detail.as_str(), "Idempotency-Key"))
}

fn refusal(error: Error) -> Refusal {
    match error {
        Error::Refused(ErrorCode::NotFound) => Refusal::new(
            ErrorCode::NotFound,
            "cannot find the guest: this API client has no session of it, check the guest's id and the credentials",
        ),
        error => error.into(),
    }
}

/// A request about the sessions of the caller.
fn request(caller: Caller, guest: GuestId) -> GuestRequest {
    GuestRequest {
        guest,
        actor: Actor::client(caller.client.as_str()),
        owner: Some(caller.client),
    }
}
