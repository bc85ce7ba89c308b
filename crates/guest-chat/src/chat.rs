//! The state machine of a guest's chat. Input: lines that a person or a script writes, and events of the conversation.
//! Output: lines to show, and requests to the conversation.

mod choices;
mod command;
mod content;
mod delivery;
mod history_view;
mod line;
mod render_event;
mod sanitize;
mod script;
#[cfg(test)]
mod tests;
mod uploads;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use genesys_api::Now;
use guest_conversation::{
    Author, ConnectionEvent, DeliveryStatus, Ending, Event, MessageId, OutgoingMessage, SessionEvent, State,
};

use self::choices::PendingChoices;
use self::command::Input;
pub use self::command::Request;
use self::content::Links;
use self::delivery::Deliveries;
use self::line::LineKind;
pub use self::line::{Line, Style};
pub use self::script::InputMode;
use self::script::{AWAIT_TIMEOUT, Awaited};
use self::uploads::Uploads;

/// Longest wait for deliveries after the end of a script. A message still missing then counts as undelivered.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
/// Unacknowledged messages of a script at which no further line is read.
const MAX_UNACKNOWLEDGED: usize = 64;
/// Longest display of a typing indicator. The default of Genesys is 5 s.
const MAX_TYPING: Duration = Duration::from_secs(60);

/// The reason for a timeout of a chat.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// The script has ended and no further event is expected.
    Leave,
    /// The script waits for an event that does not come.
    ScriptTimeout,
    /// A message takes long to be delivered.
    SlowDelivery,
    /// A typing indicator expires.
    TypingEnd,
}

/// The state machine of a guest's chat.
///
/// A driver passes each input to a `handle_*` method. It then calls [`Chat::poll_line`] and [`Chat::poll_request`] until
/// both are empty, and [`Chat::handle_timeout`] at the time of [`Chat::poll_timeout`]. `Debug` shows no message.
#[derive(Default)]
pub struct Chat {
    input_mode: InputMode,
    /// The state of the conversation as far as its events were handled.
    state: State,
    /// Whether the service has limited the rate since the last ready connection.
    rate_limited: bool,
    /// The reason for which no answer can arrive, or an empty text.
    end_reason: String,
    /// Whether the conversation is cleared after the outstanding deliveries.
    clear_after_delivery: bool,
    deliveries: Deliveries,
    uploads: Uploads,
    choices: PendingChoices,
    links: Links,
    /// The author of the typing indicator, and its end.
    typing: Option<(Author, Instant)>,
    answer: Answer,
    /// The event that the script waits for, and the deadline.
    awaited: Option<(Awaited, Instant)>,
    /// The time of the last received event. `None` before the first connection.
    last_received: Option<Instant>,
    /// The latest time to leave, once the script has ended.
    leave_by: Option<Instant>,
    left: bool,
    lines: VecDeque<Line>,
    requests: VecDeque<Request>,
}

/// The answer to the guest's last message.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Answer {
    /// A message is sent.
    Expected,
    /// The only message was refused.
    Impossible,
    /// Nothing is sent, but a greeting may arrive.
    #[default]
    Possible,
    Received,
}

impl Chat {
    /// Creates a chat that waits for its conversation to connect.
    #[must_use]
    pub fn new(input_mode: InputMode, now: Now) -> Self {
        let mut chat = Self {
            input_mode: input_mode.bounded(),
            state: State::Connecting,
            ..Self::default()
        };
        chat.wait_for(Awaited::Connection, now);
        chat
    }

    /// Shows a line about the chat itself.
    pub fn announce(&mut self, text: &str) {
        self.show(Line::info(text));
    }

    /// Handles a line of input without its line break.
    pub fn handle_line(&mut self, line: &str, now: Now) {
        if self.left {
            return;
        }
        if self.is_scripted() && !line.trim().is_empty() {
            self.show(Line::new(LineKind::Success, ">", line));
        }
        match command::parse(line, &self.choices) {
            Input::Request(Request::Reconnect) if self.state == State::Closed => {
                self.show_error("cannot reconnect: the conversation has ended, /new starts another one");
            }
            // events report the outcome
            Input::Request(Request::Reconnect) if self.state != State::Reconnecting => {
                self.requests.push_back(Request::Reconnect);
            }
            Input::Request(request) => self.handle_request(request, now),
            Input::Help => self.show_help(),
            Input::New => match self.state {
                State::Closed => self.handle_request(Request::OpenAnother, now),
                State::ReadOnly => self.handle_request(Request::StartNew, now),
                _ => self.show_error("cannot start a new conversation: the last one has not ended"),
            },
            Input::Empty => {}
            Input::Open(number) => self.show_link(number),
            Input::Quit => self.handle_end_of_input(now),
            Input::Text(text) => {
                self.handle_request(Request::Send(OutgoingMessage::new(text.to_owned())), now)
            }
            Input::Invalid(reason) => self.show_error(&reason),
            Input::Wait if self.answer == Answer::Received || !self.is_scripted() => {}
            Input::Wait if self.answer == Answer::Impossible => {
                self.show_error("cannot wait for an answer: nothing was sent");
            }
            Input::Wait => match self.state {
                State::Closed | State::ReadOnly => {
                    self.show_error(&format!("cannot wait for an answer: {}", self.end_reason));
                }
                _ => {
                    if self.answer == Answer::Possible {
                        let seconds = AWAIT_TIMEOUT.as_secs();
                        self.show(Line::info(&format!(
                            "waiting for a greeting, at most {seconds} s: nothing was sent yet"
                        )));
                    }
                    self.wait_for(Awaited::Answer, now);
                }
            },
        }
    }

    /// Handles a request, as the command of the same name does.
    pub fn handle_request(&mut self, request: Request, now: Now) {
        match request {
            Request::OpenAnother | Request::StartNew => {
                self.state = State::Connecting;
                self.forget_choices();
            }
            Request::Send(_) => self.choices = PendingChoices::default(),
            _ => {}
        }
        if let Some(awaited) = Awaited::of(&request) {
            self.wait_for(awaited, now);
        }
        match request {
            Request::Attach(path) => self.attach(path),
            Request::Clear => {
                self.clear_after_delivery = true;
                self.clear_when_delivered();
            }
            _ => self.requests.push_back(request),
        }
    }

    /// Handles a change of the line that the person edits.
    pub fn handle_editing(&mut self, line: &str) {
        let is_text = matches!(command::parse(line, &self.choices), Input::Text(_));
        if is_text && self.state == State::Configured && !self.requests.contains(&Request::Typing) {
            self.requests.push_back(Request::Typing);
        }
    }

    /// Handles a line of input that was skipped, for this reason.
    pub fn handle_skipped_line(&mut self, reason: &str) {
        self.deliveries.count_undelivered();
        self.show_error(reason);
    }

    /// Handles the end of the input, and the command to leave.
    pub fn handle_end_of_input(&mut self, now: Now) {
        match self.input_mode {
            InputMode::Interactive => self.leave(),
            InputMode::Script { idle_timeout } => {
                let leave_by = now.instant + idle_timeout + DELIVERY_TIMEOUT;
                self.leave_by.get_or_insert(leave_by);
                self.leave_when_ended();
            }
        }
    }

    /// Leaves the chat at once.
    pub fn leave(&mut self) {
        if !self.left {
            self.left = true;
            self.requests.push_back(Request::Leave);
        }
    }

    /// Handles a message that the conversation queued under `id`.
    pub fn handle_queued(&mut self, id: MessageId, message: &OutgoingMessage, now: Now) {
        self.answer = Answer::Expected;
        let label = self.label(message);
        self.deliveries.queued(id, &label, now.instant);
    }

    /// Handles a message that the conversation refused to queue.
    pub fn handle_not_queued(&mut self, message: &OutgoingMessage, why: &dyn fmt::Display) {
        let label = self.label(message);
        self.show_rejected(&label, why);
    }

    /// Handles a request that failed.
    pub fn handle_failure(&mut self, request: &Request, why: &dyn fmt::Display) {
        self.awaited
            .take_if(|(awaited, _)| Awaited::of(request) == Some(*awaited));
        if matches!(request, Request::Attach(_)) {
            self.expect_no_answer();
            self.uploads.finish_reading();
            self.deliveries.count_undelivered();
        }
        if *request == Request::StartNew && self.state == State::Connecting {
            self.state = State::ReadOnly;
        }
        self.show_error(&format!("{} failed: {why}", request.name()));
    }

    /// Shows the reason of the last loss or end, and the latest entries of the timeline.
    pub fn handle_explanation(&mut self, text: &str, timeline: &[String]) {
        let entries = timeline.iter().map(String::as_str);
        self.show(entries.fold(Line::info(text), Line::with_line));
    }

    /// Handles an event of the conversation.
    pub fn handle_event(&mut self, event: Event, now: Now) {
        let was_cleared = self.state == State::Closing;
        self.update_state(&event, now);
        match &event {
            Event::Delivery { id, status } => self.lines.extend(self.deliveries.update(*id, status)),
            Event::Message(message) => {
                self.answer = Answer::Received;
                self.typing = None;
                let mut choices = PendingChoices::of(&message.id);
                let parts = content::parts(message, Some(&mut choices), &mut self.links);
                self.choices = choices;
                self.show(render_event::message(&message.from, &parts));
            }
            Event::Session(SessionEvent::OwnMessage(message)) => {
                let parts = content::parts(message, None, &mut self.links);
                self.show(render_event::message(&message.from, &parts).with_prefix("elsewhere"));
            }
            Event::Session(SessionEvent::History(page)) => self.show_history(page),
            Event::Connection(ConnectionEvent::Throttled { .. }) if self.is_connecting() => {
                if !std::mem::replace(&mut self.rate_limited, true) {
                    self.announce(
                        "rate limited by the service: the connection is retried until it is accepted",
                    );
                }
            }
            Event::Ended(Ending::ClosedByServer { .. }) if was_cleared => {
                self.announce("the conversation has ended: /new starts another one, /quit leaves");
            }
            Event::Session(SessionEvent::Typing { from, during }) => {
                let until = now.instant + (*during).min(MAX_TYPING);
                let earlier = self.typing.replace((from.clone(), until));
                if earlier.is_none_or(|(earlier, _)| earlier != *from) {
                    self.show(render_event::about(from, "is typing …"));
                }
            }
            _ => self.lines.extend(render_event::state(&event, now)),
        }
        self.awaited.take_if(|(awaited, _)| awaited.is_met_by(&event));
        self.update_uploads(&event);
        self.clear_when_delivered();
        self.leave_when_ended();
    }

    /// Performs the actions whose deadline has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.typing.take_if(|(_, until)| *until <= now.instant);
        while let Some(line) = self.deliveries.next_slow(now.instant) {
            self.show(line);
        }
        if let Some((awaited, _)) = self.awaited.take_if(|(_, until)| *until <= now.instant) {
            let (name, seconds) = (awaited.name(), AWAIT_TIMEOUT.as_secs());
            self.show_error(&format!("no {name} within {seconds} s"));
        }
        if self.leave_deadline().is_some_and(|at| at <= now.instant) {
            self.leave();
        }
    }

    /// Returns the next line to show.
    pub fn poll_line(&mut self) -> Option<Line> {
        self.lines.pop_front()
    }

    /// Returns the next request to the conversation.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// Returns the next deadline for [`Self::handle_timeout`], and its reason.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        if self.left {
            return None;
        }
        let deadlines = [
            (self.typing.as_ref().map(|(_, until)| *until), Reason::TypingEnd),
            (self.deliveries.slow_deadline(), Reason::SlowDelivery),
            (self.awaited.map(|(_, until)| until), Reason::ScriptTimeout),
            (self.leave_deadline(), Reason::Leave),
        ];
        let set = deadlines
            .into_iter()
            .filter_map(|(at, reason)| Some((at?, reason)));
        set.min_by_key(|(at, _)| *at)
    }

    /// Whether the next line of input can be handled. A person may always write. A script waits for the result of its
    /// last command, and for deliveries if too many are outstanding.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        let busy = self.awaited.is_some()
            || !self.uploads.is_empty()
            || self.deliveries.outstanding() >= MAX_UNACKNOWLEDGED;
        !self.left && self.leave_by.is_none() && !(self.is_scripted() && busy)
    }

    /// Returns the reason for the failure of a script, after the chat is left: it was never connected, or a message was not
    /// delivered, or may not have been. `None` for a person, to whom lines have shown it.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        if !self.is_scripted() {
            return None;
        }
        match self.deliveries.undelivered() {
            0 if self.last_received.is_some() => None,
            0 => Some("the conversation was never connected".to_owned()),
            1 => Some("a message was not delivered".to_owned()),
            count => Some(format!("{count} messages were not delivered")),
        }
    }

    fn update_state(&mut self, event: &Event, now: Now) {
        if matches!(
            event,
            Event::Message(_)
                | Event::Connection(ConnectionEvent::Ready(_) | ConnectionEvent::Restored(_))
                | Event::Delivery {
                    status: DeliveryStatus::Delivered { .. },
                    ..
                }
                | Event::Session(SessionEvent::History(_) | SessionEvent::Typing { .. })
        ) {
            self.last_received = Some(now.instant);
        }
        self.state = match event {
            Event::Connection(ConnectionEvent::Ready(session) | ConnectionEvent::Restored(session)) => {
                self.rate_limited = false;
                if session.read_only {
                    self.end_reason = "the conversation is read-only".to_owned();
                    State::ReadOnly
                } else {
                    State::Configured
                }
            }
            Event::Connection(ConnectionEvent::Reconnecting { .. }) => State::Reconnecting,
            Event::Connection(ConnectionEvent::TokenNeeded { .. }) => {
                self.requests.push_back(Request::DeclineToken);
                return;
            }
            Event::Session(SessionEvent::ConversationEnded { read_only: true }) => {
                self.end_reason = "the other side has left".to_owned();
                State::ReadOnly
            }
            // the end follows
            Event::Session(SessionEvent::Cleared) => State::Closing,
            Event::Ended(ending) => {
                self.end_reason = ending.to_string();
                State::Closed
            }
            _ => return,
        };
        if self.state != State::Configured {
            self.forget_choices();
        }
    }

    fn forget_choices(&mut self) {
        self.typing = None;
        self.choices = PendingChoices::default();
    }

    fn clear_when_delivered(&mut self) {
        let delivering = self.state == State::Configured && self.deliveries.outstanding() > 0;
        if self.clear_after_delivery && !delivering {
            self.clear_after_delivery = false;
            self.requests.push_back(Request::Clear);
        }
    }

    fn wait_for(&mut self, awaited: Awaited, now: Now) {
        if self.is_scripted() && self.state != State::Closed {
            self.awaited = Some((awaited, now.instant + AWAIT_TIMEOUT));
        }
    }

    /// Returns the time to leave after a script has ended.
    fn leave_deadline(&self) -> Option<Instant> {
        let (leave_by, InputMode::Script { idle_timeout }) = (self.leave_by?, self.input_mode) else {
            return None;
        };
        if self.is_connecting() || self.deliveries.outstanding() > 0 || !self.uploads.is_empty() {
            return Some(leave_by);
        }
        let typing_until = self.typing.as_ref().map(|(_, until)| *until);
        let silent_since = typing_until.or(self.last_received)?;
        Some(leave_by.min(silent_since + idle_timeout))
    }

    fn leave_when_ended(&mut self) {
        if self.leave_by.is_some() && self.state == State::Closed {
            self.leave();
        }
    }

    fn show_error(&mut self, text: &str) {
        self.show(Line::error(text));
    }

    /// Handles a message or file that is not sent: an earlier message may still be answered.
    fn expect_no_answer(&mut self) {
        if self.answer == Answer::Possible {
            self.answer = Answer::Impossible;
        }
    }

    /// Shows that a message or file was never sent.
    fn show_rejected(&mut self, label: &str, why: &dyn fmt::Display) {
        self.expect_no_answer();
        let line = self.deliveries.rejected(label, why);
        self.show(line);
    }

    fn show(&mut self, line: Line) {
        self.lines.push_back(line);
    }

    fn is_connecting(&self) -> bool {
        matches!(self.state, State::Connecting | State::Reconnecting)
    }

    fn is_scripted(&self) -> bool {
        matches!(self.input_mode, InputMode::Script { .. })
    }
}

impl fmt::Debug for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chat")
            .field("input_mode", &self.input_mode)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
