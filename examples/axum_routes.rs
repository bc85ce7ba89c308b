//! The routes of a conversation in `axum_backend`: send a message, and receive events as a stream (SSE).

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use futures_util::{Stream, stream};
use guest_suite::GuestSessions;
use guest_suite::transport::AdmittedOrigin;
use tokio::sync::{Mutex, broadcast, mpsc};

/// The state of the backend.
pub(crate) struct App {
    pub(crate) sessions: GuestSessions,
    pub(crate) page: AdmittedOrigin,
    pub(crate) chats: Mutex<HashMap<String, Chat>>,
}

/// Texts to send, and events of one conversation.
type Chat = (mpsc::Sender<String>, broadcast::Sender<String>);

pub(crate) async fn send(State(app): State<Arc<App>>, Path(id): Path<String>, text: String) -> StatusCode {
    match app.chats.lock().await.get(&id) {
        Some((texts, _)) if texts.try_send(text).is_ok() => StatusCode::ACCEPTED,
        Some(_) => StatusCode::TOO_MANY_REQUESTS,
        None => StatusCode::NOT_FOUND,
    }
}

pub(crate) async fn events(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, StatusCode> {
    let chats = app.chats.lock().await;
    let receiver = chats.get(&id).ok_or(StatusCode::NOT_FOUND)?.1.subscribe();
    Ok(Sse::new(stream::unfold(receiver, async |mut receiver| {
        let line = receiver.recv().await.ok()?;
        Some((Ok(Event::default().data(line)), receiver))
    })))
}
