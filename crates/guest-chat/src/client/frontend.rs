//! Input and output of lines: a terminal, or stdin and stdout as pipes.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

use super::print;
use super::terminal::Terminal;
use crate::chat::{InputMode, Line, Style};

/// Longest line that is read, in bytes. Genesys Cloud accepts 4,096.
const MAX_LINE: usize = 65_536;

/// Lines read ahead of the chat.
const MAX_QUEUED_LINES: usize = 16;

#[derive(Debug)]
pub(super) enum TerminalEvent {
    /// The line that a person edits, as it is now.
    Editing(String),
    End,
    Interrupted,
    Line(String),
    /// A line was skipped, for this reason.
    Skipped(String),
}

/// A terminal, or stdin and stdout as pipes.
#[derive(Debug)]
pub struct Frontend {
    input: mpsc::Receiver<TerminalEvent>,
    style: Style,
    /// The source of the input.
    pub input_mode: InputMode,
    terminal: Option<Terminal>,
}

impl Frontend {
    /// Opens stdin and stdout, as a terminal if they are one that can move its cursor. A script through a pipe has this
    /// idle timeout.
    #[must_use]
    pub fn open(idle_timeout: Duration) -> Self {
        let (events, input) = mpsc::channel(MAX_QUEUED_LINES);
        let terminal = match std::io::stdin().is_terminal() {
            true => Terminal::open(events.clone()),
            false => None,
        };
        let (style, input_mode) = if terminal.is_some() {
            let color = std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
            let columns = None;
            (Style::Terminal { color, columns }, InputMode::Interactive)
        } else {
            // a separate thread, because its read may never end and must not delay the exit
            thread::spawn(move || read(&events));
            (Style::Plain, InputMode::Script { idle_timeout })
        };
        Self {
            input,
            style,
            input_mode,
            terminal,
        }
    }

    pub(super) async fn next_event(&mut self) -> TerminalEvent {
        self.input.recv().await.unwrap_or(TerminalEvent::End)
    }

    pub(super) fn show(&mut self, line: &Line) {
        if let (Some(terminal), Style::Terminal { columns, .. }) = (&self.terminal, &mut self.style) {
            *columns = terminal.columns();
        }
        let text = line.render(self.style);
        match &mut self.terminal {
            Some(terminal) => terminal.show(text),
            None => print(&text),
        }
    }

    /// Lets the person edit the next line, or ends the editor.
    pub(super) fn set_editing(&self, continues: bool) {
        if let Some(terminal) = &self.terminal {
            terminal.set_editing(continues);
        }
    }

    /// Prints the remaining lines and restores the terminal.
    pub(super) async fn close(self) {
        drop(self.input);
        if let Some(terminal) = self.terminal {
            // printing can block for a short time
            let _ = tokio::task::spawn_blocking(|| terminal.close()).await;
        }
    }
}

/// Reads lines until the end of the input, or until the receiver is dropped.
fn read(events: &mpsc::Sender<TerminalEvent>) {
    let mut stdin = std::io::stdin().lock();
    loop {
        let mut bytes = Vec::new();
        let line = match stdin.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => TerminalEvent::End,
            Ok(MAX_LINE) if !bytes.ends_with(b"\n") => match stdin.skip_until(b'\n') {
                Ok(_) => {
                    TerminalEvent::Skipped(format!("invalid line: more than {MAX_LINE} bytes, shorten it"))
                }
                Err(_) => TerminalEvent::End,
            },
            Ok(_) => {
                let line = String::from_utf8_lossy(&bytes);
                TerminalEvent::Line(line.trim_end_matches(['\r', '\n']).to_owned())
            }
        };
        let last = matches!(line, TerminalEvent::End);
        if events.blocking_send(line).is_err() || last {
            return;
        }
    }
}
