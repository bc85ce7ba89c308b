//! `GET …/{id}/messages`: the conversation of a session, for its guest.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use genesys_api::SessionId;
use guest_sessions::{ErrorCode, HistoryQuery, MessagePage};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderValue, Method, StatusCode};
use secrecy::SecretString;
use ws_transport::AdmittedOrigin;

use super::request::{Call, bearer_token};
use super::{App, Refusal, json_answer};
use crate::relay::HistoryAnswer;

/// Longest time for the history to be read. Our choice: a page takes two round trips to Genesys.
const TIMEOUT: Duration = Duration::from_secs(15);

pub(super) async fn fetch(call: Call) -> Result<Response, Refusal> {
    let app = call.app.clone();
    let id: SessionId = call.id()?;
    let presented = parse(&call);
    drop(call);
    let opened = match presented {
        Ok((token, query, origin)) => {
            let admitted = app.direct.admit(&id, &token).await.map_err(Refusal::from);
            admitted.map(|admitted| (admitted, query, origin))
        }
        Err(refusal) => Err(refusal),
    };
    let (admitted, query, origin) = match opened {
        Ok(opened) => opened,
        Err(refusal) => {
            app.log_auth_failure(None, refusal.code()).await?;
            return Err(refusal);
        }
    };
    let answer = tokio::select! {
        answer = app.hub.history(admitted, &id, origin, query) => answer,
        () = app.clock.sleep(TIMEOUT) => None,
    };
    match answer {
        Some(HistoryAnswer::Messages(messages, next_page)) => {
            let messages = messages.iter().map(Into::into).collect();
            Ok(json_answer(StatusCode::OK, &MessagePage { messages, next_page }))
        }
        Some(HistoryAnswer::NotFound) => {
            let message = "invalid from: not among the newest 200 messages, read from the newest backwards";
            Err(Refusal::new(ErrorCode::NotFound, message))
        }
        Some(HistoryAnswer::Unavailable(reason)) => {
            tracing::warn!(session = %id, reason, "cannot read the history");
            let message = format!("cannot read the history from Genesys: {reason}, try again later");
            Err(Refusal::unavailable(message))
        }
        None => Err(Refusal::unavailable(
            "cannot read the history from Genesys: no answer in time, try again later",
        )),
    }
}

/// Lets pages of the allowed origins read the answers (CORS), and answers their preflight requests. Other `OPTIONS` are a 405.
pub(super) async fn share(State(app): State<App>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let admitted = app.origins.admit(headers.get_all(ORIGIN).iter()).is_ok();
    let origin = headers.get(ORIGIN).filter(|_| admitted).cloned();
    let is_preflight =
        request.method() == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if is_preflight && admitted {
        let allowed = [
            (ACCESS_CONTROL_ALLOW_METHODS, "GET"),
            (ACCESS_CONTROL_ALLOW_HEADERS, "authorization"),
            (ACCESS_CONTROL_MAX_AGE, "600"),
        ];
        (StatusCode::NO_CONTENT, allowed).into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = HeaderValue::from_static("retry-after, inin-correlation-id");
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    response
}

fn parse(call: &Call) -> Result<(SecretString, HistoryQuery, AdmittedOrigin), Refusal> {
    let headers = call.request.headers();
    let query = HistoryQuery::parse(call.request.uri().query().unwrap_or_default())?;
    let token = bearer_token(headers)?.into();
    Ok((token, query, origin(&call.app, headers)?))
}

/// The origin of the conversation, if this request opens it. A page of the gateway's own origin sends none.
fn origin(app: &App, headers: &http::HeaderMap) -> Result<AdmittedOrigin, Refusal> {
    let refused =
        |error: ws_transport::OriginError| Refusal::new(ErrorCode::OriginNotAllowed, error.to_string());
    let own = app
        .origins
        .origins()
        .first()
        .filter(|_| !headers.contains_key(ORIGIN));
    let admitted = match own {
        Some(own) => app.origins.admit_own(own),
        None => app.origins.admit(headers.get_all(ORIGIN).iter()),
    };
    let admitted = admitted.map_err(refused)?;
    Ok(app.upstream_origin.clone().unwrap_or(admitted))
}
