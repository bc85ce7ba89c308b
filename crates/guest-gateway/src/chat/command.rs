//! What a line of input means.

use std::path::PathBuf;

use ws_transport::QuickReply;

/// What a chat asks of its driver.
///
/// `Debug` shows neither what is said nor a path.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub enum Request {
    /// Send a file.
    Attach(PathBuf),
    /// Choose one of the answers that were offered.
    ChooseReply(QuickReply),
    /// Clear the conversation at the service, which ends it.
    Clear,
    /// Fetch what was said before; answer with [`Chat::handle_history`](super::Chat::handle_history).
    History,
    /// End the chat: close the conversation, tell its last events, stop.
    Leave,
    /// Drop the connection and make a new one, for the same session.
    Reconnect,
    /// Send a text; answer with [`Chat::handle_taken`](super::Chat::handle_taken) or
    /// [`Chat::handle_not_taken`](super::Chat::handle_not_taken).
    Say(String),
    /// Begin a new conversation in place of one that has ended.
    StartNew,
    /// Show the other side that the guest is typing.
    Typing,
    /// Explain the last loss or end; answer with [`Chat::handle_explanation`](super::Chat::handle_explanation).
    Why,
}

impl Request {
    /// What a person types for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Attach(_) => "/attach",
            Self::ChooseReply(_) => "an answer by its number",
            Self::Clear => "/clear",
            Self::History => "/history",
            Self::Leave => "/quit",
            Self::Reconnect => "/reconnect",
            Self::Say(_) => "a message",
            Self::StartNew => "/new",
            Self::Typing => "the typing indicator",
            Self::Why => "/why",
        }
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The commands, each with what it does.
pub(super) const COMMANDS: [(&str, &str); 8] = [
    ("/attach FILE", "sends a file"),
    ("/clear", "clears the conversation for good, which ends it"),
    ("/help", "this list"),
    ("/history", "shows what was said so far, as Genesys Cloud has it"),
    ("/new", "begins a new conversation, when the last one has ended"),
    ("/quit", "leaves; Ctrl-D and Ctrl-C do the same"),
    ("/reconnect", "drops the connection and makes a new one"),
    (
        "/why",
        "explains why the connection was lost, or the conversation ended",
    ),
];

/// A line of input, understood.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Input<'a> {
    Ask(Request),
    Help,
    Nothing,
    Quit,
    Say(&'a str),
    /// An argument is missing, or there is one too many: how to write it.
    Usage(&'static str),
    Unknown(&'a str),
}

/// Reads a line. `offered` are the answers that can be chosen by their number, from 1.
pub(super) fn read<'a>(line: &'a str, offered: &[QuickReply]) -> Input<'a> {
    if line.trim().is_empty() {
        return Input::Nothing;
    }
    if let Some(reply) = chosen(line.trim_end(), offered) {
        return Input::Ask(Request::ChooseReply(reply.clone()));
    }
    if !line.starts_with('/') {
        return Input::Say(line);
    }
    if line.starts_with("//") {
        return Input::Say(&line[1..]);
    }
    let (name, argument) = match line.split_once(char::is_whitespace) {
        Some((name, argument)) => (name, argument.trim()),
        None => (line, ""),
    };
    match (name, argument) {
        ("/attach", "") => Input::Usage("/attach FILE"),
        ("/attach", path) => Input::Ask(Request::Attach(path.into())),
        ("/clear", "") => Input::Ask(Request::Clear),
        ("/help", _) => Input::Help,
        ("/history", "") => Input::Ask(Request::History),
        ("/new", "") => Input::Ask(Request::StartNew),
        ("/quit", _) => Input::Quit,
        ("/reconnect", "") => Input::Ask(Request::Reconnect),
        ("/why", "") => Input::Ask(Request::Why),
        ("/clear", _) => Input::Usage("/clear"),
        ("/history", _) => Input::Usage("/history"),
        ("/new", _) => Input::Usage("/new"),
        ("/reconnect", _) => Input::Usage("/reconnect"),
        ("/why", _) => Input::Usage("/why"),
        _ => Input::Unknown(name),
    }
}

/// A number that stands at the very beginning, alone, and has an answer; a space before it makes it a text.
fn chosen<'a>(line: &str, offered: &'a [QuickReply]) -> Option<&'a QuickReply> {
    if !line.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: usize = line.parse().ok()?;
    offered.get(number.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yes() -> QuickReply {
        QuickReply {
            text: "Yes".into(),
            payload: "y".into(),
            image: None,
        }
    }

    #[test]
    fn every_command_that_is_listed_is_understood() {
        for (command, _) in COMMANDS {
            let input = read(command, &[]);
            assert!(
                matches!(input, Input::Ask(_) | Input::Help | Input::Quit),
                "{command}: {input:?}"
            );
        }
    }

    #[test]
    fn a_line_is_text_unless_it_begins_with_one_slash() {
        assert_eq!(read("hello /why", &[]), Input::Say("hello /why"));
        assert_eq!(read(" /why", &[]), Input::Say(" /why"));
        assert_eq!(read("//why", &[]), Input::Say("/why"));
        assert_eq!(read("//", &[]), Input::Say("/"));
        assert_eq!(read("/", &[]), Input::Unknown("/"));
        assert_eq!(read("/whyever", &[]), Input::Unknown("/whyever"));
        assert_eq!(read("/why not", &[]), Input::Usage("/why"));
        assert_eq!(read("/attach  ", &[]), Input::Usage("/attach FILE"));
        assert_eq!(
            read("/attach my file.png ", &[]),
            Input::Ask(Request::Attach("my file.png".into()))
        );
        for nothing in ["", " ", "\t\u{3000}"] {
            assert_eq!(read(nothing, &[]), Input::Nothing);
        }
    }

    #[test]
    fn a_number_chooses_only_what_is_offered() {
        let choice = Input::Ask(Request::ChooseReply(yes()));
        assert_eq!(read("1", &[yes()]), choice);
        assert_eq!(read("01 ", &[yes()]), choice);
        for text in ["0", "2", "1.", " 1", "+1", "١", "99999999999999999999999"] {
            assert_eq!(read(text, &[yes()]), Input::Say(text), "{text}");
        }
        assert_eq!(read("1", &[]), Input::Say("1"));
    }
}
