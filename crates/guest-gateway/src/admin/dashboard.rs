//! The dashboard: the figures of this gateway, live, the timeline of one session, and the webhooks.

mod chart;
mod snapshot;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use genesys_api::{EndReason, SessionId, rfc3339};
use guest_conversation::timeline::Timeline;
use guest_sessions::{AuditQuery, ErrorCode};
use guest_suite::store::StoreErrorKind;
use guest_suite::{Error, SessionInfo};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;

pub(super) use self::snapshot::Snapshots;
use super::Admin;
use super::login::Operator;
use crate::api::{Refusal, json_answer};
use crate::spa::event_stream;

/// Pages that watch at the same time. Our choice.
pub(super) const WATCHERS: usize = 16;
/// Longest time for a page to take a snapshot.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The routes, which need a login.
pub(super) fn routes() -> Router<Admin> {
    Router::new()
        .route("/dashboard/charts/{name}", get(draw))
        .route("/dashboard/events", get(watch))
        .route("/dashboard/sessions/{id}", get(show_session))
        .route("/dashboard/verify", post(verify))
        .merge(webhooks::routes())
}

/// Sends a snapshot each second, until the page or the login is gone.
async fn watch(
    State(admin): State<Admin>,
    Extension(operator): Extension<Operator>,
) -> Result<Response, Refusal> {
    let slot = Arc::clone(&admin.watchers).try_acquire_owned().map_err(|_| {
        Refusal::unavailable(format!(
            "cannot open a stream: {WATCHERS} pages have one, close a page"
        ))
    })?;
    let (events, body) = mpsc::channel(1);
    tokio::spawn(async move {
        let _slot = slot;
        let shutdown = admin.app.hub.shutdown.clone();
        tokio::select! {
            () = send_snapshots(&admin, &operator, events) => {}
            () = shutdown.requested() => {}
        }
    });
    Ok(event_stream(body))
}

async fn send_snapshots(admin: &Admin, operator: &Operator, events: mpsc::Sender<Bytes>) {
    let clock = &admin.app.clock;
    while admin.login.is_in_force(operator, clock.now().instant) {
        let sent = events.send(admin.snapshots.event(&admin.app).await);
        match tokio::time::timeout(WRITE_TIMEOUT, sent).await {
            Ok(Ok(())) => clock.sleep(snapshot::INTERVAL).await,
            _ => return,
        }
    }
}

/// Draws the distribution of a duration, or answers 204 as long as there is none.
async fn draw(State(admin): State<Admin>, Path(name): Path<String>) -> Result<Response, Refusal> {
    let figures = admin.app.direct.metrics();
    let durations = match &*name {
        "first-reply.svg" => figures.time_to_first_reply,
        "session.svg" => figures.durations,
        _ => {
            let message = "invalid chart: use first-reply.svg or session.svg";
            return Err(Refusal::new(ErrorCode::NotFound, message));
        }
    };
    let Some(durations) = durations else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let svg = chart::draw(&durations).map_err(|error| {
        tracing::error!(%error, name, "cannot draw a chart");
        Refusal::new(
            ErrorCode::InternalServerError,
            "cannot draw the chart: see the gateway's log",
        )
    })?;
    Ok(([(CONTENT_TYPE, "image/svg+xml")], svg).into_response())
}

/// Requests a verification of the audit log. The snapshots have its progress.
async fn verify(State(admin): State<Admin>) -> StatusCode {
    admin.app.direct.audit_log().monitor().verify_now();
    StatusCode::ACCEPTED
}

/// The audit entries of a session, the events of its connection, and why it disconnected. The read is audited.
async fn show_session(
    State(admin): State<Admin>,
    Extension(operator): Extension<Operator>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let app = &admin.app;
    let id: SessionId = id
        .parse()
        .map_err(|_| Refusal::new(ErrorCode::NotFound, "invalid session id: no session has it"))?;
    let query = AuditQuery::default();
    let (session, trail) = app.direct.operator_trail(operator.actor(), &id, query).await?;
    let entries = trail
        .entries
        .iter()
        .map(|entry| serde_json::from_slice(&entry.bytes));
    let entries: Result<Vec<&RawValue>, _> = entries.collect();
    let entries = entries.map_err(|_| Error::from(StoreErrorKind::Corrupt))?;
    let timeline = app.hub.timeline(&id).await;
    let events = timeline.iter().flat_map(Timeline::entries);
    let events: Vec<Value> = events
        .map(|(at, event)| json!({ "time": rfc3339(at), "text": event.to_string() }))
        .collect();
    Ok(json_answer(
        StatusCode::OK,
        &json!({
            "id": session.id,
            "state": session.state,
            "createdAt": rfc3339(session.created_at),
            "endedAt": session.ended_at.map(rfc3339),
            "endReason": session.end_reason,
            "why": why(&session, timeline.as_ref()),
            "connection": events,
            "audit": entries,
            "hasOlder": trail.next.is_some(),
        }),
    ))
}

/// Explains in sentences the end of the session and of its connection.
fn why(session: &SessionInfo, timeline: Option<&Timeline>) -> String {
    let end = session
        .end_reason
        .as_deref()
        .map(|reason| EndReason::from_name(reason).map_or("The session has ended.", explain_end));
    let connection = match (timeline, &end) {
        (Some(timeline), _) => timeline.explain(),
        (None, Some(_)) => "No events of its connection are in memory.".to_owned(),
        (None, None) => "It has no connection to Genesys Cloud in this process: its guest has not connected since the start.".to_owned(),
    };
    end.into_iter()
        .map(str::to_owned)
        .chain([connection])
        .collect::<Vec<_>>()
        .join(" ")
}

fn explain_end(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Agent => "The agent, a bot or a flow ended the conversation.",
        EndReason::ConsentWithdrawn => {
            "The session ended because the guest withdrew a consent that the policy requires."
        }
        EndReason::Error => "A permanent error of Genesys Cloud ended the session.",
        EndReason::Expired => "The session expired: its idle timeout or its lifetime has passed.",
        EndReason::Guest => "The guest ended the session, or the application on the guest's behalf.",
        EndReason::ServerClosed => "Genesys Cloud closed the conversation permanently.",
        EndReason::SignedOut => "The session ended because the guest signed out.",
        EndReason::TokenReuse => {
            "The session ended because an invalid token of it was used, which may be stolen."
        }
    }
}
