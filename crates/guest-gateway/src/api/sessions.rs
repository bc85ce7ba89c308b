//! `/api/v2/webmessaging/guest-sessions`: create, read, rotate, change consent, end.

use axum::response::{IntoResponse, Response};
use genesys_api::SessionId;
use guest_payload::Signals;
use guest_sessions::{AuditQuery, ConsentChangeBody, CreatedSession, NewGuest, RefreshBody};
use guest_suite::Error;
use guest_suite::store::{StoreErrorKind, StoredEntry};
use http::StatusCode;
use serde_json::value::RawValue;
use session_metrics::EndReason;

use super::request::Call;
use super::{App, Refusal, json_answer};
use crate::config::{READ, WRITE};

pub(super) async fn create(mut call: Call) -> Result<Response, Refusal> {
    let (caller, body) = call.admit_json(WRITE).await?;
    let request = call.keyed_request(&caller, &body)?;
    let signals = Signals::from_headers(call.request.headers());
    let guest = NewGuest::parse(&body, signals, caller.now.utc)?;
    let created = call.app.direct.create(&caller.client, guest, request).await?;
    let session = created.session;
    let answer = CreatedSession {
        websocket_url: socket_url(&call.app, &session.id),
        guest_id: session.guest_id,
        tokens: created.tokens,
        created_at: session.created_at,
        consent: session.consent,
        warnings: created.warnings,
    };
    Ok(json_answer(StatusCode::CREATED, &answer))
}

/// The URL of a session's WebSocket.
pub(crate) fn socket_url(app: &App, id: &SessionId) -> String {
    let path = format!("/api/v2/webmessaging/guest-sessions/{id}/socket");
    app.public.websocket_url(&path)
}

pub(super) async fn fetch(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(READ).await?;
    let id = call.id()?;
    let session = call.app.direct.session(&caller.client, &id).await?;
    Ok(json_answer(StatusCode::OK, &session))
}

pub(super) async fn end(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(WRITE).await?;
    let id = call.id()?;
    call.app.direct.end(&caller.client, &id, EndReason::Guest).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn refresh(mut call: Call) -> Result<Response, Refusal> {
    let (caller, body) = call.admit_json(WRITE).await?;
    let id = call.id()?;
    let key = call.idempotency_key()?;
    let presented = RefreshBody::parse(&body)?.refresh_token;
    let tokens = call
        .app
        .direct
        .rotate(&caller.client, &id, &presented, key.as_ref())
        .await?;
    call.app.hub.extend(&id, tokens.expires_at).await;
    Ok(json_answer(StatusCode::OK, &tokens))
}

pub(super) async fn change_consent(mut call: Call) -> Result<Response, Refusal> {
    let (caller, body) = call.admit_json(WRITE).await?;
    let id = call.id()?;
    let signals = Signals::from_headers(call.request.headers());
    let (change, signals) = ConsentChangeBody::parse(&body, signals, caller.now.utc)?;
    let changed = call
        .app
        .direct
        .change_consent(&caller.client, &id, &change, signals);
    Ok(json_answer(StatusCode::OK, &changed.await?))
}

pub(super) async fn audit_trail(call: Call) -> Result<Response, Refusal> {
    let caller = call.admit(READ).await?;
    let id = call.id()?;
    let query = AuditQuery::parse(call.request.uri().query().unwrap_or_default())?;
    let trail = call.app.direct.audit_trail(&caller.client, &id, query).await?;
    Ok(json_answer(StatusCode::OK, &trail.try_map(as_logged)?))
}

fn as_logged(entry: &StoredEntry) -> Result<&RawValue, Error> {
    serde_json::from_slice(&entry.bytes).map_err(|_| StoreErrorKind::Corrupt.into())
}

pub(super) async fn metrics(call: Call) -> Result<Response, Refusal> {
    call.admit(READ).await?;
    let mut snapshot = call.app.direct.metrics();
    // they name the channels of other API clients
    snapshot.groups.clear();
    Ok(json_answer(StatusCode::OK, &snapshot))
}
