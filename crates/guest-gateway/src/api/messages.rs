//! `GET …/{id}/messages`: the conversation of a session, for its guest.

use std::time::Duration;

use axum::response::Response;
use genesys_api::SessionId;
use guest_sessions::{ErrorCode, HistoryQuery, MessagePage};
use guest_suite::direct::Admitted;
use http::StatusCode;
use http::header::ORIGIN;
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
    answer(&app, admitted, &id, origin, query).await
}

/// Reads a part of the history of an admitted guest.
pub(crate) async fn answer(
    app: &App,
    admitted: Admitted,
    id: &SessionId,
    origin: AdmittedOrigin,
    query: HistoryQuery,
) -> Result<Response, Refusal> {
    let answer = tokio::select! {
        answer = app.hub.history(admitted, id, origin, query) => answer,
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

fn parse(call: &Call) -> Result<(SecretString, HistoryQuery, AdmittedOrigin), Refusal> {
    let headers = call.request.headers();
    let (query, origin) = parse_query(call)?;
    let token = bearer_token(headers)?.into();
    Ok((token, query, origin))
}

/// The part to read, and the origin of the conversation.
pub(crate) fn parse_query(call: &Call) -> Result<(HistoryQuery, AdmittedOrigin), Refusal> {
    let query = HistoryQuery::parse(call.request.uri().query().unwrap_or_default())?;
    Ok((query, origin(&call.app, call.request.headers())?))
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
