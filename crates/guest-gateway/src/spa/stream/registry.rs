//! The open streams, each by its session and the id that the page chose.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use genesys_api::{Gcra, SessionId};
use tokio::sync::mpsc;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::{Refusal, stream_required};
use crate::api::frame_limiter;
use crate::relay::{Command, SocketHandle, SocketId};

/// Answers to pings that wait for one stream.
const PONG_QUEUE: usize = 8;

/// The open streams. There are at most as many as connections.
#[derive(Debug, Default)]
pub(in crate::spa) struct Streams(Mutex<HashMap<(SessionId, StreamId), Registration>>);

/// The id of a stream, which is no secret.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct StreamId(Uuid);

/// The receivers of the frames of a stream's guest.
#[derive(Debug)]
pub(super) struct Registration {
    commands: mpsc::Sender<Command>,
    pongs: mpsc::Sender<String>,
    socket: SocketId,
    pace: Gcra,
}

impl StreamId {
    /// `None` if it is not a UUID in its usual form.
    pub(super) fn parse(text: &str) -> Option<Self> {
        text.parse::<Hyphenated>().ok().map(|id| Self(id.into_uuid()))
    }
}

impl Registration {
    /// The registration of a stream, and the answers to its pings.
    pub(super) fn new(handle: &SocketHandle) -> (Self, mpsc::Receiver<String>) {
        let (pongs, received) = mpsc::channel(PONG_QUEUE);
        let registration = Self {
            commands: handle.commands.clone(),
            pongs,
            socket: handle.socket,
            pace: frame_limiter(),
        };
        (registration, received)
    }
}

impl Streams {
    /// Adds a stream. It replaces an earlier one with its id.
    pub(super) fn insert(&self, session: &SessionId, stream: &StreamId, registration: Registration) {
        let key = (session.clone(), stream.clone());
        self.lock().insert(key, registration);
    }

    /// Removes a stream, unless another one has replaced it.
    pub(super) fn remove(&self, session: &SessionId, stream: &StreamId, socket: SocketId) {
        let key = (session.clone(), stream.clone());
        let mut streams = self.lock();
        if streams
            .get(&key)
            .is_some_and(|registered| registered.socket == socket)
        {
            streams.remove(&key);
        }
    }

    /// Counts a frame of a stream, and returns its receivers.
    ///
    /// # Errors
    /// `stream.required` if it is not open, or 429.
    pub(super) fn find(
        &self,
        session: &SessionId,
        stream: &StreamId,
        now: Instant,
    ) -> Result<(mpsc::Sender<Command>, mpsc::Sender<String>, SocketId), Refusal> {
        let mut streams = self.lock();
        let registered = streams.get_mut(&(session.clone(), stream.clone()));
        let registered = registered.ok_or_else(stream_required)?;
        let paced = registered.pace.try_acquire(now);
        paced.map_err(|free_at| Refusal::too_many_frames(free_at.saturating_duration_since(now)))?;
        Ok((
            registered.commands.clone(),
            registered.pongs.clone(),
            registered.socket,
        ))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(SessionId, StreamId), Registration>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_id_is_a_uuid_in_its_usual_form() {
        let id = StreamId::parse("C0FFEE00-0000-4000-8000-000000000001");
        assert_eq!(id, StreamId::parse("c0ffee00-0000-4000-8000-000000000001"));
        assert!(id.is_some());
        for text in [
            "",
            "1",
            "c0ffee00000040008000000000000001",
            "c0ffee00-0000-4000-8000-00000000000g",
            "c0ffee00-0000-4000-8000-000000000001-",
        ] {
            assert_eq!(StreamId::parse(text), None, "{text}");
        }
    }
}
