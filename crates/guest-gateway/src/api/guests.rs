//! `/api/v2/webmessaging/guests`: requests of a data subject.

use audit::Actor;
use axum::response::Response;
use genesys_api::{GuestId, IdempotencyKey};
use guest_sessions::{DetailCode, GuestErasureBody, GuestQueryBody};
use guest_suite::direct::GuestRequest;
use http::StatusCode;

use super::request::{Call, Caller};
use super::{Refusal, json_answer};
use crate::config::GUESTS;

/// Shortest key of an erasure: 128 random bits in base64.
const MIN_KEY: usize = 22;

pub(super) async fn fetch(mut call: Call) -> Result<Response, Refusal> {
    let (caller, body) = call.admit_json(GUESTS).await?;
    let GuestQueryBody { guest_id, after } = GuestQueryBody::parse(&body)?;
    let request = request(caller, guest_id);
    let report = call.app.direct.guest_report(&request, after).await?;
    Ok(json_answer(StatusCode::OK, &report))
}

pub(super) async fn erase(mut call: Call) -> Result<Response, Refusal> {
    let (caller, body) = call.admit_json(GUESTS).await?;
    let key = erasure_key(&call)?;
    let GuestErasureBody { guest_id } = GuestErasureBody::parse(&body)?;
    let request = request(caller, guest_id);
    let erased = call.app.direct.erase_guest(&request, &key).await?;
    Ok(json_answer(StatusCode::OK, &erased))
}

/// Returns the key of an erasure. Without it a lost response could not be had again.
fn erasure_key(call: &Call) -> Result<IdempotencyKey, Refusal> {
    let (detail, reason) = match call.idempotency_key()? {
        Some(key) if key.as_str().len() >= MIN_KEY => return Ok(key),
        Some(_) => (DetailCode::FieldValue, "shorter than 22 characters"),
        None => (DetailCode::FieldMissing, "missing"),
    };
    let message = format!(
        "invalid Idempotency-Key: {reason}, send a new random UUID, and the same one to repeat this erasure"
    );
    Err(Refusal::new(detail.error_code(), message).detail(detail.as_str(), "Idempotency-Key"))
}

/// A request about the sessions of the caller.
fn request(caller: Caller, guest: GuestId) -> GuestRequest {
    GuestRequest {
        guest,
        actor: Actor::client(caller.client.as_str()),
        owner: Some(caller.client),
    }
}
