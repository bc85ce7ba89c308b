//! `/api/v2/webmessaging/guest-sessions`: create, read, rotate, change consent, end.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use genesys_api::SessionId;
use guest_payload::Signals;
use guest_sessions::{AuditTrail, ConsentChangeBody, CreatedSession, NewGuest, RefreshBody, RefreshedTokens};
use http::StatusCode;
use session_metrics::EndReason;

use super::request::{Id, Scope, admit, admit_json};
use super::{App, Refusal, json_answer};

pub(super) async fn create(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    let signals = Signals::from_headers(request.headers());
    let (caller, body) = admit_json(&app, request, Scope::Write).await?;
    let guest = NewGuest::parse(&body, signals, caller.now.utc)?;
    let created = app.direct.create(&caller.client, guest).await?;
    let answer = CreatedSession {
        websocket_url: app.socket_url(&created.session.id),
        id: created.session.id,
        guest_id: created.session.guest_id,
        access_token: created.tokens.access,
        refresh_token: created.tokens.refresh,
        expires_at: created.tokens.expires_at,
        created_at: created.session.created_at,
        consent: created.session.consent,
    };
    Ok(json_answer(StatusCode::CREATED, &answer))
}

pub(super) async fn fetch(State(app): State<App>, Id(id): Id, request: Request) -> Result<Response, Refusal> {
    let caller = admit(&app, request.headers(), Scope::Read)?;
    let session = app.direct.session(&caller.client, &session_id(&id)?).await?;
    Ok(json_answer(StatusCode::OK, &session))
}

pub(super) async fn end(State(app): State<App>, Id(id): Id, request: Request) -> Result<Response, Refusal> {
    let caller = admit(&app, request.headers(), Scope::Write)?;
    let id = session_id(&id)?;
    app.direct.end(&caller.client, &id, EndReason::Guest).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn refresh(
    State(app): State<App>,
    Id(id): Id,
    request: Request,
) -> Result<Response, Refusal> {
    let (caller, body) = admit_json(&app, request, Scope::Write).await?;
    let id = session_id(&id)?;
    let presented = RefreshBody::parse(&body)?.refresh_token;
    let tokens = app.direct.rotate(&caller.client, &id, &presented).await?;
    app.hub.extend(&id, tokens.expires_at).await;
    let answer = RefreshedTokens {
        id,
        access_token: tokens.access,
        refresh_token: tokens.refresh,
        expires_at: tokens.expires_at,
    };
    Ok(json_answer(StatusCode::OK, &answer))
}

pub(super) async fn change_consent(
    State(app): State<App>,
    Id(id): Id,
    request: Request,
) -> Result<Response, Refusal> {
    let signals = Signals::from_headers(request.headers());
    let (caller, body) = admit_json(&app, request, Scope::Write).await?;
    let id = session_id(&id)?;
    let change = ConsentChangeBody::parse(&body, caller.now.utc)?;
    let session = app
        .direct
        .change_consent(&caller.client, &id, &change, signals)
        .await?;
    Ok(json_answer(StatusCode::OK, &session))
}

pub(super) async fn audit_trail(
    State(app): State<App>,
    Id(id): Id,
    request: Request,
) -> Result<Response, Refusal> {
    let caller = admit(&app, request.headers(), Scope::Read)?;
    let trail = app.direct.audit_trail(&caller.client, &session_id(&id)?).await?;
    let entries = trail
        .iter()
        .filter_map(|entry| serde_json::from_slice(&entry.bytes).ok())
        .collect();
    Ok(json_answer(StatusCode::OK, &AuditTrail { entries }))
}

pub(super) async fn metrics(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    admit(&app, request.headers(), Scope::Read)?;
    Ok(json_answer(StatusCode::OK, &app.direct.metrics()))
}

/// An id that cannot exist is answered like one that does not.
pub(super) fn session_id(text: &str) -> Result<SessionId, Refusal> {
    text.parse().map_err(|_| Refusal::not_found("session"))
}
