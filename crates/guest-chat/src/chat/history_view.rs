//! Results of commands as lines: the list of commands, the link of a file, a page of the history.

use secrecy::ExposeSecret as _;
use web_messaging::rest::history::HistoryPage;

use super::command::COMMANDS;
use super::{Chat, content, render_event};

impl Chat {
    pub(super) fn show_help(&mut self) {
        self.announce("text without a leading slash is sent; the commands are:");
        for (usage, about) in COMMANDS {
            self.announce(&format!("{usage:<15} {about}"));
        }
        self.announce(
            "a number selects a choice, 1,2 several of a list; // sends a slash, a space before a number sends the number",
        );
    }

    pub(super) fn show_link(&mut self, number: usize) {
        match self.links.open(number) {
            Some(link) => {
                let link = link.expose_secret().to_owned();
                self.announce(
                    "anybody with this link can read the file until it expires in about ten minutes:",
                );
                self.announce(&link);
            }
            None => self.show_error(&format!("invalid link {number}: unknown, or dropped")),
        }
    }

    /// Shows a page of the history, oldest first.
    pub(super) fn show_history(&mut self, page: &HistoryPage) {
        let older = match page.page < page.page_count {
            true => format!(" (older messages: /history {})", page.page.saturating_add(1)),
            false => String::new(),
        };
        if page.messages.is_empty() {
            return self.announce(&format!("the history is empty{older}"));
        }
        self.announce(&format!("history{older}:"));
        for message in page.messages.iter().rev() {
            let parts = content::parts(message, None, &mut self.links);
            self.show(render_event::past_message(message, &parts));
        }
    }
}
