//! Moves lines, events and time between a chat, its conversation and its frontend.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use genesys_api::Clock;
use guest_conversation::client::Connection;
use guest_conversation::timeline::{Timeline, TimelineEvent};
use guest_conversation::{Event, GuestMachine as _, Request as ConversationRequest, attachments};
use time::OffsetDateTime;
use tokio::task::JoinSet;

use super::ChatError;
use super::frontend::{Frontend, TerminalEvent};
use super::target::ConnectTarget;
use crate::chat::{Chat, Request};

/// Longest time to close the conversation.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// Largest file that is read, in bytes: the capacity of a conversation for pending uploads. Genesys Cloud accepts less.
const MAX_FILE: u64 = 50 << 20;
/// Entries of the timeline in an explanation.
const TIMELINE_ENTRIES: usize = 12;
/// Largest number of events handled before a line of input.
const EVENTS_BEFORE_INPUT: usize = 64;

/// Runs a chat to its end, or until `interrupt` is ready.
///
/// # Errors
/// If a script was never connected, or one of its messages was not delivered.
pub async fn run(
    chat: Chat,
    target: ConnectTarget,
    frontend: Frontend,
    interrupt: impl Future<Output = ()>,
) -> Result<(), ChatError> {
    let run_loop = RunLoop {
        chat,
        connection: target.open(),
        target,
        frontend,
        live: true,
        reading: JoinSet::new(),
    };
    run_loop.run(interrupt).await
}

struct RunLoop {
    chat: Chat,
    target: ConnectTarget,
    frontend: Frontend,
    connection: Connection,
    /// Whether further events are expected from the connection.
    live: bool,
    reading: JoinSet<(PathBuf, Result<Vec<u8>, String>)>,
}

impl RunLoop {
    async fn run(mut self, interrupt: impl Future<Output = ()>) -> Result<(), ChatError> {
        let mut interrupt = pin!(interrupt);
        let clock = Clock::system();
        while self.run_commands() {
            let deadline = self.chat.poll_timeout().map(|(at, _)| at);
            let due = async {
                match deadline {
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let wanted = self.chat.wants_input();
            tokio::select! {
                biased;
                () = &mut interrupt => self.chat.leave(),
                event = self.frontend.next_event(), if wanted => self.handle_terminal_event(event).await,
                event = self.connection.next_event(), if self.live => self.handle_event(event),
                Some(Ok((path, read))) = self.reading.join_next() => self.attach(path, read),
                () = due => self.chat.handle_timeout(self.target.now()),
            }
        }
        for event in self.connection.close_within(CLOSE_TIMEOUT).await {
            self.chat.handle_event(event, self.target.now());
        }
        show_lines(&mut self.chat, &mut self.frontend);
        self.frontend.close().await;
        match self.chat.failure() {
            Some(reason) => Err(ChatError::Undelivered(reason)),
            None => Ok(()),
        }
    }

    async fn handle_terminal_event(&mut self, event: TerminalEvent) {
        // earlier events are handled first; the number is bounded, so that a flood of events cannot block the input
        for _ in 0..EVENTS_BEFORE_INPUT {
            tokio::select! {
                biased;
                event = self.connection.next_event(), if self.live => self.handle_event(event),
                () = std::future::ready(()) => break,
            }
        }
        let now = self.target.now();
        match event {
            TerminalEvent::Editing(line) => self.chat.handle_editing(&line),
            TerminalEvent::End => self.chat.handle_end_of_input(now),
            TerminalEvent::Interrupted => self.chat.leave(),
            TerminalEvent::Line(line) => {
                self.chat.handle_line(&line, now);
                self.frontend.set_editing(self.chat.wants_input());
            }
            TerminalEvent::Skipped(reason) => {
                self.chat.handle_skipped_line(&reason);
                self.frontend.set_editing(self.chat.wants_input());
            }
        }
    }

    fn handle_event(&mut self, event: Option<Event>) {
        match event {
            Some(event) => self.chat.handle_event(event, self.target.now()),
            None => self.live = false,
        }
    }

    /// Starts the upload of a file that was read.
    fn attach(&mut self, path: PathBuf, read: Result<Vec<u8>, String>) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let attached = read.and_then(|bytes| {
            let size = bytes.len() as u64;
            let file = attachments::File::new(&name, bytes.into());
            let attached = self.connection.handle().attach(file).map(|id| (id, size));
            attached.map_err(|why| format!("{name}: {why}"))
        });
        match attached {
            Ok((id, size)) => self.chat.handle_attached(id, &name, size),
            Err(error) => self.chat.handle_failure(&Request::Attach(path.clone()), &error),
        }
    }

    /// Prints the lines and executes the requests of the chat. Returns whether it continues.
    fn run_commands(&mut self) -> bool {
        loop {
            show_lines(&mut self.chat, &mut self.frontend);
            let Some(request) = self.chat.poll_request() else {
                return true;
            };
            let handle = self.connection.handle();
            match &request {
                Request::Attach(path) => {
                    let path = path.clone();
                    self.reading.spawn_blocking(|| {
                        let read = read(&path);
                        (path, read)
                    });
                }
                Request::Clear => self.control(&request, ConversationRequest::Clear),
                Request::DeclineToken => handle.with(|conversation, now| conversation.decline_token(now)),
                Request::Explain => {
                    let (text, timeline) = handle.with(|conversation, _| {
                        (
                            conversation.engine().timeline.explain(),
                            conversation.engine().timeline.clone(),
                        )
                    });
                    self.chat.handle_explanation(&text, &recent_entries(&timeline));
                }
                Request::History(page) => {
                    self.control(&request, ConversationRequest::ReadHistory { page: *page });
                }
                Request::Leave => return false,
                Request::OpenAnother => {
                    self.connection = self.target.open();
                    self.live = true;
                }
                Request::Ping => self.control(&request, ConversationRequest::CheckHealth),
                Request::Reconnect => {
                    handle.with(|conversation, now| conversation.engine_mut().reconnect(now))
                }
                Request::Send(message) => {
                    let now = self.target.now();
                    match handle.send_message(message) {
                        Ok(id) => self.chat.handle_queued(id, message, now),
                        Err(error) => self.chat.handle_not_queued(message, &error),
                    }
                }
                Request::StartNew => self.control(&request, ConversationRequest::StartNew),
                Request::Typing => handle.typing(),
            }
        }
    }

    fn control(&mut self, request: &Request, control: ConversationRequest) {
        if let Err(error) = self.connection.handle().request(control) {
            self.chat.handle_failure(request, &error);
        }
    }
}

fn show_lines(chat: &mut Chat, frontend: &mut Frontend) {
    while let Some(line) = chat.poll_line() {
        frontend.show(&line);
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let name = path.display();
    let unread = |error| format!("cannot read {name}: {error}");
    let metadata = path.metadata().map_err(unread)?;
    // the read of a pipe or a device may never end
    if !metadata.is_file() {
        return Err(format!("cannot read {name}: not a file"));
    }
    if metadata.len() > MAX_FILE {
        return Err(format!("cannot send {name}: more than {} MiB", MAX_FILE >> 20));
    }
    std::fs::read(path).map_err(unread)
}

/// The latest entries of the timeline without single frames.
fn recent_entries(timeline: &Timeline) -> Vec<String> {
    let entries: Vec<_> = timeline.entries().collect();
    let is_frames = |what: &TimelineEvent| matches!(what, TimelineEvent::Frames { .. });
    let entries = entries.iter().filter(|(_, what)| !is_frames(what));
    let mut latest: Vec<_> = entries.rev().take(TIMELINE_ENTRIES).collect();
    latest.reverse();
    let is_one_day = latest.windows(2).all(|pair| pair[0].0.date() == pair[1].0.date());
    let line = |(at, what): &(OffsetDateTime, &TimelineEvent)| {
        let time = format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second());
        match is_one_day {
            true => format!("{time} {what}"),
            false => format!("{} {time} {what}", at.date()),
        }
    };
    latest.into_iter().map(line).collect()
}
