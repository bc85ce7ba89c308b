//! `GET /sessions/{id}` of `axum_backend`: the WebSocket of a conversation.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::ORIGIN;
use axum::response::Response;
use guest_suite::transport::ServerHandshake;
use guest_suite::transport::server::{Limits, accept};
use hyper_util::rt::TokioIo;

use crate::axum_refusal::Refusal;
use crate::{App, axum_chat};

/// Upgrades the connection. A product also checks that the guest who is logged in owns the session.
pub(crate) async fn open(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    mut request: Request,
) -> Result<Response, Refusal> {
    // a browser names the origin of its page, other programs need not
    if request.headers().contains_key(ORIGIN) {
        let origins = request.headers().get_all(ORIGIN);
        app.pages.admit(origins).map_err(Refusal::bad_request)?;
    }
    let chat = app.chats.lock().await.get(&id).cloned();
    let chat = chat.ok_or_else(|| Refusal::bad_request("unknown session: create it first"))?;
    let handshake = ServerHandshake::parse(&request).map_err(Refusal::bad_request)?;
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(connection) = upgrade.await {
            let socket = accept(TokioIo::new(connection), Limits::default()).await;
            // a second socket waits for the end of the first
            axum_chat::serve(socket, &mut *chat.lock().await).await;
        }
    });
    Ok(handshake.response(None).map(|()| Body::empty()))
}
