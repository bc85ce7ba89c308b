//! The task of one conversation in `axum_backend`.

use guest_suite::GuestSession;
use guest_suite::conversation::Event;
use tokio::sync::{broadcast, mpsc};

/// Runs a conversation, and returns the ends for its texts and its events.
pub(crate) fn spawn(mut session: GuestSession) -> (mpsc::Sender<String>, broadcast::Sender<String>) {
    let (texts, mut next_text) = mpsc::channel::<String>(64);
    let (events, _) = broadcast::channel(256);
    let to_page = events.clone();
    tokio::spawn(async move {
        loop {
            let line = tokio::select! {
                text = next_text.recv() => match text.map(|text| session.send(&text)) {
                    Some(Ok(id)) => format!("queued {id}"),
                    Some(Err(error)) => format!("refused: {error}"),
                    None => return,
                },
                event = session.next_event() => match event {
                    Some(Event::Message(message)) => format!("message {}", message.text),
                    // `Debug` of events contains no text and no name
                    Some(event) => format!("{event:?}"),
                    None => return,
                },
            };
            // without a listener the line is lost
            let _ = to_page.send(line);
        }
    });
    (texts, events)
}
