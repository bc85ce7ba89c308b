//! The conversation behind a WebSocket of `axum_backend`.

use guest_suite::GuestSession;
use guest_suite::conversation::{ConnectionEvent, DeliveryStatus, Event};
use guest_suite::transport::server::{Incoming, ServerSocket};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

/// Sends texts of the guest, and shows states and messages, until one side closes.
pub(crate) async fn serve(mut socket: ServerSocket<TokioIo<Upgraded>>, session: &mut GuestSession) {
    loop {
        let frame = tokio::select! {
            received = socket.next() => match received {
                Ok(Incoming::Text(text)) => match session.send(&*text) {
                    Ok(id) => Some(json!({ "id": id.to_string(), "state": "queued" })),
                    Err(error) => Some(json!({ "error": error.to_string() })),
                },
                Ok(Incoming::Closed(_)) | Err(_) => return,
                Ok(_) => None,
            },
            event = session.next_event() => match event {
                Some(event) => frame(&event),
                None => return socket.close(1000, "the conversation has ended").await,
            },
        };
        if let Some(frame) = frame
            && socket.send(frame.to_string()).await.is_err()
        {
            return;
        }
    }
}

/// The frame for an event. `None` for events that the page does not show.
fn frame(event: &Event) -> Option<Value> {
    use ConnectionEvent::{Reconnecting, Restored, UpstreamLost, UpstreamRestored};

    Some(match event {
        Event::Message(message) => json!({ "from": message.from.name, "text": message.text }),
        Event::Delivery { id, status } => {
            let state = match status {
                DeliveryStatus::Delivered { .. } => "sent",
                DeliveryStatus::Failed(_) => "failed",
                // the answer to its text has shown it
                DeliveryStatus::Queued => return None,
                DeliveryStatus::Sending => "sending",
                _ => "unknown",
            };
            json!({ "id": id.to_string(), "state": state })
        }
        // between this backend and the gateway, or between the gateway and Genesys
        Event::Connection(Reconnecting { .. } | UpstreamLost { .. }) => json!({ "state": "reconnecting" }),
        Event::Connection(Restored(_) | UpstreamRestored) => json!({ "state": "restored" }),
        Event::Ended(ending) => json!({ "state": "ended", "reason": ending.to_string() }),
        _ => return None,
    })
}
