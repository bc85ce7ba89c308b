//! A terminal with a line editor at the bottom. Other lines are printed above it.

use std::io::{ErrorKind, Write as _, stdin, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use nix::sys::termios::{SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use rustyline::completion::Completer;
use rustyline::config::Config;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, ExternalPrinter, Helper};
use tokio::sync::mpsc;

use super::frontend::TerminalEvent;
use super::print;

/// Capacity for lines to print. Further ones are dropped, and a line shows their number.
const BACKLOG: usize = 1_024;
/// Lines of the editor's history, kept in memory only.
const HISTORY: usize = 200;

/// The editor and the printing of lines. Each has a thread, because both block on the terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    before: Termios,
    continues: SyncSender<bool>,
    shown: SyncSender<String>,
    /// Width of the terminal when the editor began its line; 0 is unknown.
    columns: Arc<AtomicU16>,
    /// Lines dropped since the last one that was printed.
    dropped: usize,
    printing: JoinHandle<()>,
    editing: JoinHandle<()>,
}

impl Terminal {
    /// Opens the terminal. `None` if it cannot move its cursor.
    pub(super) fn open(events: mpsc::Sender<TerminalEvent>) -> Option<Self> {
        let before = tcgetattr(stdin()).ok()?;
        // the editor would handle the quit key, Ctrl-\, as Ctrl-C
        let mut without_quit = before.clone();
        without_quit.control_chars[SpecialCharacterIndices::VQUIT as usize] =
            before.control_chars[SpecialCharacterIndices::VINTR as usize];
        tcsetattr(stdin(), SetArg::TCSADRAIN, &without_quit).ok()?;
        let config = Config::builder().max_history_size(HISTORY).ok()?;
        let mut editor =
            Editor::with_history(config.auto_add_history(true).build(), MemHistory::new()).ok()?;
        let mut printer = editor.create_external_printer().ok()?;
        editor.set_helper(Some(EditObserver(events.clone())));
        let (continues, allowed) = sync_channel(1);
        let (shown, to_show) = sync_channel::<String>(BACKLOG);
        let columns = Arc::<AtomicU16>::default();
        Some(Self {
            before,
            continues,
            shown,
            columns: Arc::clone(&columns),
            dropped: 0,
            printing: thread::spawn(move || {
                for text in to_show {
                    // the editor has ended, and with it the prompt
                    if printer.print(format!("{text}\n")).is_err() {
                        print(&text);
                    }
                }
            }),
            editing: thread::spawn(move || edit(editor, &events, &allowed, &columns)),
        })
    }

    pub(super) fn columns(&self) -> Option<u16> {
        let columns = self.columns.load(Ordering::Relaxed);
        (columns > 0).then_some(columns)
    }

    pub(super) fn show(&mut self, text: String) {
        let text = match self.dropped {
            0 => text,
            count => format!("[{count} lines dropped: they arrived too fast]\n{text}"),
        };
        match self.shown.try_send(text) {
            Ok(()) => self.dropped = 0,
            Err(_) => self.dropped += 1,
        }
    }

    pub(super) fn set_editing(&self, allowed: bool) {
        // the editor waits for it after each line
        let _ = self.continues.try_send(allowed);
    }

    pub(super) fn close(self) {
        drop((self.continues, self.shown));
        let _ = self.printing.join();
        if !self.editing.is_finished() {
            // a signal arrived while a line was edited: end bracketed paste, leave the line of the prompt
            let _ = stdout().write_all(b"\x1b[?2004l\r\n");
        }
        let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, &self.before);
    }
}

/// Reads lines until the end of the input, or until the chat is left.
fn edit(
    mut editor: Editor<EditObserver, MemHistory>,
    events: &mpsc::Sender<TerminalEvent>,
    allowed: &Receiver<bool>,
    columns: &AtomicU16,
) {
    loop {
        let width = editor.dimensions().map_or(0, |(columns, _)| columns);
        columns.store(width, Ordering::Relaxed);
        let (line, last) = match editor.readline("> ") {
            Ok(line) => (TerminalEvent::Line(line), false),
            Err(ReadlineError::Interrupted) => (TerminalEvent::Interrupted, true),
            Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
                let reason = "invalid line: not UTF-8, write it again";
                (TerminalEvent::Skipped(reason.to_owned()), false)
            }
            Err(_) => (TerminalEvent::End, true),
        };
        if events.blocking_send(line).is_err() || last || !allowed.recv().unwrap_or(false) {
            return;
        }
    }
}

/// Observes the edited line. It gives no hints.
struct EditObserver(mpsc::Sender<TerminalEvent>);

impl Hinter for EditObserver {
    type Hint = String;

    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<String> {
        // a dropped event is replaced by the next one
        let _ = self.0.try_send(TerminalEvent::Editing(line.to_owned()));
        None
    }
}

impl Completer for EditObserver {
    type Candidate = String;
}
impl Helper for EditObserver {}
impl Highlighter for EditObserver {}
impl Validator for EditObserver {}
