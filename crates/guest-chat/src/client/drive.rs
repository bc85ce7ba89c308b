//! Moves lines, events and time between a chat, its conversation and its surface.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use genesys_api::{Clock, entropy};
use guest_conversation::client::{ConnectLimiter, Connection, Handle, Settings};
use guest_conversation::timeline::{Happening, Timeline};
use guest_conversation::{Event, attachments};
use secrecy::SecretString;
use tokio::task::JoinSet;

use super::place::Place;
use super::surface::{Heard, Surface};
use super::{ChatError, ChatErrorKind};
use crate::chat::{Chat, Request};

/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(3);
/// Largest file that is read, in bytes: as much as a conversation holds of files on their way. Genesys Cloud takes less.
const LARGEST_FILE: u64 = 50 << 20;
/// How many entries of the timeline an explanation shows.
const LATELY: usize = 12;
/// How many events are told before a line of input is taken.
const CATCHING_UP: usize = 64;

/// Runs a chat to its end, or until `interrupt` is ready.
///
/// # Errors
/// If a script began no conversation, or a message of it was not delivered.
pub async fn run(
    chat: Chat,
    place: Place,
    surface: Surface,
    interrupt: impl Future<Output = ()>,
) -> Result<(), ChatError> {
    Driver::new(chat, place, surface).run(interrupt).await
}

struct Driver {
    chat: Chat,
    place: Place,
    limiter: ConnectLimiter,
    surface: Surface,
    connection: Connection,
    /// Whether the connection has events to come.
    live: bool,
    /// The files that are being read.
    reading: JoinSet<(PathBuf, Result<Vec<u8>, String>)>,
}

impl Driver {
    fn new(chat: Chat, place: Place, surface: Surface) -> Self {
        let limiter = ConnectLimiter::default();
        let connection = open(&place, limiter.clone());
        Self {
            chat,
            place,
            limiter,
            surface,
            connection,
            live: true,
            reading: JoinSet::new(),
        }
    }

    async fn run(mut self, interrupt: impl Future<Output = ()>) -> Result<(), ChatError> {
        let mut interrupt = pin!(interrupt);
        let clock = Clock::system();
        while self.obey() {
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
                () = &mut interrupt => self.chat.handle_interrupt(),
                heard = self.surface.heard(), if wanted => self.hear(heard).await,
                event = self.connection.next_event(), if self.live => self.handle_event(event),
                Some(Ok((path, read))) = self.reading.join_next() => self.attach(path, read),
                () = due => self.chat.handle_timeout(self.place.now()),
            }
        }
        for event in self.connection.close_within(GOODBYE).await {
            self.chat.handle_event(event, self.place.now());
        }
        show(&mut self.chat, &self.surface);
        self.surface.close().await;
        self.chat
            .failure()
            .map_or(Ok(()), |why| Err(ChatError::new(ChatErrorKind::Undelivered, why)))
    }

    async fn hear(&mut self, heard: Heard) {
        // what happened before is told before; and is bounded, so that who floods the chat cannot keep it
        for _ in 0..CATCHING_UP {
            tokio::select! {
                biased;
                event = self.connection.next_event(), if self.live => self.handle_event(event),
                () = std::future::ready(()) => break,
            }
        }
        let now = self.place.now();
        match heard {
            Heard::Editing(line) => self.chat.handle_editing(&line),
            Heard::End => self.chat.handle_end_of_input(now),
            Heard::Interrupted => self.chat.handle_interrupt(),
            Heard::Line(line) => {
                self.chat.handle_line(&line, now);
                self.surface.go_on(self.chat.wants_input());
            }
            Heard::TooLong { limit } => self.chat.handle_line_too_long(limit),
            Heard::Unreadable => {
                self.chat.handle_line_unreadable();
                self.surface.go_on(self.chat.wants_input());
            }
        }
    }

    fn handle_event(&mut self, event: Option<Event>) {
        match event {
            Some(event) => self.chat.handle_event(event, self.place.now()),
            None => self.live = false,
        }
    }

    /// A file was read: it is uploaded.
    fn attach(&mut self, path: PathBuf, read: Result<Vec<u8>, String>) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let attached = read.and_then(|bytes| {
            let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            let file = attachments::File::new(&name, bytes.into());
            let taken = self.connection.handle().attach(file);
            taken.map(|id| (id, size)).map_err(|why| format!("{name}: {why}"))
        });
        match attached {
            Ok((id, size)) => self.chat.handle_attached(id, &name, size),
            Err(why) => {
                self.chat.handle_failure(&Request::Attach(path.clone()), &why);
            }
        }
    }

    /// Shows and does all that the chat wants. Whether it goes on.
    fn obey(&mut self) -> bool {
        loop {
            show(&mut self.chat, &self.surface);
            let Some(request) = self.chat.poll_request() else {
                return true;
            };
            let handle = self.connection.handle();
            let asked = match &request {
                Request::Attach(path) => {
                    let path = path.clone();
                    self.reading.spawn_blocking(|| {
                        let read = read(&path);
                        (path, read)
                    });
                    Ok(())
                }
                Request::Clear => handle.clear(),
                Request::DeclineToken => {
                    handle.decline_token();
                    Ok(())
                }
                Request::History(page) => handle.read_history(*page),
                Request::Leave => return false,
                Request::OpenAnother => {
                    self.connection = open(&self.place, self.limiter.clone());
                    self.live = true;
                    Ok(())
                }
                Request::Ping => handle.check_health(),
                Request::Reconnect => {
                    handle.reconnect_now();
                    Ok(())
                }
                Request::Say(said) => {
                    let now = self.place.now();
                    match handle.say(said) {
                        Ok(id) => self.chat.handle_taken(id, said, now),
                        Err(error) => self.chat.handle_not_taken(said, &error),
                    }
                    Ok(())
                }
                Request::StartNew => handle.start_new(),
                Request::Typing => {
                    handle.typing();
                    Ok(())
                }
                Request::Why => {
                    self.chat.handle_explanation(&handle.explain(), &lately(&handle));
                    Ok(())
                }
            };
            if let Err(why) = asked {
                self.chat.handle_failure(&request, &why);
            }
        }
    }
}

/// The contents of a file.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let unread = |error| format!("cannot read {}: {error}", path.display());
    // a pipe or a device could be read for ever
    if !path.metadata().map_err(unread)?.is_file() {
        return Err(format!("{} is no file", path.display()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unread)?;
    file.take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(unread)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LARGEST_FILE {
        return Err(format!(
            "{} has more than {} MiB",
            path.display(),
            LARGEST_FILE >> 20
        ));
    }
    Ok(bytes)
}

/// What happened lately, but for single frames.
fn lately(handle: &Handle) -> Vec<String> {
    let timeline = handle.timeline();
    let entries: Vec<_> = timeline.iter().flat_map(Timeline::entries).collect();
    let turns = entries
        .iter()
        .filter(|(_, what)| !matches!(what, Happening::Frames { .. }));
    let mut latest: Vec<_> = turns.rev().take(LATELY).collect();
    latest.reverse();
    let day = latest.first().map(|(at, _)| at.date());
    let dated = latest.iter().any(|(at, _)| Some(at.date()) != day);
    let line = |(at, what): &(time::OffsetDateTime, Happening)| {
        let time = format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second());
        if dated {
            format!("{} {time} {what}", at.date())
        } else {
            format!("{time} {what}")
        }
    };
    latest.into_iter().map(line).collect()
}

fn show(chat: &mut Chat, surface: &Surface) {
    while let Some(line) = chat.poll_line() {
        surface.show(&line);
    }
}

/// A new session, by a token that nobody else has.
fn open(place: &Place, limiter: ConnectLimiter) -> Connection {
    let token = SecretString::from(entropy::uuid().to_string());
    Connection::open(Settings {
        http: place.http.clone(),
        url: place.url.clone(),
        origin: place.origin.clone(),
        contract: place.session(token),
        limiter,
    })
}
