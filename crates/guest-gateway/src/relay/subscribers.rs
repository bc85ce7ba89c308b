//! The sockets of a guest that receive the events of a session.

use time::OffsetDateTime;
use tokio::sync::mpsc;
use ws_transport::server::Payload;

use super::Outgoing;

/// Largest number of sockets of a session, as at Genesys. A further one replaces the oldest.
const SOCKETS: usize = genesys_api::limits::CONNECTIONS_PER_SESSION as usize;

/// The subscribed sockets, oldest first. A socket whose queue is full is dropped: its guest reconnects and receives the
/// missed frames.
#[derive(Default)]
pub(super) struct Subscribers(Vec<Subscriber>);

struct Subscriber {
    socket: mpsc::Sender<Outgoing>,
    /// The last number that the guest has received.
    after: Option<u64>,
    /// Whether its handshake is answered. The answer waits until the session is configured.
    handshake_answered: bool,
}

impl Subscriber {
    fn send(&self, outgoing: Outgoing) -> bool {
        self.socket.try_send(outgoing).is_ok()
    }
}

impl Subscribers {
    /// Adds a socket. At the limit the oldest one is closed.
    pub(super) fn attach(&mut self, socket: mpsc::Sender<Outgoing>, after: Option<u64>) {
        self.0.retain(|subscriber| !subscriber.socket.is_closed());
        if self.0.len() == SOCKETS {
            // closed as too far behind if its queue is full
            let _ = self
                .0
                .remove(0)
                .send(Outgoing::Close(1008, "the session has newer sockets"));
        }
        self.0.push(Subscriber {
            socket,
            after,
            handshake_answered: false,
        });
    }

    /// Answers pending handshakes with the frames that `reply` returns for the last number of the guest.
    pub(super) fn answer_handshakes(&mut self, mut reply: impl FnMut(Option<u64>) -> Vec<Payload>) {
        self.0.retain_mut(|subscriber| {
            let answered = std::mem::replace(&mut subscriber.handshake_answered, true);
            answered || subscriber.send(Outgoing::HandshakeReply(reply(subscriber.after)))
        });
    }

    /// Marks pending handshakes as answered, so that their sockets receive the last frames.
    pub(super) fn skip_handshakes(&mut self) {
        for subscriber in &mut self.0 {
            subscriber.handshake_answered = true;
        }
    }

    /// Sends a frame to all sockets whose handshake is answered.
    pub(super) fn broadcast(&mut self, frame: &Payload) {
        self.0.retain(|subscriber| {
            !subscriber.handshake_answered || subscriber.send(Outgoing::Frame(frame.clone()))
        });
    }

    /// Sends a frame to one socket.
    pub(super) fn reply(&mut self, socket: &mpsc::WeakSender<Outgoing>, frame: Payload) {
        let Some(socket) = socket.upgrade() else { return };
        if socket.try_send(Outgoing::Frame(frame)).is_err() {
            self.0
                .retain(|subscriber| !subscriber.socket.same_channel(&socket));
        }
    }

    /// Extends the lifetime of all sockets.
    pub(super) fn extend(&mut self, until: OffsetDateTime) {
        self.0
            .retain(|subscriber| subscriber.send(Outgoing::Extend(until)));
    }

    /// Closes and removes all sockets.
    pub(super) fn close(&mut self, code: u16, reason: &'static str) {
        for subscriber in self.0.drain(..) {
            // closed as too far behind if its queue is full
            let _ = subscriber.send(Outgoing::Close(code, reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::SOCKET_QUEUE;

    /// A subscribed socket whose queue is full.
    fn full() -> (Subscribers, mpsc::WeakSender<Outgoing>, mpsc::Receiver<Outgoing>) {
        let (socket, outgoing) = mpsc::channel(SOCKET_QUEUE);
        let own = socket.downgrade();
        let mut subscribers = Subscribers::default();
        subscribers.attach(socket, None);
        subscribers.answer_handshakes(|_| Vec::new());
        for _ in 1..SOCKET_QUEUE {
            subscribers.broadcast(&"frame".into());
        }
        assert_eq!((subscribers.0.len(), outgoing.len()), (1, SOCKET_QUEUE));
        (subscribers, own, outgoing)
    }

    #[test]
    fn socket_with_a_full_queue_is_dropped_by_any_output() {
        type Send = fn(&mut Subscribers, &mpsc::WeakSender<Outgoing>);
        let sends: [(&str, Send); 3] = [
            ("frame", |subscribers, _| subscribers.broadcast(&"frame".into())),
            ("reply", |subscribers, own| subscribers.reply(own, "reply".into())),
            ("extend", |subscribers, _| {
                subscribers.extend(OffsetDateTime::UNIX_EPOCH)
            }),
        ];
        for (name, send) in sends {
            let (mut subscribers, own, mut outgoing) = full();
            send(&mut subscribers, &own);
            assert!(subscribers.0.is_empty(), "{name}");
            for _ in 0..SOCKET_QUEUE {
                outgoing.try_recv().unwrap();
            }
            let end = outgoing.try_recv().unwrap_err();
            assert_eq!(end, mpsc::error::TryRecvError::Disconnected, "{name}");
        }
    }

    #[test]
    fn oldest_socket_is_closed_at_the_limit() {
        let mut subscribers = Subscribers::default();
        let mut sockets = Vec::new();
        for _ in 0..=SOCKETS {
            let (socket, outgoing) = mpsc::channel(SOCKET_QUEUE);
            subscribers.attach(socket, None);
            sockets.push(outgoing);
        }
        assert_eq!(subscribers.0.len(), SOCKETS);
        assert!(matches!(sockets[0].try_recv(), Ok(Outgoing::Close(1008, _))));
        assert!(sockets[1].try_recv().is_err());
    }
}
