//! `/api/v2/webmessaging/guest-sessions`: create, read, rotate, change consent, end.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use genesys_api::{Problem, SessionId, rfc3339};
use guest_payload::guest_sessions::{
    BodyError, Session, SessionView, parse_consent_change, parse_new_guest, signals,
};
use guest_suite::SessionInfo;
use http::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use session_metrics::EndReason;

use super::request::{Id, Scope, admit, admit_json};
use super::{App, Refusal, json_answer};

pub(super) async fn create(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    let signals = signals(request.headers());
    let (caller, body) = admit_json(&app, request, Scope::Write).await?;
    let guest = parse_new_guest(&body, signals, caller.now.utc).map_err(bad_body)?;
    let created = app.direct.create(&caller.client, guest).await?;
    let answer = Session {
        websocket_url: app.socket_url(&created.session.id),
        id: created.session.id,
        guest_id: created.session.guest,
        access_token: created.tokens.access,
        refresh_token: created.tokens.refresh,
        expires_at: created.tokens.expires_at,
        created_at: created.session.created_at,
        consent: created.session.consent,
    };
    Ok(json_answer(StatusCode::CREATED, answer.to_body()))
}

pub(super) async fn fetch(State(app): State<App>, Id(id): Id, request: Request) -> Result<Response, Refusal> {
    let caller = admit(&app, request.headers(), Scope::Read)?;
    let session = app.direct.session(&caller.client, &session_id(&id)?).await?;
    Ok(view(session))
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
    let presented = refresh_token(&body)?;
    let tokens = app.direct.rotate(&caller.client, &id, &presented).await?;
    app.hub.extend(&id, tokens.expires_at).await;
    let answer = json!({
        "id": id,
        "accessToken": tokens.access.expose_secret(),
        "refreshToken": tokens.refresh.expose_secret(),
        "expiresAt": rfc3339(tokens.expires_at),
    });
    Ok(json_answer(StatusCode::OK, answer.to_string().into()))
}

pub(super) async fn change_consent(
    State(app): State<App>,
    Id(id): Id,
    request: Request,
) -> Result<Response, Refusal> {
    let signals = signals(request.headers());
    let (caller, body) = admit_json(&app, request, Scope::Write).await?;
    let id = session_id(&id)?;
    let change = parse_consent_change(&body, caller.now.utc).map_err(bad_body)?;
    Ok(view(
        app.direct
            .change_consent(&caller.client, &id, &change, signals)
            .await?,
    ))
}

pub(super) async fn audit_trail(
    State(app): State<App>,
    Id(id): Id,
    request: Request,
) -> Result<Response, Refusal> {
    let caller = admit(&app, request.headers(), Scope::Read)?;
    let trail = app.direct.audit_trail(&caller.client, &session_id(&id)?).await?;
    let entries: Vec<Value> = trail
        .iter()
        .filter_map(|entry| serde_json::from_slice(&entry.bytes).ok())
        .collect();
    Ok(json_answer(
        StatusCode::OK,
        json!({ "entries": entries }).to_string().into(),
    ))
}

pub(super) async fn metrics(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    admit(&app, request.headers(), Scope::Read)?;
    let snapshot = serde_json::to_vec(&app.direct.metrics()).expect("a snapshot is plain numbers");
    Ok(json_answer(StatusCode::OK, snapshot.into()))
}

/// Reads `{"refreshToken": text}`. No refusal repeats a value: it is meant to be a secret.
fn refresh_token(body: &[u8]) -> Result<SecretString, Refusal> {
    const FIELD: &str = "refreshToken";
    let no = |what: &str| {
        Refusal::bad_request(format!(
            "{what}: send the session's refresh token, as text, and nothing else"
        ))
    };
    let body: Value = serde_json::from_slice(body).map_err(|_| no("the body is not JSON"))?;
    let Value::Object(mut fields) = body else {
        return Err(no("the body is no object"));
    };
    let token = match fields.remove(FIELD) {
        Some(Value::String(token)) => token,
        Some(_) => return Err(no("refreshToken is no text").detail("wrong.type", FIELD)),
        None => return Err(no("refreshToken is missing").detail("missing", FIELD)),
    };
    match fields.keys().next() {
        Some(name) => {
            let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            Err(no("the body holds another field").detail("unknown.field", &name))
        }
        None => Ok(token.into()),
    }
}

/// An id that cannot exist is answered like one that does not.
pub(super) fn session_id(text: &str) -> Result<SessionId, Refusal> {
    text.parse().map_err(|_| Refusal::not_found("session"))
}

fn view(session: SessionInfo) -> Response {
    let (ended_at, end_reason) = session.ended.unzip();
    let view = SessionView {
        id: session.id,
        guest_id: session.guest,
        state: session.state,
        created_at: session.created_at,
        expires_at: session.expires_at,
        ended_at,
        end_reason,
        consent: session.consent,
    };
    let body = serde_json::to_vec(&view).expect("a view is plain data with text keys");
    json_answer(StatusCode::OK, Bytes::from(body))
}

fn bad_body(error: BodyError) -> Refusal {
    Problem::from(&error).into()
}
