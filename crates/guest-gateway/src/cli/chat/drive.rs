//! Moves lines, events and time between a chat, its conversation and its surface.

use std::time::Duration;

use genesys_api::entropy;
use secrecy::SecretString;
use ws_transport::client::{ConnectLimiter, Connection, Settings};
use ws_transport::{Contract, Farewell, WebMessaging};

use super::surface::{Heard, Surface};
use super::{Failure, Interrupt, Place};
use crate::chat::{Chat, Request};

/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(3);

pub(super) struct Driver {
    chat: Chat,
    place: Place,
    surface: Surface,
    connection: Connection,
    /// Whether the connection has events to come.
    live: bool,
}

impl Driver {
    pub(super) fn new(chat: Chat, place: Place, surface: Surface) -> Self {
        let connection = open(&place);
        Self {
            chat,
            place,
            surface,
            connection,
            live: true,
        }
    }

    pub(super) async fn run(mut self, interrupt: &mut Interrupt) -> Result<(), Failure> {
        let clock = self.place.http.clock().clone();
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
                () = interrupt.came() => self.chat.handle_interrupt(),
                heard = self.surface.heard(), if wanted => self.hear(heard),
                event = self.connection.next_event(), if self.live => match event {
                    Some(event) => self.chat.handle_event(event, clock.now()),
                    None => self.live = false,
                },
                () = due => self.chat.handle_timeout(clock.now()),
            }
        }
        for event in self.connection.close_within(GOODBYE).await {
            self.chat.handle_event(event, clock.now());
        }
        show(&mut self.chat, &self.surface);
        self.surface.close().await;
        self.chat
            .failure()
            .map_or(Ok(()), |why| Err(Failure::failed(why)))
    }

    fn hear(&mut self, heard: Heard) {
        let now = self.place.http.clock().now();
        match heard {
            Heard::Editing(line) => self.chat.handle_editing(&line),
            Heard::End => self.chat.handle_end_of_input(now),
            Heard::Interrupted => self.chat.handle_interrupt(),
            Heard::Line(line) => {
                self.chat.handle_line(&line, now);
                self.surface.go_on(self.chat.wants_input());
            }
            Heard::TooLong { limit } => self.chat.handle_line_too_long(limit),
        }
    }

    /// Shows and does all that the chat wants. Whether it goes on.
    fn obey(&mut self) -> bool {
        loop {
            show(&mut self.chat, &self.surface);
            let Some(request) = self.chat.poll_request() else {
                return true;
            };
            match request {
                Request::Clear => {
                    self.connection.set_farewell(Farewell::Clear);
                    self.connection.handle().end();
                }
                Request::Leave => return false,
                Request::Say(text) => match self.connection.send(&text) {
                    Ok(id) => self.chat.handle_taken(id, &text, self.place.http.clock().now()),
                    Err(error) => self.chat.handle_not_taken(&text, &error),
                },
                Request::StartNew => {
                    self.connection = open(&self.place);
                    self.live = true;
                }
                Request::Typing => self.connection.typing(),
                other => self.chat.handle_impossible(&other),
            }
        }
    }
}

fn show(chat: &mut Chat, surface: &Surface) {
    while let Some(line) = chat.poll_line() {
        surface.show(&line);
    }
}

/// A new session, by a token that nobody else has.
fn open(place: &Place) -> Connection {
    let token = SecretString::from(entropy::uuid().to_string());
    Connection::open(Settings {
        http: place.http.clone(),
        url: place.url.clone(),
        origin: place.origin.clone(),
        contract: Contract::WebMessaging(WebMessaging::new(place.deployment.clone(), token)),
        limiter: ConnectLimiter::default(),
    })
}
