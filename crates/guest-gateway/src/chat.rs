//! A guest's chat as a person sees it: lines of input and events of the conversation go in, lines to show and requests
//! to the conversation come out.
//!
//! No terminal, socket or clock is touched here. A driver calls one `handle_*` method for whatever happens, then
//! [`Chat::poll_line`] and [`Chat::poll_request`] until both are empty, and [`Chat::handle_timeout`] when
//! [`Chat::poll_timeout`] says so. A request that it has no means for it gives back by [`Chat::handle_impossible`].

mod command;
mod delivery;
mod line;
mod telling;
#[cfg(test)]
mod tests;
mod untrusted;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use genesys_api::Now;
use ws_transport::{Author, Event, Message, MessageId, QuickReply};

pub use self::command::Request;
use self::command::{COMMANDS, Input};
use self::delivery::Deliveries;
pub use self::line::{Line, Look, Tone};

/// How long deliveries are waited for once a script has ended, before what is missing counts as undelivered.
const DELIVERY_PATIENCE: Duration = Duration::from_secs(30);
/// Longest silence that a script can wait for.
const LONGEST_QUIET: Duration = Duration::from_secs(86_400);
/// How many messages of a script may be on their way before its next line is read.
const SCRIPT_AHEAD: usize = 64;

/// Who writes the lines of input.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Writer {
    /// A person, who decides when to leave.
    Person,
    /// A script, whose lines are shown as they are read. After its last one the chat goes on until everything is
    /// delivered and nothing was heard for `quiet`; 30 s longer than that at most.
    Script {
        /// How long a silence means that no answer is coming; more than a day counts as a day.
        quiet: Duration,
    },
}

/// Why a chat wants to be woken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// The script has ended, and nothing more is to come.
    Leave,
    /// Somebody is no longer typing.
    Typing,
    /// A message takes long to be delivered.
    Waiting,
}

/// A chat: see the [module](self). `Debug` does not show what is said.
pub struct Chat {
    writer: Writer,
    standing: Standing,
    /// Whether it was ever connected.
    begun: bool,
    deliveries: Deliveries,
    offered: Vec<QuickReply>,
    typing: Option<Typing>,
    /// When anything was last heard, or delivered.
    heard: Option<Instant>,
    /// When it is left at the latest, because the script has ended.
    latest: Option<Instant>,
    left: bool,
    lines: VecDeque<Line>,
    requests: VecDeque<Request>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    Connecting,
    Live,
    Over,
    ReadOnly,
    Reconnecting,
}

struct Typing {
    from: Author,
    until: Instant,
}

impl Chat {
    /// A chat that waits for its conversation to connect.
    #[must_use]
    pub fn new(writer: Writer) -> Self {
        let writer = match writer {
            Writer::Person => writer,
            Writer::Script { quiet } => Writer::Script {
                quiet: quiet.min(LONGEST_QUIET),
            },
        };
        Self {
            writer,
            standing: Standing::Connecting,
            begun: false,
            deliveries: Deliveries::default(),
            offered: Vec::new(),
            typing: None,
            heard: None,
            latest: None,
            left: false,
            lines: VecDeque::new(),
            requests: VecDeque::new(),
        }
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
        match command::read(line, &self.offered) {
            Input::Ask(Request::StartNew)
                if !matches!(self.standing, Standing::Over | Standing::ReadOnly) =>
            {
                self.trouble("the conversation has not ended: /new is for afterwards");
            }
            Input::Ask(Request::StartNew) => {
                self.standing = Standing::Connecting;
                self.offered.clear();
                self.typing = None;
                self.requests.push_back(Request::StartNew);
            }
            Input::Ask(request) => {
                if matches!(request, Request::ChooseReply(_)) {
                    self.offered.clear();
                }
                self.requests.push_back(request);
            }
            Input::Help => self.help(),
            Input::Nothing => {}
            Input::Quit => self.handle_end_of_input(now),
            Input::Say(text) => {
                self.offered.clear();
                self.requests.push_back(Request::Say(text.to_owned()));
            }
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
            Input::Usage(usage) => self.trouble(&format!("write {usage}")),
        }
    }

    /// Asks for something, as the command of its name does.
    pub fn handle_request(&mut self, request: Request) {
        self.requests.push_back(request);
    }

    /// The person edits a line that stands at `line` now.
    pub fn handle_editing(&mut self, line: &str) {
        let says = matches!(command::read(line, &self.offered), Input::Say(_));
        if says && self.standing == Standing::Live && !self.requests.contains(&Request::Typing) {
            self.requests.push_back(Request::Typing);
        }
    }

    /// A line of input was too long to be read; it was skipped.
    pub fn handle_line_too_long(&mut self, limit: usize) {
        self.deliveries.count_undelivered();
        self.trouble(&format!("a line of more than {limit} bytes was not read"));
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

    /// The conversation took a text, and calls it `id` from now on.
    pub fn handle_taken(&mut self, id: MessageId, text: &str, now: Now) {
        self.deliveries.begin(id, text, now.instant);
    }

    /// The conversation did not take a text.
    pub fn handle_not_taken(&mut self, text: &str, why: &dyn fmt::Display) {
        let line = self.deliveries.refuse(text, why);
        self.show(line);
    }

    /// The driver has no means to do what was asked.
    pub fn handle_impossible(&mut self, request: &Request) {
        self.trouble(&format!("{} is not possible in this version", request.name()));
    }

    /// What was asked for failed.
    pub fn handle_failure(&mut self, request: &Request, why: &dyn fmt::Display) {
        self.trouble(&format!("{} failed: {why}", request.name()));
    }

    /// What was said so far, oldest first.
    pub fn handle_history<'a>(&mut self, messages: impl IntoIterator<Item = &'a Message>) {
        let before = self.lines.len();
        self.announce("what was said so far:");
        self.lines.extend(messages.into_iter().map(telling::remembered));
        if self.lines.len() == before + 1 {
            self.lines.truncate(before);
            self.announce("nothing was said so far");
        }
    }

    /// Why the connection was lost, or the conversation ended.
    pub fn handle_explanation(&mut self, text: &str) {
        self.announce(text);
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
                self.typing = None;
                self.offered = message.quick_replies().cloned().collect();
                self.show(telling::message(message));
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
        let leaving = self.leaving().map(|at| (at, Reason::Leave));
        [typing, waiting, leaving]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
    }

    /// Whether the next line of input can be taken. A script that is far ahead of its deliveries waits.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        let ahead = self.is_scripted() && self.deliveries.outstanding() >= SCRIPT_AHEAD;
        !self.left && self.latest.is_none() && !ahead
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

    fn stand(&mut self, event: &Event, now: Now) {
        self.standing = match event {
            Event::Configured(session) | Event::Restored(session) => {
                self.heard(now);
                self.begun = true;
                if session.read_only {
                    Standing::ReadOnly
                } else {
                    Standing::Live
                }
            }
            Event::ConversationEnded { read_only: true } => Standing::ReadOnly,
            Event::Ended(_) => Standing::Over,
            Event::Reconnecting { .. } => Standing::Reconnecting,
            _ => return,
        };
        if self.standing != Standing::Live {
            self.typing = None;
            self.offered.clear();
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
        if !connected || self.deliveries.outstanding() > 0 {
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

    fn help(&mut self) {
        self.announce("what begins with no slash is said; these are commands:");
        for (usage, about) in COMMANDS {
            self.announce(&format!("{usage:<13} {about}"));
        }
        self.announce("// says a slash; a space before a number says the number");
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
