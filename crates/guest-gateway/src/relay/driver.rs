//! The driver of a relay: its conversation with Genesys Cloud, its commands, and the channels of its sockets.

use std::collections::HashMap;
use std::future::{poll_fn, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use genesys_api::{SessionId, Timer, entropy};
use guest_conversation::timeline::Timeline;
use guest_conversation::{Event, GuestMachine, Request};
use guest_sessions::HistoryQuery;
use guest_suite::direct::{Admitted, Conversation, Direct};
use tokio::sync::{mpsc, oneshot};
use ws_transport::AdmittedOrigin;

use super::activity::Counted;
use super::event_log::EventLog;
use super::files::FileRequests;
use super::upstream::{Next, Upstream};
use super::{
    Command, HistoryAnswer, Hub, LastDelivered, Outgoing, Position, Relay, SOCKET_QUEUE, Shutdown, SocketId,
    Stop,
};
use crate::health::Health;

pub(super) struct Driver {
    direct: Direct,
    id: SessionId,
    origin: AdmittedOrigin,
    relay: Relay,
    sockets: Vec<(SocketId, mpsc::Sender<Outgoing>)>,
    /// Requests for the history, by number.
    readers: HashMap<u64, oneshot::Sender<HistoryAnswer>>,
    requests: u64,
    files: FileRequests,
    health: Health,
    counted: Counted,
    log: EventLog,
}

impl Driver {
    pub(super) fn new(hub: &Hub, admitted: &Admitted, id: SessionId, origin: AdmittedOrigin) -> Self {
        let delivered = match admitted.last_message() {
            Some(message) => LastDelivered::Message(message),
            None if admitted.has_delivered() => LastDelivered::Unknown,
            None => LastDelivered::Nothing,
        };
        Self {
            relay: Relay::new(
                id.clone(),
                entropy::uuid().to_string(),
                delivered,
                hub.budget.clone(),
                hub.direct.clock().now(),
            ),
            direct: hub.direct.clone(),
            id,
            origin,
            sockets: Vec::new(),
            readers: HashMap::new(),
            requests: 0,
            files: FileRequests::default(),
            health: hub.health.clone(),
            counted: Counted::new(Arc::clone(&hub.activity)),
            log: hub.log.clone(),
        }
    }

    /// Runs the relay to its end. Returns the timeline of its conversation, if it was opened.
    pub(super) async fn run(
        mut self: Box<Self>,
        admitted: Admitted,
        mut commands: mpsc::Receiver<Command>,
        shutdown: Shutdown,
    ) -> Option<Timeline> {
        let mut upstream = Upstream::connecting(self.direct.clone(), self.origin.clone(), admitted);
        let stop = tokio::select! {
            stop = self.relay(&mut upstream, &mut commands) => stop,
            () = shutdown.requested() => Stop::Shutdown,
        };
        let (mut held, mut conversation) = upstream.into_parts();
        let timeline = conversation.as_deref().map(timeline);
        match &stop {
            Stop::Ended(reason) => {
                self.files.handle_ended();
                // boxed: an idle session would use the memory of a large future
                let end = Box::pin(self.direct.end_admitted(&self.id, *reason));
                if let Err(error) = end.await
                    && let Some(unlogged) = self.direct.admit_fault_line()
                {
                    tracing::error!(session = %self.id, %error, unlogged, "cannot store the end of the session");
                }
            }
            Stop::Failed(..) => conversation = None,
            Stop::Shutdown => {
                if let Some(open) = conversation.take() {
                    open.with(GuestMachine::end);
                    let mut upstream = Upstream::Open(open);
                    // an event that is not taken stays after the read marker, and comes again after the restart
                    tokio::select! {
                        _ = self.relay(&mut upstream, &mut commands) => (_, conversation) = upstream.into_parts(),
                        () = shutdown.close_deadline() => {}
                    }
                }
            }
        }
        // sockets attached meanwhile are notified too
        commands.close();
        while let Some(command) = held.pop_front().or_else(|| commands.try_recv().ok()) {
            match command {
                Command::Attach {
                    socket,
                    outgoing,
                    position,
                } => self.attach(socket, outgoing, position.map(|position| *position)),
                Command::Send { id, socket, .. } => self.relay.handle_unsendable(socket, id),
                Command::Request { socket, .. } => {
                    let text = "cannot make the request: the conversation stopped before it, make it again";
                    self.relay.refuse_action(socket, text);
                }
                // the callers see their channel closed
                Command::File(_) | Command::History { .. } => {}
                Command::Extend(_) | Command::Timeline(_) | Command::Typing => {}
            }
        }
        self.relay.handle_stop(stop);
        tokio::select! {
            () = Box::pin(self.flush()) => {}
            () = shutdown.close_deadline() => {}
        }
        if let Some(conversation) = conversation {
            Box::pin(close(*conversation, &shutdown)).await;
        }
        timeline
    }

    async fn relay(&mut self, upstream: &mut Upstream, commands: &mut mpsc::Receiver<Command>) -> Stop {
        let clock = self.direct.clock().clone();
        let mut timer = Timer::new(clock.clone());
        loop {
            if let Upstream::Open(conversation) = upstream {
                self.read_history(conversation);
            }
            self.counted.set(self.relay.connection());
            let blocked = self.pump();
            timer.set(self.relay.poll_timeout());
            let (has_room, accepts_events) = (upstream.has_room(), self.relay.accepts_events());
            tokio::select! {
                next = upstream.next(), if accepts_events => {
                    // events that arrived together leave together
                    let (mut next, mut handled) = (Some(next), 0);
                    while let Some(output) = next {
                        handled += 1;
                        if let Some(stop) = self.handle_next(output, upstream) {
                            return stop;
                        }
                        next = tokio::select! {
                            biased;
                            // the sockets and the commands wait for no endless stream of events
                            next = upstream.next(), if handled < SOCKET_QUEUE && self.relay.accepts_events() => Some(next),
                            () = ready(()) => None,
                        };
                    }
                }
                // the hub holds a sender while this runs
                Some(command) = commands.recv(), if has_room => self.handle_command(command, upstream),
                () = any_has_room(&blocked), if !blocked.is_empty() => {}
                () = timer.elapsed() => self.relay.handle_timeout(clock.now()),
            }
        }
    }

    fn handle_next(&mut self, next: Next, upstream: &mut Upstream) -> Option<Stop> {
        match next {
            Next::Event(event) => {
                self.counted.handle_event(&event);
                self.handle_files(&event, upstream);
                self.health.handle_event(&event);
                let now = self.direct.clock().now();
                self.log.record(&self.id, &event, now.instant);
                let stop = self.relay.handle_event(event, now);
                if let Some(time) = self.relay.poll_delivery_time() {
                    self.direct.counters().record_delivery(time, now.instant);
                }
                stop
            }
            Next::Opened(conversation) => {
                self.open(conversation, upstream);
                None
            }
            Next::Stop(stop) => Some(stop),
        }
    }

    /// Enters the opened conversation, and handles the commands that waited for it.
    fn open(&mut self, conversation: Box<Conversation>, upstream: &mut Upstream) {
        self.relay
            .set_can_clear(conversation.with(|machine, _| machine.can_clear()));
        let opening = std::mem::replace(upstream, Upstream::Open(conversation));
        let (held, _) = opening.into_parts();
        for command in held {
            self.handle_command(command, upstream);
        }
    }

    /// Answers requests about files. Passes on the rules for them, which a configured session has, and its sign-in.
    fn handle_files(&mut self, event: &Event, upstream: &Upstream) {
        let Upstream::Open(conversation) = upstream else {
            return;
        };
        let now = self.direct.clock().now().instant;
        self.files.handle_event(event, conversation, now);
        if matches!(event, Event::Connection(_)) {
            let rules = conversation.with(|machine, _| machine.attachment_rules().cloned());
            self.relay.set_attachment_rules(rules.as_ref());
            let signed_in = conversation.with(|machine, _| machine.is_signed_in());
            self.relay.set_signed_in(signed_in);
        }
    }

    fn handle_command(&mut self, command: Command, upstream: &mut Upstream) {
        let command = match command {
            Command::Attach {
                socket,
                outgoing,
                position,
            } => return self.attach(socket, outgoing, position.map(|position| *position)),
            Command::Extend(until) => return self.relay.handle_extend(until),
            Command::Timeline(reply) => {
                let timeline = match upstream {
                    Upstream::Open(conversation) => timeline(conversation),
                    Upstream::Connecting { .. } => Timeline::default(),
                };
                // the reader may have given up
                let _ = reply.send(timeline);
                return;
            }
            command => command,
        };
        let conversation = match upstream {
            Upstream::Open(conversation) => conversation,
            Upstream::Connecting { held, .. } => {
                match command {
                    Command::Send { id, socket, .. } => self.relay.handle_held(socket, id),
                    // it would be late
                    Command::Typing => return,
                    _ => {}
                }
                return held.push_back(command);
            }
        };
        match command {
            Command::Send { id, message, socket } => {
                conversation.with(|machine, now| {
                    self.relay.handle_message(socket, id, &message, machine, now);
                });
            }
            Command::Request { request, socket } => conversation.with(|machine, now| {
                self.relay.handle_request(socket, request, machine, now);
            }),
            Command::Typing => conversation.typing(),
            Command::File(request) => self.files.handle_request(*request, conversation),
            Command::History { query, reply } => self.queue_history(query, reply),
            Command::Attach { .. } | Command::Extend(_) | Command::Timeline(_) => {}
        }
    }

    fn queue_history(&mut self, query: HistoryQuery, reply: oneshot::Sender<HistoryAnswer>) {
        self.readers.retain(|_, reader| !reader.is_closed());
        let readers = &self.readers;
        self.relay
            .history
            .retain(|request| readers.contains_key(&request));
        self.requests += 1;
        self.readers.insert(self.requests, reply);
        self.relay.history.push(self.requests, query);
    }

    fn attach(&mut self, socket: SocketId, outgoing: mpsc::Sender<Outgoing>, position: Option<Position>) {
        // sockets that were closed free their slots
        let relay = &mut self.relay;
        self.sockets.retain(|(socket, outgoing)| {
            if outgoing.is_closed() {
                relay.handle_detach(*socket);
            }
            !outgoing.is_closed()
        });
        self.sockets.push((socket, outgoing));
        relay.handle_attach(socket, position);
    }

    /// Requests the next page of the history, and passes answers on.
    fn read_history(&mut self, conversation: &Conversation) {
        while let Some(page) = self.relay.history.poll_page() {
            if let Err(error) = conversation.request(Request::ReadHistory { page }) {
                self.relay.history.handle_failed(error.to_string(), None);
            }
        }
        while let Some((request, answer)) = self.relay.history.poll_answer() {
            if let Some(reader) = self.readers.remove(&request) {
                // it may have given up
                let _ = reader.send(answer);
            }
        }
    }

    /// Passes outputs to all sockets that have room. Returns those that have none for the next one.
    fn pump(&mut self) -> Vec<mpsc::Sender<Outgoing>> {
        let mut blocked = Vec::new();
        let relay = &mut self.relay;
        self.sockets.retain(|(socket, outgoing)| {
            while relay.has_output(*socket) {
                match outgoing.try_reserve() {
                    Ok(room) => {
                        if let Some(output) = relay.poll_output(*socket) {
                            room.send(output);
                        }
                    }
                    Err(mpsc::error::TrySendError::Full(())) => {
                        relay.handle_blocked(*socket, self.direct.clock().now().instant);
                        blocked.push(outgoing.clone());
                        break;
                    }
                    Err(mpsc::error::TrySendError::Closed(())) => relay.handle_detach(*socket),
                }
            }
            relay.is_attached(*socket)
        });
        blocked
    }

    /// Passes the last outputs to the sockets, as long as they make progress.
    async fn flush(&mut self) {
        let clock = self.direct.clock().clone();
        loop {
            let blocked = self.pump();
            let Some(stalls_at) = self.relay.stalls_at() else {
                return;
            };
            tokio::select! {
                () = any_has_room(&blocked) => {}
                () = clock.sleep_until(stalls_at) => self.relay.handle_timeout(clock.now()),
            }
        }
    }
}

/// Waits until one of these sockets has room, or is lost.
async fn any_has_room(sockets: &[mpsc::Sender<Outgoing>]) {
    let mut waits: Vec<Pin<Box<_>>> = sockets.iter().map(|socket| Box::pin(socket.reserve())).collect();
    poll_fn(|context| {
        let mut polled = waits
            .iter_mut()
            .map(|wait| wait.as_mut().poll(context).is_ready());
        // each is polled, so that each wakes this task
        match polled.by_ref().fold(false, |any, ready| any | ready) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

fn timeline(conversation: &Conversation) -> Timeline {
    conversation.with(|machine, _| machine.engine().timeline.clone())
}

/// Closes the conversation with Genesys.
async fn close(conversation: Conversation, shutdown: &Shutdown) {
    tokio::select! {
        _ = conversation.close() => {}
        () = shutdown.close_deadline() => {}
    }
}
