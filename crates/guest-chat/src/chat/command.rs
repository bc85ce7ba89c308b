//! What a line of input means.

use std::path::PathBuf;

use guest_conversation::Said;

use super::offer::{Offer, Unsuitable};

/// What a chat asks of its driver.
///
/// `Debug` shows neither what is said nor a path.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub enum Request {
    /// Upload a file; answer with [`Chat::handle_attached`](super::Chat::handle_attached) or
    /// [`Chat::handle_failure`](super::Chat::handle_failure).
    Attach(PathBuf),
    /// Clear the conversation at the service, which ends it.
    Clear,
    /// Say that there is no other token.
    DeclineToken,
    /// Read a page of what was said before, newest first, from 1.
    History(u32),
    /// End the chat: close the conversation, tell its last events, stop.
    Leave,
    /// Open another conversation in place of one that is over.
    OpenAnother,
    /// Ask whether the service is well.
    Ping,
    /// Connect anew, at once, for the same session; also where a connection is live.
    Reconnect,
    /// Say something; answer with [`Chat::handle_taken`](super::Chat::handle_taken) or
    /// [`Chat::handle_not_taken`](super::Chat::handle_not_taken).
    Say(Said),
    /// Begin a new conversation in the session of one that can only be read.
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
            Self::Clear => "/clear",
            Self::DeclineToken => "declining to sign in",
            Self::History(_) => "/history",
            Self::Leave => "/quit",
            Self::OpenAnother | Self::StartNew => "/new",
            Self::Ping => "/ping",
            Self::Reconnect => "/reconnect",
            Self::Say(Said::Text { .. }) => "a message",
            Self::Say(_) => "an answer by its number",
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
pub(super) const COMMANDS: [(&str, &str); 11] = [
    ("/attach FILE", "sends a file"),
    ("/clear", "clears the conversation for good, which ends it"),
    ("/help", "this list"),
    (
        "/history [PAGE]",
        "shows what was said so far, as Genesys Cloud has it; page 1 is the latest",
    ),
    ("/new", "begins a new conversation, when the last one has ended"),
    ("/open N", "shows the link of a file, which is a secret"),
    ("/ping", "asks whether the service is well"),
    ("/quit", "leaves; Ctrl-D and Ctrl-C do the same"),
    ("/reconnect", "drops the connection and makes another, at once"),
    ("/wait", "for scripts: reads on when the other side has answered"),
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
    New,
    Nothing,
    /// Show the link of this number.
    Open(usize),
    Quit,
    Say(&'a str),
    Unknown(&'a str),
    /// Numbers that cannot be chosen together.
    Unsuitable(Unsuitable),
    /// An argument is missing, or there is one too many: how to write it.
    Usage(&'static str),
    Wait,
}

/// Reads a line. What is on offer can be chosen by its number.
pub(super) fn read<'a>(line: &'a str, offer: &Offer) -> Input<'a> {
    if line.trim().is_empty() {
        return Input::Nothing;
    }
    if let Some(chosen) = offer.choose(line) {
        return match chosen {
            Ok(said) => Input::Ask(Request::Say(said)),
            Err(why) => Input::Unsuitable(why),
        };
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
    let mut usages = COMMANDS.iter().map(|(usage, _)| *usage);
    match usages.find(|usage| usage.split(' ').next() == Some(name)) {
        Some(usage) => command(name, argument).unwrap_or(Input::Usage(usage)),
        None => Input::Unknown(name),
    }
}

fn command<'a>(name: &str, argument: &str) -> Option<Input<'a>> {
    let input = match (name, argument) {
        ("/attach", path) if !path.is_empty() => Input::Ask(Request::Attach(path.into())),
        ("/clear", "") => Input::Ask(Request::Clear),
        ("/help", _) => Input::Help,
        ("/history", "") => Input::Ask(Request::History(1)),
        ("/history", page) => Input::Ask(Request::History(page.parse().ok().filter(|page| *page > 0)?)),
        ("/new", "") => Input::New,
        ("/open", number) => Input::Open(number.parse().ok()?),
        ("/ping", "") => Input::Ask(Request::Ping),
        ("/quit", _) => Input::Quit,
        ("/reconnect", "") => Input::Ask(Request::Reconnect),
        ("/wait", "") => Input::Wait,
        ("/why", "") => Input::Ask(Request::Why),
        _ => return None,
    };
    Some(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &str) -> Input<'_> {
        read(line, &Offer::default())
    }

    #[test]
    fn every_command_that_is_listed_is_understood() {
        for (usage, _) in COMMANDS {
            let line = usage.replace('N', "1").replace("[PAGE]", "2");
            let input = text(&line);
            assert!(
                !matches!(input, Input::Usage(_) | Input::Unknown(_)),
                "{line}: {input:?}"
            );
        }
    }

    #[test]
    fn a_line_is_text_unless_it_begins_with_one_slash() {
        assert_eq!(text("hello /why"), Input::Say("hello /why"));
        assert_eq!(text(" /why"), Input::Say(" /why"));
        assert_eq!(text("//why"), Input::Say("/why"));
        assert_eq!(text("//"), Input::Say("/"));
        assert_eq!(text("1"), Input::Say("1"));
        assert_eq!(text("/"), Input::Unknown("/"));
        assert_eq!(text("/whyever"), Input::Unknown("/whyever"));
        for (line, usage) in [
            ("/why not", "/why"),
            ("/attach  ", "/attach FILE"),
            ("/history 0", "/history [PAGE]"),
            ("/history all", "/history [PAGE]"),
            ("/open", "/open N"),
            ("/open -1", "/open N"),
        ] {
            assert_eq!(text(line), Input::Usage(usage), "{line}");
        }
        assert_eq!(
            text("/attach my file.png "),
            Input::Ask(Request::Attach("my file.png".into()))
        );
        assert_eq!(text("/history"), Input::Ask(Request::History(1)));
        for nothing in ["", " ", "\t\u{3000}"] {
            assert_eq!(text(nothing), Input::Nothing);
        }
    }
}
