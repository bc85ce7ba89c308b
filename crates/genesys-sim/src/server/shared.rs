//! State that the tasks of a simulator share: the cloud, its clock, and the queues to its sockets.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use genesys_api::{Clock, Now};
use http::{Request, Response};
use tokio::sync::{Notify, mpsc};

use crate::cloud::{Cloud, Output, SocketId};

/// Limit of outputs that wait for one socket. A guest that does not read them is cut off. Our choice.
const MAX_QUEUED: usize = 256;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) clock: Clock,
    state: Mutex<State>,
    deadline_changed: Notify,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) cloud: Cloud,
    queues: HashMap<SocketId, mpsc::Sender<Output>>,
}

impl Shared {
    pub(super) fn new(cloud: Cloud, clock: Clock) -> Self {
        Self {
            clock,
            state: Mutex::new(State {
                cloud,
                queues: HashMap::new(),
            }),
            deadline_changed: Notify::new(),
        }
    }

    /// Gives one input to the cloud, and dispatches its outputs before the next one: all sockets see the same order.
    pub(super) fn input<T>(&self, input: impl FnOnce(&mut State, Now) -> T) -> T {
        let mut state = self.state();
        let deadline = state.cloud.poll_timeout();
        let result = input(&mut state, self.clock.now());
        self.dispatch(&mut state);
        let changed = state.cloud.poll_timeout() != deadline;
        drop(state);
        if changed {
            self.deadline_changed.notify_one();
        }
        result
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&Cloud) -> T) -> T {
        read(&self.state().cloud)
    }

    /// Gives a handshake to the cloud, and creates a queue for the socket that it admits.
    pub(super) fn admit<B>(
        &self,
        request: &Request<B>,
    ) -> Result<(SocketId, mpsc::Receiver<Output>), Box<Response<bytes::Bytes>>> {
        self.input(|state, now| {
            let socket = state.cloud.handle_handshake(request, now)?;
            let (sender, receiver) = mpsc::channel(MAX_QUEUED);
            state.queues.insert(socket, sender);
            Ok((socket, receiver))
        })
    }

    pub(super) fn closed(&self, socket: SocketId) {
        self.input(|state, now| {
            state.queues.remove(&socket);
            state.cloud.handle_closed(socket, now);
        });
    }

    /// Waits for the cloud's deadline, or until it has changed. Returns whether it has passed.
    pub(super) async fn deadline(&self) -> bool {
        let deadline = self.read(Cloud::poll_timeout).map(|(at, _)| at);
        tokio::select! {
            () = self.deadline_changed.notified() => false,
            () = self.sleep_until(deadline) => true,
        }
    }

    pub(super) async fn sleep_until(&self, at: Option<Instant>) {
        match at {
            Some(at) => self.clock.sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    fn dispatch(&self, state: &mut State) {
        while let Some(output) = state.cloud.poll_output() {
            if let Output::Advance(by) = output {
                self.clock.advance(by);
                continue;
            }
            let Some(socket) = output.socket() else {
                continue;
            };
            let last = matches!(output, Output::Close { .. } | Output::Drop { .. });
            let queue = state.queues.get(&socket);
            let sent = queue.is_none_or(|queue| queue.try_send(output).is_ok());
            if last || !sent {
                state.queues.remove(&socket);
            }
            if !sent {
                state.cloud.handle_closed(socket, self.clock.now());
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
