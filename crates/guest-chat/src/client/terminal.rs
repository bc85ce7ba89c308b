//! A terminal: a line is edited at the bottom while others appear above it.

use std::io::{ErrorKind, Write as _, stdin, stdout};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
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

use super::print;
use super::surface::Heard;

/// Lines that may wait to be shown; more are not shown, and said to be missing.
const BACKLOG: usize = 1_024;
/// Lines that the arrow keys bring back, kept in memory only.
const HISTORY: usize = 200;

/// The editor reads in one thread and lines are printed from another, because both wait for the terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    before: Termios,
    turns: SyncSender<bool>,
    shown: SyncSender<String>,
    missing: Mutex<usize>,
    printing: JoinHandle<()>,
    editing: JoinHandle<()>,
}

impl Terminal {
    /// `None` if this terminal cannot move its cursor.
    pub(super) fn open(heard: mpsc::Sender<Heard>) -> Option<Self> {
        let before = tcgetattr(stdin()).ok()?;
        // the editor would take the key that quits, Ctrl-\, for Ctrl-C
        let mut without_quit = before.clone();
        without_quit.control_chars[SpecialCharacterIndices::VQUIT as usize] =
            before.control_chars[SpecialCharacterIndices::VINTR as usize];
        tcsetattr(stdin(), SetArg::TCSADRAIN, &without_quit).ok()?;
        let config = Config::builder().max_history_size(HISTORY).ok()?;
        let mut editor =
            Editor::with_history(config.auto_add_history(true).build(), MemHistory::new()).ok()?;
        let mut printer = editor.create_external_printer().ok()?;
        editor.set_helper(Some(Listener { heard: heard.clone() }));
        let (turns, turn) = sync_channel(1);
        let (shown, to_show) = sync_channel::<String>(BACKLOG);
        Some(Self {
            before,
            turns,
            shown,
            missing: Mutex::new(0),
            printing: thread::spawn(move || {
                for text in to_show {
                    // the editor has gone, and with it the prompt
                    if printer.print(format!("{text}\n")).is_err() {
                        print(&text);
                    }
                }
            }),
            editing: thread::spawn(move || edit(editor, &heard, &turn)),
        })
    }

    pub(super) fn show(&self, text: String) {
        let mut missing = self
            .missing
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let text = match *missing {
            0 => text,
            count => format!("[{count} lines came too fast to be shown]\n{text}"),
        };
        match self.shown.try_send(text) {
            Ok(()) => *missing = 0,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => *missing += 1,
        }
    }

    pub(super) fn go_on(&self, goes_on: bool) {
        // it is waiting for this
        let _ = self.turns.try_send(goes_on);
    }

    pub(super) fn close(self) {
        let Self {
            before,
            turns,
            shown,
            printing,
            editing,
            ..
        } = self;
        drop((turns, shown));
        let _ = printing.join();
        if !editing.is_finished() {
            // a signal came while a line was edited: no more pasting in brackets, and off the prompt's line
            let _ = stdout().write_all(b"\x1b[?2004l\r\n");
        }
        let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, &before);
    }
}

/// Reads lines until there are none, or the chat is left.
fn edit(mut editor: Editor<Listener, MemHistory>, heard: &mpsc::Sender<Heard>, turn: &Receiver<bool>) {
    loop {
        let (line, last) = match editor.readline("> ") {
            Ok(line) => (Heard::Line(line), false),
            Err(ReadlineError::Interrupted) => (Heard::Interrupted, true),
            Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
                (Heard::Unreadable, false)
            }
            Err(_) => (Heard::End, true),
        };
        if heard.blocking_send(line).is_err() || last || !turn.recv().unwrap_or(false) {
            return;
        }
    }
}

/// Hears what is being written. It hints at nothing.
struct Listener {
    heard: mpsc::Sender<Heard>,
}

impl Hinter for Listener {
    type Hint = String;

    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<String> {
        // one that is not heard is followed by others
        let _ = self.heard.try_send(Heard::Editing(line.to_owned()));
        None
    }
}

impl Completer for Listener {
    type Candidate = String;
}
impl Helper for Listener {}
impl Highlighter for Listener {}
impl Validator for Listener {}
