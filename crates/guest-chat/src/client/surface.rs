//! Where lines come from and go to: a terminal, or two pipes.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

use super::print;
use super::terminal::Terminal;
use crate::chat::{Line, Look, Writer};

/// Longest line that is read, in bytes. Our choice: Genesys Cloud takes 4,096.
const LONGEST_LINE: usize = 65_536;

/// How many lines are read ahead. Who writes faster waits.
const LINES_AHEAD: usize = 16;

/// What was heard from the guest.
#[derive(Debug)]
pub(super) enum Heard {
    /// The line that a person is writing.
    Editing(String),
    End,
    Interrupted,
    Line(String),
    TooLong {
        limit: usize,
    },
    /// What a person wrote is not UTF-8.
    Unreadable,
}

/// A terminal, or two pipes.
#[derive(Debug)]
pub struct Surface {
    input: mpsc::Receiver<Heard>,
    look: Look,
    writer: Writer,
    terminal: Option<Terminal>,
}

impl Surface {
    /// A terminal if stdin and stdout are one that can move its cursor; else lines.
    #[must_use]
    pub fn open(quiet: Duration) -> Self {
        let (heard, input) = mpsc::channel(LINES_AHEAD);
        if std::io::stdin().is_terminal()
            && let Some(terminal) = Terminal::open(heard.clone())
        {
            let colour = std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
            return Self {
                input,
                look: Look::Terminal { colour },
                writer: Writer::Person,
                terminal: Some(terminal),
            };
        }
        // a thread of its own: it may wait for a line that never comes, and must not hold up the end
        thread::spawn(move || read(&heard));
        Self {
            input,
            look: Look::Plain,
            writer: Writer::Script { quiet },
            terminal: None,
        }
    }

    /// Who writes.
    #[must_use]
    pub fn writer(&self) -> Writer {
        self.writer
    }

    pub(super) async fn heard(&mut self) -> Heard {
        self.input.recv().await.unwrap_or(Heard::End)
    }

    pub(super) fn show(&self, line: &Line) {
        let text = line.render(self.look);
        match &self.terminal {
            Some(terminal) => terminal.show(text),
            None => print(&text),
        }
    }

    /// A line was heard: the person may write the next one, or not.
    pub(super) fn go_on(&self, goes_on: bool) {
        if let Some(terminal) = &self.terminal {
            terminal.go_on(goes_on);
        }
    }

    /// Shows what is still to be shown, and gives the terminal back as it was.
    pub(super) async fn close(self) {
        drop(self.input);
        if let Some(terminal) = self.terminal {
            // what is shown may have to wait for the terminal, not for long
            let _ = tokio::task::spawn_blocking(|| terminal.close()).await;
        }
    }
}

/// Reads lines until there are none, or nobody listens.
fn read(heard: &mpsc::Sender<Heard>) {
    let mut stdin = std::io::stdin().lock();
    loop {
        let mut bytes = Vec::new();
        let longest = u64::try_from(LONGEST_LINE).unwrap_or(u64::MAX);
        let line = match stdin.by_ref().take(longest).read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => Heard::End,
            Ok(LONGEST_LINE) if !bytes.ends_with(b"\n") => match stdin.skip_until(b'\n') {
                Ok(_) => Heard::TooLong { limit: LONGEST_LINE },
                Err(_) => Heard::End,
            },
            Ok(_) => {
                let line = String::from_utf8_lossy(&bytes);
                Heard::Line(line.trim_end_matches(['\r', '\n']).to_owned())
            }
        };
        let last = matches!(line, Heard::End);
        if heard.blocking_send(line).is_err() || last {
            return;
        }
    }
}
