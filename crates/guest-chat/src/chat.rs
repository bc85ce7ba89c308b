//! A guest's chat as a person sees it: lines of input and events of the conversation go in, lines to show and requests
//! to the conversation come out.
//!
//! No terminal, socket or clock is touched here. A driver calls one `handle_*` method for whatever happens, then
//! [`Chat::poll_line`] and [`Chat::poll_request`] until both are empty, and [`Chat::handle_timeout`] when
//! [`Chat::poll_timeout`] says so. A request that fails it gives back by [`Chat::handle_failure`].

mod command;
mod content;
mod delivery;
mod errand;
mod line;
mod links;
mod lookup;
mod offer;
mod standing;
mod telling;
#[cfg(test)]
mod tests;
mod untrusted;
mod uploads;
mod writer;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use genesys_api::Now;
use guest_conversation::{Author, Ending, Event, MessageId, Said};

pub use self::command::Request;
use self::command::{COMMANDS, Input};
use self::delivery::Deliveries;
use self::errand::{Errand, PATIENCE};
pub use self::line::{Line, Look, Tone};
use self::links::Links;
use self::offer::Offer;
use self::standing::Standing;
use self::uploads::Uploads;
pub use self::writer::Writer;

/// How long deliveries are waited for once a script has ended, before what is missing counts as undelivered.
const DELIVERY_PATIENCE: Duration = Duration::from_secs(30);
/// How many messages of a script may be on their way before its next line is read.
const SCRIPT_AHEAD: usize = 64;

/// Why a chat wants to be woken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// The script has ended, and nothing more is to come.
    Leave,
    /// Somebody is no longer typing.
    Typing,
    /// The script waits for something that does not come.
    Patience,
    /// A message takes long to be delivered.
    Waiting,
}

/// A chat: see the [module](self). `Debug` does not show what is said.
pub struct Chat {
    writer: Writer,
    standing: Standing,
    /// Whether it was ever connected.
    begun: bool,
    /// Whether it was told that the service lets the connection wait.
    held_up: bool,
    /// How it ended, if it did.
    ended: String,
    /// It is to be cleared as soon as what was said is delivered.
    clearing: bool,
    /// Whether it was cleared, and so is about to be over.
    cleared: bool,
    deliveries: Deliveries,
    uploads: Uploads,
    offer: Offer,
    links: Links,
    typing: Option<Typing>,
    /// Whether somebody has spoken since the guest did.
    answered: bool,
    /// What the script waits for before it goes on, and how long.
    awaited: Option<(Errand, Instant)>,
    /// When anything was last heard, or delivered.
    heard: Option<Instant>,
    /// When it is left at the latest, because the script has ended.
    latest: Option<Instant>,
    left: bool,
    lines: VecDeque<Line>,
    requests: VecDeque<Request>,
}

struct Typing {
    from: Author,
    until: Instant,
}

impl Chat {
    /// A chat that waits for its conversation to connect.
    #[must_use]
    pub fn new(writer: Writer, now: Now) -> Self {
        let mut chat = Self {
            writer: writer.bounded(),
            standing: Standing::Connecting,
            begun: false,
            held_up: false,
            ended: String::new(),
            clearing: false,
            cleared: false,
            deliveries: Deliveries::default(),
            uploads: Uploads::default(),
            offer: Offer::default(),
            links: Links::default(),
            typing: None,
            answered: false,
            awaited: None,
            heard: None,
            latest: None,
            left: false,
            lines: VecDeque::new(),
            requests: VecDeque::new(),
        };
        chat.wait_for(Errand::Connection, now);
        chat
    }

    /// Shows something about the chat itself.
    pub fn announce(&mut self, text: &str) {
        self.show(Line::new(Tone::Quiet, "*", text));
    }

    /// Takes a line of input, without its line break.
    pub fn handle_line(&mut self, line: &str, now: Now) {
        if self.left {
            return;
        }
        if self.is_scripted() && !line.trim().is_empty() {
            self.show(Line::new(Tone::Good, ">", line));
        }
        match command::read(line, &self.offer) {
            Input::Ask(Request::Reconnect) if self.standing == Standing::Over => {
                self.trouble("the conversation is over: /new begins another");
            }
            // what comes of it, the events tell
            Input::Ask(Request::Reconnect) if self.standing != Standing::Reconnecting => {
                self.requests.push_back(Request::Reconnect);
            }
            Input::Ask(request) => self.ask(request, now),
            Input::Help => self.help(),
            Input::New => match self.standing {
                Standing::Over => self.ask(Request::OpenAnother, now),
                Standing::ReadOnly => self.ask(Request::StartNew, now),
                Standing::Connecting | Standing::Live | Standing::Reconnecting => {
                    self.trouble("the conversation has not ended: /new is for afterwards");
                }
            },
            Input::Nothing => {}
            Input::Open(number) => self.open(number),
            Input::Quit => self.handle_end_of_input(now),
            Input::Say(text) => self.ask(Request::Say(Said::text(text.to_owned())), now),
            Input::Unknown(name) => {
                let names: Vec<&str> = COMMANDS
                    .iter()
                    .filter_map(|(usage, _)| usage.split(' ').next())
                    .collect();
                self.trouble(&format!(
                    "there is no {name}, but {}; begin with // to say a slash",
                    names.join(" ")
                ));
            }
            Input::Unsuitable(why) => self.trouble(&why.to_string()),
            Input::Usage(usage) => self.trouble(&format!("write {usage}")),
            Input::Wait if self.answered || !self.is_scripted() => {}
            Input::Wait => match self.standing {
                Standing::Over | Standing::ReadOnly => {
                    self.trouble(&format!("no answer can come: {}", self.ended));
                }
                _ => self.wait_for(Errand::Answer, now),
            },
        }
    }

    /// Asks for something, as the command of its name does.
    pub fn handle_request(&mut self, request: Request, now: Now) {
        self.ask(request, now);
    }

    /// The person edits a line that stands at `line` now.
    pub fn handle_editing(&mut self, line: &str) {
        let says = matches!(command::read(line, &self.offer), Input::Say(_));
        if says && self.standing == Standing::Live && !self.requests.contains(&Request::Typing) {
            self.requests.push_back(Request::Typing);
        }
    }

    /// A line of input was too long to be read; it was skipped.
    pub fn handle_line_too_long(&mut self, limit: usize) {
        self.deliveries.count_undelivered();
        self.trouble(&format!("a line of more than {limit} bytes was not read"));
    }

    /// A line of input was no text; it was skipped.
    pub fn handle_line_unreadable(&mut self) {
        self.trouble("what you wrote is not UTF-8, and was not read: write it again");
    }

    /// No further line will come, or the person wants to leave.
    pub fn handle_end_of_input(&mut self, now: Now) {
        match self.writer {
            Writer::Person => self.leave(),
            Writer::Script { quiet } => {
                self.heard.get_or_insert(now.instant);
                self.latest.get_or_insert(now.instant + quiet + DELIVERY_PATIENCE);
                self.leave_when_over();
            }
        }
    }

    /// The person wants to leave at once.
    pub fn handle_interrupt(&mut self) {
        self.leave();
    }

    /// The conversation took what was said, and calls it `id` from now on.
    pub fn handle_taken(&mut self, id: MessageId, said: &Said, now: Now) {
        let label = self.label(said);
        self.deliveries.begin(id, &label, now.instant);
    }

    /// The conversation did not take what was said.
    pub fn handle_not_taken(&mut self, said: &Said, why: &dyn fmt::Display) {
        let label = self.label(said);
        let line = self.deliveries.refuse(&label, why);
        self.show(line);
    }

    /// What was asked for failed.
    pub fn handle_failure(&mut self, request: &Request, why: &dyn fmt::Display) {
        self.awaited
            .take_if(|(errand, _)| Errand::of(request) == Some(*errand));
        if matches!(request, Request::Attach(_)) {
            self.uploads.forget_reading();
            self.deliveries.count_undelivered();
        }
        if *request == Request::StartNew && self.standing == Standing::Connecting {
            self.standing = Standing::ReadOnly;
        }
        self.trouble(&format!("{} failed: {why}", request.name()));
    }

    /// Why the connection was lost, or the conversation ended, and what happened lately.
    pub fn handle_explanation(&mut self, text: &str, lately: &[String]) {
        let line = Line::new(Tone::Quiet, "*", text);
        self.show(lately.iter().fold(line, |line, entry| line.with(entry)));
    }

    /// Takes an event of the conversation.
    pub fn handle_event(&mut self, event: Event, now: Now) {
        match &event {
            Event::Accepted { id, .. } => {
                self.heard(now);
                let line = self.deliveries.settle(*id);
                self.lines.extend(line);
            }
            Event::Failed { id, reason } => {
                let line = self.deliveries.fail(*id, reason);
                self.lines.extend(line);
            }
            Event::InDoubt { ids } => {
                let lines = ids.iter().filter_map(|id| self.deliveries.doubt(*id));
                self.lines.extend(lines);
            }
            Event::Message(message) => {
                self.heard(now);
                self.answered = true;
                self.typing = None;
                let mut offer = Offer::of(&message.id);
                let pieces = content::pieces(message, Some(&mut offer), &mut self.links);
                self.offer = offer;
                self.show(telling::message(&message.from, &pieces));
            }
            Event::OwnMessage(message) => {
                let pieces = content::pieces(message, None, &mut self.links);
                self.show(telling::message(&message.from, &pieces).preceded_by("elsewhere"));
            }
            Event::History(page) => {
                self.heard(now);
                self.remember(page);
            }
            Event::Throttled { .. }
                if matches!(self.standing, Standing::Connecting | Standing::Reconnecting) =>
            {
                if !std::mem::replace(&mut self.held_up, true) {
                    self.announce("the service asks for patience: the connection waits, and is tried again until it is taken");
                }
            }
            Event::TokenNeeded { .. } => {
                self.lines.extend(telling::state(&event, now));
                self.requests.push_back(Request::DeclineToken);
            }
            Event::Ended(Ending::ClosedByServer { .. }) if self.cleared => {
                self.stand(&event, now);
                self.announce("it is over: /new begins another conversation, /quit leaves");
            }
            Event::Typing { from, during } => {
                self.heard(now);
                let until = now.instant + (*during).min(LONGEST_TYPING);
                let known = self.typing.replace(Typing {
                    from: from.clone(),
                    until,
                });
                if known.is_none_or(|known| known.from != *from) {
                    self.show(telling::typing(from));
                }
            }
            _ => {
                self.stand(&event, now);
                self.lines.extend(telling::state(&event, now));
            }
        }
        self.awaited.take_if(|(errand, _)| errand.is_done_by(&event));
        self.advance_uploads(&event);
        self.clear_when_delivered();
        self.leave_when_over();
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        if let Some(typing) = self.typing.take_if(|typing| typing.until <= now.instant) {
            self.show(telling::typed(&typing.from));
        }
        while let Some(line) = self.deliveries.waiting(now.instant) {
            self.show(line);
        }
        if let Some((errand, _)) = self.awaited.take_if(|(_, until)| *until <= now.instant) {
            self.trouble(&format!("no {} within {} s", errand.name(), PATIENCE.as_secs()));
        }
        if self.leaving().is_some_and(|at| at <= now.instant) {
            self.leave();
        }
    }

    /// The next line to show.
    pub fn poll_line(&mut self) -> Option<Line> {
        self.lines.pop_front()
    }

    /// The next thing to do.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// When [`Self::handle_timeout`] is to be called, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        if self.left {
            return None;
        }
        let typing = self.typing.as_ref().map(|it| (it.until, Reason::Typing));
        let waiting = self.deliveries.next_waiting().map(|at| (at, Reason::Waiting));
        let patience = self.awaited.map(|(_, until)| (until, Reason::Patience));
        let leaving = self.leaving().map(|at| (at, Reason::Leave));
        [typing, waiting, patience, leaving]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
    }

    /// Whether the next line of input can be taken. A person may always write. A script waits for what it has asked
    /// for, and for its deliveries when it is far ahead of them.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        let busy = self.awaited.is_some()
            || !self.uploads.is_empty()
            || self.deliveries.outstanding() >= SCRIPT_AHEAD;
        !self.left && self.latest.is_none() && !(self.is_scripted() && busy)
    }

    /// What a script has to know once the chat is left: that it never began, or that something was not delivered, or
    /// may not have been. A person was told already.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        if !self.is_scripted() {
            return None;
        }
        match self.deliveries.undelivered() {
            0 if self.begun => None,
            0 => Some("the conversation never began".to_owned()),
            1 => Some("a message was not delivered".to_owned()),
            count => Some(format!("{count} messages were not delivered")),
        }
    }

    fn ask(&mut self, request: Request, now: Now) {
        match request {
            Request::OpenAnother | Request::StartNew => {
                self.standing = Standing::Connecting;
                self.cleared = false;
                self.forget_offers();
            }
            Request::Say(_) => {
                self.answered = false;
                self.offer = Offer::default();
            }
            _ => {}
        }
        if let Some(errand) = Errand::of(&request) {
            self.wait_for(errand, now);
        }
        match request {
            Request::Attach(path) => self.attach(path),
            Request::Clear => {
                self.clearing = true;
                self.clear_when_delivered();
            }
            _ => self.requests.push_back(request),
        }
    }

    fn clear_when_delivered(&mut self) {
        let on_its_way = self.standing == Standing::Live && self.deliveries.outstanding() > 0;
        if self.clearing && !on_its_way {
            self.clearing = false;
            self.requests.push_back(Request::Clear);
        }
    }

    fn wait_for(&mut self, errand: Errand, now: Now) {
        if self.is_scripted() && self.standing != Standing::Over {
            self.awaited = Some((errand, now.instant + PATIENCE));
        }
    }

    fn heard(&mut self, now: Now) {
        self.heard = Some(now.instant);
    }

    /// When a script that has ended is left.
    fn leaving(&self) -> Option<Instant> {
        let (latest, Writer::Script { quiet }) = (self.latest?, self.writer) else {
            return None;
        };
        let connected = matches!(self.standing, Standing::Live | Standing::ReadOnly);
        if !connected || self.deliveries.outstanding() > 0 || !self.uploads.is_empty() {
            return Some(latest);
        }
        let silent_since = self.typing.as_ref().map_or(self.heard?, |it| it.until);
        Some(latest.min(silent_since + quiet))
    }

    fn leave_when_over(&mut self) {
        if self.latest.is_some() && self.standing == Standing::Over {
            self.leave();
        }
    }

    fn leave(&mut self) {
        if !self.left {
            self.left = true;
            self.requests.push_back(Request::Leave);
        }
    }

    fn trouble(&mut self, text: &str) {
        self.show(Line::new(Tone::Wrong, "!", text));
    }

    fn show(&mut self, line: Line) {
        self.lines.push_back(line);
    }

    fn is_scripted(&self) -> bool {
        matches!(self.writer, Writer::Script { .. })
    }
}

impl fmt::Debug for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chat")
            .field("writer", &self.writer)
            .field("standing", &self.standing)
            .finish_non_exhaustive()
    }
}

/// How long somebody may be said to be typing, whatever the service says. Genesys' own default is 5 s.
const LONGEST_TYPING: Duration = Duration::from_secs(60);
