//! Parsing of input lines: text, commands, choices.

use std::path::PathBuf;

use guest_conversation::OutgoingMessage;

use super::choices::PendingChoices;

/// A request of a chat to its driver.
///
/// `Debug` shows neither a message nor a path.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub enum Request {
    /// Upload a file. The driver reports the result by [`Chat::handle_attached`](super::Chat::handle_attached) or
    /// [`Chat::handle_failure`](super::Chat::handle_failure).
    Attach(PathBuf),
    /// Clear the conversation at the service. This ends it.
    Clear,
    /// Answer that the guest has no token to sign in with.
    DeclineToken,
    /// Read a page of the history. Page 1 is the latest.
    History(u32),
    /// End the chat: close the conversation, pass its last events, stop.
    Leave,
    /// Open another conversation in place of one that has ended.
    OpenAnother,
    /// Check the health of the service.
    Ping,
    /// Reconnect the same session at once, even if a connection is open.
    Reconnect,
    /// Send a message. The driver reports the result by [`Chat::handle_queued`](super::Chat::handle_queued) or
    /// [`Chat::handle_not_queued`](super::Chat::handle_not_queued).
    Send(OutgoingMessage),
    /// Start a new conversation in a session whose conversation is read-only.
    StartNew,
    /// Send a typing indicator.
    Typing,
    /// Explain the last loss or end by [`Chat::handle_explanation`](super::Chat::handle_explanation).
    Explain,
}

impl Request {
    /// Returns the command that a person types for it, or a short description.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Attach(_) => "/attach",
            Self::Clear => "/clear",
            Self::DeclineToken => "declining to sign in",
            Self::History(_) => "/history",
            Self::Leave => "/quit",
            Self::OpenAnother | Self::StartNew => "/new",
            Self::Ping => "/ping",
            Self::Reconnect => "/reconnect",
            Self::Send(OutgoingMessage::Text { .. }) => "a message",
            Self::Send(_) => "an answer by its number",
            Self::Typing => "the typing indicator",
            Self::Explain => "/why",
        }
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

pub(super) const COMMANDS: [(&str, &str); 11] = [
    ("/attach FILE", "sends a file"),
    ("/clear", "clears the conversation permanently, which ends it"),
    ("/help", "lists the commands"),
    (
        "/history [PAGE]",
        "shows a page of the history that Genesys Cloud keeps; page 1 is the latest",
    ),
    ("/new", "starts a new conversation after the last one has ended"),
    ("/open N", "shows the link of a file, which is a secret"),
    ("/ping", "checks the health of the service"),
    ("/quit", "leaves; Ctrl-D and Ctrl-C do the same"),
    ("/reconnect", "drops the connection and opens another one at once"),
    ("/wait", "for scripts: waits for an answer before the next line"),
    (
        "/why",
        "explains why the connection was lost, or the conversation ended",
    ),
];

#[derive(Debug, Eq, PartialEq)]
pub(super) enum Input<'a> {
    Request(Request),
    Help,
    New,
    Empty,
    /// Show the link of this number.
    Open(usize),
    Quit,
    Text(&'a str),
    /// A line that cannot be executed, with the reason.
    Invalid(String),
    Wait,
}

/// Parses a line. A number selects one of `choices`.
pub(super) fn parse<'a>(line: &'a str, choices: &PendingChoices) -> Input<'a> {
    if line.trim().is_empty() {
        return Input::Empty;
    }
    match choices.choose(line) {
        Some(Ok(message)) => return Input::Request(Request::Send(message)),
        Some(Err(reason)) => return Input::Invalid(reason.to_owned()),
        None => {}
    }
    if !line.starts_with('/') {
        return Input::Text(line);
    }
    if line.starts_with("//") {
        return Input::Text(&line[1..]);
    }
    let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let mut usages = COMMANDS.iter().map(|(usage, _)| *usage);
    match usages.find(|usage| usage.split(' ').next() == Some(name)) {
        Some(usage) => {
            let input = command(name, argument.trim());
            input.unwrap_or_else(|| Input::Invalid(format!("usage: {usage}")))
        }
        None => {
            let names = COMMANDS.iter().filter_map(|(usage, _)| usage.split(' ').next());
            let names = names.collect::<Vec<_>>().join(" ");
            Input::Invalid(format!(
                "unknown command {name}: use {names}; start with // to send a slash"
            ))
        }
    }
}

fn command<'a>(name: &str, argument: &str) -> Option<Input<'a>> {
    let input = match (name, argument) {
        ("/attach", path) if !path.is_empty() => Input::Request(Request::Attach(path.into())),
        ("/clear", "") => Input::Request(Request::Clear),
        ("/help", _) => Input::Help,
        ("/history", "") => Input::Request(Request::History(1)),
        ("/history", page) => Input::Request(Request::History(page.parse().ok().filter(|page| *page > 0)?)),
        ("/new", "") => Input::New,
        ("/open", number) => Input::Open(number.parse().ok()?),
        ("/ping", "") => Input::Request(Request::Ping),
        ("/quit", _) => Input::Quit,
        ("/reconnect", "") => Input::Request(Request::Reconnect),
        ("/wait", "") => Input::Wait,
        ("/why", "") => Input::Request(Request::Explain),
        _ => return None,
    };
    Some(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &str) -> Input<'_> {
        parse(line, &PendingChoices::default())
    }

    #[test]
    fn command_list_names_only_known_commands() {
        for (usage, _) in COMMANDS {
            let line = usage.replace('N', "1").replace("[PAGE]", "2");
            let input = text(&line);
            assert!(!matches!(input, Input::Invalid(_)), "{line}: {input:?}");
        }
    }

    #[test]
    fn line_is_text_unless_it_starts_with_one_slash() {
        assert_eq!(text("hello /why"), Input::Text("hello /why"));
        assert_eq!(text(" /why"), Input::Text(" /why"));
        assert_eq!(text("//why"), Input::Text("/why"));
        assert_eq!(text("//"), Input::Text("/"));
        assert_eq!(text("1"), Input::Text("1"));
        for unknown in ["/", "/whyever"] {
            let Input::Invalid(reason) = text(unknown) else {
                panic!("{unknown} is a command");
            };
            assert!(
                reason.starts_with(&format!("unknown command {unknown}: ")),
                "{reason}"
            );
        }
        for (line, usage) in [
            ("/why not", "/why"),
            ("/attach  ", "/attach FILE"),
            ("/history 0", "/history [PAGE]"),
            ("/history all", "/history [PAGE]"),
            ("/open", "/open N"),
            ("/open -1", "/open N"),
        ] {
            assert_eq!(text(line), Input::Invalid(format!("usage: {usage}")), "{line}");
        }
        assert_eq!(
            text("/attach my file.png "),
            Input::Request(Request::Attach("my file.png".into()))
        );
        assert_eq!(text("/history"), Input::Request(Request::History(1)));
        for nothing in ["", " ", "\t\u{3000}"] {
            assert_eq!(text(nothing), Input::Empty);
        }
    }
}
